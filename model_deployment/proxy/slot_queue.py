"""The requests of one proxy that wait until the model may get one more call."""

import asyncio
from collections import deque
from dataclasses import dataclass
from time import monotonic_ns

from model_deployment.proxy.shared_limits import SharedSlots

#: Seconds between two attempts to take a slot that another proxy may have given back.
_ATTEMPT = 0.001
#: Seconds between two signs of life while only calls of this proxy can give one back.
_BEAT = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    granted: asyncio.Future[None]
    #: Nanoseconds of the monotonic clock.
    since: int


class SlotQueue:
    """A semaphore whose permits all proxies share: first come, first served, in whichever proxy."""

    def __init__(self, slots: SharedSlots, limit: int) -> None:
        """``limit``: calls of the model at the same time, at least 1."""
        self._slots = slots
        self._limit = limit
        self._waiters: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def resize(self, limit: int) -> None:
        """Adopt another limit, at least 1. Calls under way keep their slots."""
        larger = limit > self._limit
        self._limit = limit
        if larger and self._waiters:
            self._grant()

    def take(self) -> bool:
        """Take a slot if it is to be had at once."""
        return not self._waiters and self._slots.take(self._limit)

    async def acquire(self) -> None:
        """Take a slot, once it is the request's turn."""
        if self.take():
            return
        waiter = _Waiter(asyncio.get_running_loop().create_future(), monotonic_ns())
        self._waiters.append(waiter)
        if len(self._waiters) == 1:
            self._slots.wait(waiter.since)
        self._grant()
        try:
            await waiter.granted
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._remove(waiter)
            elif not waiter.granted.cancelled():
                self._slots.free()
            self._grant()
            raise

    def release(self) -> None:
        """Give a slot back."""
        self._slots.free()
        if self._waiters:
            self._grant()

    async def __aenter__(self) -> None:
        if not self.take():
            await self.acquire()

    async def __aexit__(self, *error: object) -> None:
        self.release()

    def _grant(self) -> None:
        """Give the requests whose turn it is their slots; see to it that the others get theirs."""
        while self._waiters:
            first = self._waiters[0]
            if first.granted.done():  # cancelled, and not yet aware of it
                self._remove(first)
            elif self._slots.take(self._limit, first.since):
                self._remove(first)
                first.granted.set_result(None)
            else:
                break
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiters and self._slots.shared:
            self._slots.beat()
            delay = _ATTEMPT if self._slots.contended else _BEAT
            self._timer = asyncio.get_running_loop().call_later(delay, self._grant)

    def _remove(self, waiter: _Waiter) -> None:
        was_first = waiter is self._waiters[0]
        self._waiters.remove(waiter)
        if was_first:
            self._slots.wait(self._waiters[0].since if self._waiters else 0)
