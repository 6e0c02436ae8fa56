"""Ports for launches: finds one that can be listened on, and gives up those that no launch needs."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

from model_deployment.core.domain import Launch
from model_deployment.runtime.base import Runtime
from model_deployment.state.ports import Ports

_log = logging.getLogger(__name__)

#: Seconds after which a port that a foreign process holds is tried again.
BLOCKED_FOR = 60.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a launch can listen."""

    #: None: its runtime needs none.
    port: int | None


@dataclass(frozen=True, kw_only=True)
class Places:
    """The ports of the pool, as far as the machine lets launches have them."""

    ports: Ports
    runtime: Runtime
    clock: Callable[[], float]

    async def place_for(self, launch: Launch) -> Place | None:
        """Its own port, if that can be listened on still; else a free one; None if there is none."""
        if not self.runtime.needs_port(launch.options):
            return Place(None)
        port = launch.port
        in_range = port is not None and self.ports.first <= port <= self.ports.last
        # A foreign process may have taken it since.
        if port is not None and in_range and not await self.is_blocked(port):
            return Place(port)
        return await self._free()

    async def _free(self) -> Place | None:
        """The lowest port that can be listened on. Ports that foreign processes hold are blocked."""
        while True:
            port = await self.ports.next_free(self.clock())
            if port is None:
                return None
            if not await self.is_blocked(port):
                return Place(port)

    async def is_blocked(self, port: int) -> bool:
        """Whether a foreign process holds a port, which then is left alone for a while."""
        if self.runtime.holds(port):
            return False
        holder = await asyncio.to_thread(self.runtime.occupant, port)
        if holder is None:
            return False
        _log.warning("port %s is held by %s", port, holder)
        await self.ports.block(port, holder, self.clock() + BLOCKED_FOR)
        return True

    async def release(self, port: int) -> None:
        """Stop holding a port. The sweep finds what cannot be released now."""
        with contextlib.suppress(OSError):
            await self.runtime.release(port)
