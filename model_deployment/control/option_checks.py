"""What has to hold of options before a deployment gets them: what they need is there, and has an effect."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from model_deployment.core.errors import CannotStart
from model_deployment.core.options import AUTO, EnvManager, Options, StartMethod


async def _none(options: Options) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class OptionChecks:
    """The checks, and whom they ask."""

    #: Why launches with these options cannot be started, and what helps; empty if they can.
    obstacle: Callable[[Options], Awaitable[str]] = _none

    async def check(self, what: str, after: Options, *, starts: bool) -> None:
        """Check options that a deployment is to get.

        Args:
            what: what is done with them, for the messages: ``deploy wine-3``.
            starts: whether launches are to be started with them now.

        Raises:
            CannotStart: launches with them cannot be started here.
        """
        if starts and (why := await self.obstacle(after)):
            advice = f". Or choose start_method={StartMethod.AUTO}" if after.contained else ""
            raise CannotStart(f"cannot {what}{_chosen(after)}: {why}{advice}", retry_after=30)


def _chosen(options: Options) -> str:
    """The options that need something of the machine, in words."""
    if options.contained:
        return f" with start_method={options.start_method}"
    named = {
        "env_manager": "" if options.env_manager is EnvManager.LOCAL else options.env_manager,
        "memory_limit": "" if options.memory_limit == AUTO else options.memory_limit,
        "cpu_limit": "" if options.cpu_limit == AUTO else options.cpu_limit,
    }
    found = " and ".join(f"{name}={value}" for name, value in named.items() if value)
    return f" with {found}" if found else ""


#: Everything can be started.
UNCHECKED = OptionChecks()
