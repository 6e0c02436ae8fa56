"""What has to hold of options before a deployment gets them: what they need is there, and has an effect."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from model_deployment.core.errors import CannotStart, InvalidRequest
from model_deployment.core.options import CONTAINER_LIMITS, Options, StartMethod


async def _none(options: Options) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class OptionChecks:
    """The checks, and whom they ask."""

    #: Why launches with these options cannot be started, and what helps; empty if they can.
    obstacle: Callable[[Options], Awaitable[str]] = _none

    async def check(
        self, what: str, before: Options, after: Options, defaults: Options, *, starts: bool
    ) -> None:
        """Check options that a deployment is to get.

        Args:
            what: what is done with them, for the messages: ``deploy wine-3``.
            before: the options it has; the defaults for a new one.
            starts: whether launches are to be started with them now.

        Raises:
            InvalidRequest: an option that is named has no effect with the others.
            CannotStart: launches with them cannot be started here.
        """
        for name in () if after.contained else CONTAINER_LIMITS:
            if getattr(after, name) not in (getattr(before, name), getattr(defaults, name)):
                raise InvalidRequest(
                    f"cannot {what} with {name}: only containers have limits, and start_method is "
                    f"{after.start_method}; name start_method=container too, or leave {name} out"
                )
        if starts and (why := await self.obstacle(after)):
            other = StartMethod.AUTO
            advice = f". Or choose start_method={other}" if after.contained else ""
            raise CannotStart(
                f"cannot {what} with start_method={after.start_method}: {why}{advice}",
                retry_after=30,
            )


#: Everything can be started.
UNCHECKED = OptionChecks()
