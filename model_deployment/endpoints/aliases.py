"""Looks at the aliases of models beside the loop, which a slow registry must not hold up."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import ModelDeploymentError, UnknownModel
from model_deployment.endpoints.decide import AliasAt, AliasSeen, NoAlias

_log = logging.getLogger(__name__)

#: The version that each alias of a model names.
AskAliases = Callable[[str], Awaitable[Mapping[str, int]]]


def _nobody() -> None:
    pass


class AliasWatch:
    """What the registry said last."""

    def __init__(self, ask: AskAliases, interval: float) -> None:
        """
        Args:
            ask: answers all aliases of a model.
            interval: seconds between two looks at a model.
        """
        self._ask = ask
        self._interval = interval
        #: Called when something new was seen.
        self.changed: Callable[[], None] = _nobody
        self._due: dict[str, float] = {}
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._aliases: dict[str, Mapping[str, int] | NoAlias] = {}

    def seen(self, name: EndpointName) -> AliasSeen | None:
        """What an alias names; None if nobody has looked yet."""
        found = self._aliases.get(name.model)
        if found is None or isinstance(found, NoAlias):
            return found
        if name.alias in found:
            return AliasAt(found[name.alias])
        return NoAlias(
            f"the registry has no alias {name.alias} of {name.model}; what serves goes on"
        )

    def watch(self, models: Iterable[str]) -> None:
        """Look at those that are due, and forget all others."""
        wanted = {*models}
        for known in [*self._due]:
            if known not in wanted:
                self._due.pop(known)
                self._aliases.pop(known, None)
        now = time.monotonic()
        for model in wanted:
            if now >= self._due.get(model, 0.0) and model not in self._looks:
                self._due[model] = now + self._interval
                task = asyncio.create_task(self._look(model), name=f"aliases of {model}")
                self._looks[model] = task

    def hurry(self) -> None:
        """Look at all models now."""
        self._due = dict.fromkeys(self._due, 0.0)
        self.changed()

    async def close(self) -> None:
        looks = [*self._looks.values()]
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)

    async def _look(self, model: str) -> None:
        found: Mapping[str, int] | NoAlias
        try:
            found = await self._ask(model)
        except UnknownModel:
            found = NoAlias(f"the registry has no model {model}; what serves goes on")
        except ModelDeploymentError as error:
            found = NoAlias(f"{error.detail}; what serves goes on")
        except Exception as error:
            _log.exception("cannot look at the aliases of %s", model)
            text = f"cannot look at the aliases of {model}: {type(error).__name__}: {error}"
            found = NoAlias(f"{text}; what serves goes on")
        finally:
            del self._looks[model]
        if model in self._due and found != self._aliases.get(model):
            self._aliases[model] = found
            self.changed()
