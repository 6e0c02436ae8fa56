"""Callers who send large pieces take turns, so that they do not hold up those who send little."""

import asyncio
from collections import deque
from time import perf_counter

from uvicorn.protocols.http.flow_control import FlowControl

#: Bytes of a piece that is large.
LARGE_PIECE = 32 * 1024
#: Pieces that are read in one turn of the event loop.
_AT_ONCE = 2
#: Seconds that a turn of the event loop may take without a pause after it; and the longest pause.
_SHORT, _LONGEST = 0.001, 0.05
#: So many connections are a crowd: the pause is longer then.
_CROWD, _CROWDED = 8, 0.002


class Turns:
    """The connections of one server whose callers send large pieces."""

    def __init__(self, at_once: int = _AT_ONCE, pause: float = 0.0) -> None:
        """
        Args:
            at_once: pieces that are read in one turn of the event loop.
            pause: seconds between two turns at least.
        """
        self._at_once, self._pause = at_once, pause
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[FairFlow] = deque()

    def wait(self, flow: "FairFlow") -> None:
        """Go on with a connection when all those before have had their turn."""
        if not self._waiting:
            self._loop.call_soon(self._next, perf_counter())
        self._waiting.append(flow)

    def _next(self, last: float) -> None:
        """Let some go on. The event loop is then there for everybody else for as long as that took."""
        now = perf_counter()
        for _ in range(min(self._at_once, len(self._waiting))):
            self._waiting.popleft().take_turn()
        if not self._waiting:
            return
        pause = max(min(now - last, _LONGEST), self._pause)
        if len(self._waiting) > _CROWD:
            pause = max(pause, _CROWDED)
        if pause < _SHORT:
            self._loop.call_soon(self._next, now)
        else:
            self._loop.call_later(pause, self._next, now + pause)


class FairFlow(FlowControl):
    """Reads on only when its consumer wants to, and it is its turn."""

    def __init__(self, transport: asyncio.Transport, turns: Turns) -> None:
        super().__init__(transport)
        self._turns = turns
        self._waits = False
        self._wanted = True

    def pause_reading(self) -> None:
        self._wanted = False
        super().pause_reading()

    def resume_reading(self) -> None:
        self._wanted = True
        if not self._waits:
            super().resume_reading()

    @property
    def waits(self) -> bool:
        """Whether it is not its turn."""
        return self._waits

    def move(self, turns: Turns) -> None:
        """Take its turns among others from now on."""
        self._turns = turns

    def wait_turn(self) -> None:
        """A large piece has come."""
        if not self._waits and not self._transport.is_closing():
            self._waits = True
            super().pause_reading()
            self._turns.wait(self)

    def take_turn(self) -> None:
        self._waits = False
        if self._wanted and not self._transport.is_closing():
            super().resume_reading()
