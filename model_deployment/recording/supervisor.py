"""Keeps one companion of the controller running: adopts it, starts it, replaces it."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_deployment.runtime import companions
from model_deployment.runtime.companions import Companion, build_of

_log = logging.getLogger(__name__)

#: Seconds between the end of one process and the start of the next; each pause is twice the one before.
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
#: Seconds after which a process counts as stable: the next pause is the first one again.
_STABLE = 60.0
#: Seconds that a process may take to end after it was asked to.
_GRACE = 5.0


class Supervisor:
    """Keeps exactly one process of a kind running. The process goes on while there is no controller.

    A process that an earlier controller has started is adopted, unless it is of another build: of another
    release, or with another configuration.
    """

    def __init__(
        self,
        kind: str,
        module: str,
        config: Mapping[str, Any],
        *,
        instance: str,
        log: Path,
        environment: Mapping[str, str],
    ) -> None:
        """Remember what to start; the arguments are those of :func:`companions.spawn`."""
        self._kind = kind
        self._module = module
        self._config = config
        self._instance = instance
        self._log = log
        self._environment = environment
        self._build = build_of(config)
        self._companion: Companion | None = None

    @property
    def pid(self) -> int | None:
        return self._companion.pid if self._companion else None

    async def run(self) -> None:
        """Keep the process running until cancelled. It goes on; :meth:`end` ends it."""
        pause = _FIRST_PAUSE
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                self._companion = await self._adopt() or self._start()
                status = await self._companion.ended()
                _log.error("%s ended with status %s", self._module, status)
            except OSError as error:
                _log.error("cannot start %s: %s", self._module, error)
            self._companion = None
            if loop.time() - began > _STABLE:
                pause = _FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)

    async def end(self, *, keep: bool) -> None:
        """Leave the process for the next controller, or end it. :meth:`run` must have been cancelled."""
        if keep:
            if self._companion is not None:
                self._companion.forget()
            return
        found = await self._living()
        # A child that has ended already has to be waited for as well.
        if self._companion is not None and self._companion.own:
            found = [one for one in found if one.pid != self._companion.pid] + [self._companion]
        await asyncio.gather(*(one.stop(_GRACE) for one in found))

    async def _adopt(self) -> Companion | None:
        """The process that is to go on; the others are ended."""
        adopted: Companion | None = None
        for one in await self._living():
            if one.build == self._build and adopted is None:
                adopted = one
            else:
                _log.info("replacing process %s of %s", one.pid, self._module)
                await one.stop(_GRACE)
        if adopted is not None:
            _log.info("adopted process %s of %s", adopted.pid, self._module)
        return adopted

    async def _living(self) -> list[Companion]:
        return await asyncio.to_thread(companions.living, self._instance, self._kind)

    def _start(self) -> Companion:
        return companions.spawn(
            self._kind,
            self._module,
            self._config,
            instance=self._instance,
            log=self._log,
            build=self._build,
            environment=self._environment,
        )
