"""Several worker processes on one socket: the first process of the launch starts and replaces them.

It serves nothing itself and has no second thread, so it can fork whenever it has to. Each worker loads
the model by itself, as those of uvicorn do: a library may have threads once a model is loaded.

A model that does not load ends all of it, and whoever started it is told by its end. Once the model was
loaded, a worker that cannot load it harms no other: it is tried again, as long as another one is there.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Callable

Work = Callable[[Callable[[], None]], int]

_AWAITED = {signal.SIGTERM, signal.SIGCHLD}
#: Seconds between a worker's death and its successor, and how they grow with each that did not load.
_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


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
        #: A worker has loaded the model.
        self._proven = False
        #: Workers in a row that did not load it.
        self._failures = 0
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
        """Look for workers that ended; a status if that ends all of it."""
        for pid in [*self._running]:
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                continue
            told = self._running.pop(pid)
            loaded = os.read(told, 1) != b""
            os.close(told)
            self._proven = self._proven or loaded or any(map(_has_loaded, self._running.values()))
            if self._over:
                continue
            if not loaded and not (self._proven and self._running):
                return 1
            self._replace(pid, loaded)
        return None

    def _replace(self, pid: int, loaded: bool) -> None:
        self._failures = 0 if loaded else self._failures + 1
        pause = min(_PAUSE * 2**self._failures, _LONGEST_PAUSE)
        how = "is gone" if loaded else "did not load the model"
        print(f"worker {pid} {how}; starting another in {pause:g} s", file=sys.stderr)  # noqa: T201
        self._due = time.monotonic() + pause

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


def _has_loaded(told: int) -> bool:
    """Whether a worker said so by now. It stays to be read at its end."""
    look = select.poll()
    look.register(told, select.POLLIN)
    return any(events & select.POLLIN for _, events in look.poll(0))


def _tell(descriptor: int) -> None:
    os.write(descriptor, b".")
    os.close(descriptor)
