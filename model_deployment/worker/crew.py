"""Several worker processes on one socket: the first process of the launch starts and replaces them.

It serves nothing itself and has no second thread, so it can fork whenever it has to. Each worker loads
the model by itself, as those of uvicorn do: a library may have threads once a model is loaded.
"""

import os
import signal
import sys
import time
from collections.abc import Callable

Work = Callable[[Callable[[], None]], int]

_AWAITED = {signal.SIGTERM, signal.SIGCHLD}
#: Seconds between a worker's death and its successor.
_PAUSE = 0.5


def run(workers: int, work: Work) -> int:
    """Have the work done by so many processes; the status to exit with."""
    if workers <= 1:
        return work(lambda: None)
    return _Crew(workers, work).lead()


class _Crew:
    """Waits for signals and never handles one in the middle of something else."""

    def __init__(self, workers: int, work: Work) -> None:
        self._workers = workers
        self._work = work
        #: Where each worker says that its model is loaded.
        self._running: dict[int, int] = {}
        #: When the missing ones are started.
        self._due: float | None = None
        self._over = False

    def lead(self) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
        while len(self._running) < self._workers:
            self._start()
        while self._running or not self._over:
            if self._await() == signal.SIGTERM:
                self._over = True
                self._signal_all(signal.SIGTERM)
            if (status := self._collect()) is not None:
                self._signal_all(signal.SIGKILL)
                return status
            if self._due is not None and time.monotonic() >= self._due and not self._over:
                self._due = None
                while len(self._running) < self._workers:
                    self._start()
        return 0

    def _await(self) -> int | None:
        if self._due is None:
            return signal.sigwait(_AWAITED)
        found = signal.sigtimedwait(_AWAITED, max(0.0, self._due - time.monotonic()))
        return found and found.si_signo

    def _collect(self) -> int | None:
        """Look for workers that ended; a status if that ends all of it: a model that does not load."""
        for pid in [*self._running]:
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                continue
            told = self._running.pop(pid)
            loaded = os.read(told, 1) != b""
            os.close(told)
            if self._over:
                continue
            if not loaded:
                return 1
            print(f"worker {pid} is gone; starting another", file=sys.stderr)  # noqa: T201
            self._due = time.monotonic() + _PAUSE
        return None

    def _start(self) -> None:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            for other in self._running.values():
                os.close(other)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            raise SystemExit(self._work(lambda: _tell(writing)))
        os.close(writing)
        self._running[pid] = reading

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self._running:
            os.kill(pid, number)  # not collected yet, so the number is surely its own


def _tell(descriptor: int) -> None:
    os.write(descriptor, b".")
    os.close(descriptor)
