"""What a caller has not accepted of its answers yet: its bytes count, and the caller must go on reading."""

import asyncio
from math import inf

from model_deployment.proxy.held_bytes import LOOK, Holding, Pace


class UnreadAnswers:
    """Of one connection. Used while the caller does not accept what is written as fast as it comes."""

    __slots__ = ("_holdings", "_left", "_pace", "_timer", "_transport")

    def __init__(self, transport: asyncio.Transport, idle: float) -> None:
        """``idle``: seconds after which the connection is cut off if the caller has accepted nothing."""
        self._transport = transport
        self._holdings: list[Holding] = []
        self._left = transport.get_write_buffer_size()
        self._pace = Pace(idle, inf, None)
        self._timer = self._look_later()

    def keep(self, holding: Holding) -> None:
        """Count the bytes of an answer until all of it is accepted."""
        self._holdings.append(holding)
        self._pace.holding = holding

    def end(self) -> None:
        """The caller has accepted them, or is gone."""
        self._timer.cancel()
        while self._holdings:
            self._holdings.pop().release()

    def _look_later(self) -> asyncio.TimerHandle:
        loop = asyncio.get_running_loop()
        return loop.call_at(max(self._pace.next(), loop.time() + LOOK / 10), self._look)

    def _look(self) -> None:
        left = self._transport.get_write_buffer_size()
        self._pace.moved(max(0, self._left - left))
        self._left = left
        if self._pace.too_slow():
            self._transport.abort()
        else:
            self._timer = self._look_later()
