"""Work on the bodies of many requests is done a little in each turn of the event loop.

The callers of a merged call get their answers together, and send their next requests together. Without
turns the loop would read, parse and check all of these before it saw that the model has answered, and the
model would wait for them as they wait for the model.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from model_deployment.proxy.offload import LARGE, run

#: Bytes of bodies that are processed in one turn: 0.3 ms of numbers.
_AT_ONCE = 64 * 1024
#: Bytes of a body that takes no time.
_LITTLE = 4096

P = ParamSpec("P")
R = TypeVar("R")


class WorkTurns:
    """The bodies that wait for their turn in one event loop."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        #: Bytes that may still be processed in this turn.
        self._left = _AT_ONCE

    async def run(self, size: int, work: Callable[P, R], *given: P.args, **named: P.kwargs) -> R:
        """The result of work on a body of so many bytes; in a thread if these are very many."""
        large = size > LARGE
        if size > _LITTLE and not large:
            await self._turn(size)
        return await run(large, work, *given, **named)

    async def _turn(self, size: int) -> None:
        loop = asyncio.get_running_loop()
        if self._left == _AT_ONCE:
            loop.call_soon(self._next, loop)
        if self._left > 0 and not self._waiting:
            self._left -= size
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append((turn, size))
        await turn

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin a turn of the event loop, which has looked at all sockets since the last one."""
        self._left = _AT_ONCE
        while self._waiting and self._left > 0:
            turn, size = self._waiting.popleft()
            if not turn.done():  # else its caller has left
                self._left -= size
                turn.set_result(None)
        if self._left < _AT_ONCE:
            loop.call_soon(self._next, loop)
