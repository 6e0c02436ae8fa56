"""Runs predictions in threads: a few compute at a time, and others may wait for something meanwhile.

More computing threads than cores only take the interpreter from each other, and each needs working memory
of its own, so calls that compute wait for their turn. A call that waits for something else, or hangs, does
not count while it does: a few hung calls cannot keep all others from being answered.

The CPU clock of a call's thread tells which of the two it is. It is sampled from time to time, for calls
that take long. A clock that stands still is that of a call that waits. A thread that waits for the
interpreter wakes up every few milliseconds to ask for it (``sys.getswitchinterval``), so its clock creeps;
while the process computes, such a call counts. Time that a thread has waited for a core counts as computed,
where the kernel shows it. The next sample corrects a wrong guess: a call that computes again counts again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from model_deployment.worker.threads import begin_thread

#: Seconds to the first sample of a call, and from there to the second. Each later pause is twice the one
#: before, up to the longest.
FIRST_SAMPLE, LONGEST_PAUSE = 0.02, 0.2
#: Samples in a row without computing after which a call counts as waiting.
_IDLE_SAMPLES = 2
#: Calls that wait and do not count, for each that may compute.
WAITING = 16
#: Share of the time (0-1) that a computing thread uses at least, and that the process uses at least while a
#: thread with a creeping clock waits for the interpreter.
_COMPUTES, _BUSY = 0.05, 0.1

T = TypeVar("T")


class _Slot:
    """The slot of one call among the others."""

    __slots__ = ("_idle_samples", "_sample", "_thread", "counts", "pause", "timer")

    def __init__(self) -> None:
        self.counts = True
        self.pause = FIRST_SAMPLE
        self.timer: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None
        self._sample: tuple[float, float, float] | None = None
        self._idle_samples = 0

    def run(self, call: Callable[[], T]) -> T:
        self._thread = threading.current_thread()
        return call()

    def computes(self) -> bool:
        """Whether the call computes, by the CPU time of its thread since the last sample."""
        if self._thread is None:
            return True
        now = (time.monotonic(), _cpu_time(self._thread), time.process_time())
        before, self._sample = self._sample, now
        if before is None:
            return True
        passed, own, whole = (new - old for new, old in zip(now, before))
        if own >= _COMPUTES * passed or (own > 0 and whole >= _BUSY * passed):
            self._idle_samples = 0
            return True
        self._idle_samples += 1
        return self.counts and self._idle_samples < _IDLE_SAMPLES


def _cpu_time(thread: threading.Thread) -> float:
    """Seconds that a live thread has computed, or could have computed but for other programs."""
    assert thread.ident is not None  # noqa: S101 - the thread runs
    clock = time.pthread_getcpuclockid(thread.ident)
    held_up = 0
    with contextlib.suppress(OSError, ValueError, IndexError):  # not every kernel shows it
        text = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_bytes()
        held_up = int(text.split()[1])
    return time.clock_gettime(clock) + held_up / 1e9


class PredictionExecutor:
    """The predictions of one process."""

    def __init__(self, at_once: int | None = None) -> None:
        """Of which so many compute at a time; the default is MLflow's own number of threads."""
        at_once = at_once or min(32, (os.cpu_count() or 1) + 4)
        #: Below nothing where calls compute again that had waited.
        self._free = at_once
        self._room_to_wait = at_once * WAITING
        self._queue: deque[asyncio.Future[None]] = deque()
        threads = at_once + self._room_to_wait
        self._threads = ThreadPoolExecutor(threads, "predict", initializer=begin_thread)

    async def run(self, call: Callable[[], T]) -> T:
        """The result of a call, made in a thread. After a cancellation the call goes on, and counts."""
        loop = asyncio.get_running_loop()
        await self._wait_for_turn(loop)
        slot, future = _Slot(), None
        try:
            future = self._threads.submit(slot.run, call)
            slot.timer = loop.call_later(slot.pause, self._check, loop, slot)
            return await asyncio.wrap_future(future, loop=loop)
        finally:
            if future is None or future.done():
                self._leave(slot)
            else:
                future.add_done_callback(lambda _: self._leave_soon(loop, slot))

    def _check(self, loop: asyncio.AbstractEventLoop, slot: _Slot) -> None:
        computes = slot.computes()
        if computes and not slot.counts:
            slot.counts = True
            self._room_to_wait += 1
            self._free -= 1
        elif not computes and slot.counts and self._room_to_wait > 0:
            slot.counts = False
            self._room_to_wait -= 1
            self._give_back()
        slot.timer = loop.call_later(slot.pause, self._check, loop, slot)
        slot.pause = min(2 * slot.pause, LONGEST_PAUSE)

    def _leave(self, slot: _Slot) -> None:
        if slot.timer is not None:
            slot.timer.cancel()
        if slot.counts:
            self._give_back()
        else:
            self._room_to_wait += 1

    def _leave_soon(self, loop: asyncio.AbstractEventLoop, slot: _Slot) -> None:
        """From the call's own thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is about to end
            loop.call_soon_threadsafe(self._leave, slot)

    async def _wait_for_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._free > 0:
            self._free -= 1
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back()
            raise

    def _give_back(self) -> None:
        self._free += 1
        while self._free > 0 and self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                self._free -= 1
                turn.set_result(None)
