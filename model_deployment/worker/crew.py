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

#: Seconds between a worker's death and its successor.
_PAUSE = 0.5


def run(workers: int, work: Work) -> int:
    """Have the work done by so many processes; the status to exit with."""
    if workers <= 1:
        return work(lambda: None)
    return _Crew(workers, work).lead()


class _Crew:
    def __init__(self, workers: int, work: Work) -> None:
        self._workers = workers
        self._work = work
        #: Where each worker says that its model is loaded.
        self._running: dict[int, int] = {}
        self._over = False

    def lead(self) -> int:
        signal.signal(signal.SIGTERM, self._end)
        for _ in range(self._workers):
            self._start()
        while self._running:
            pid, status = os.wait()
            told = self._running.pop(pid, None)
            if told is None:
                continue
            loaded = os.read(told, 1) != b""
            os.close(told)
            if self._over:
                continue
            code = os.waitstatus_to_exitcode(status)
            if not loaded:
                self._signal_all(signal.SIGKILL)
                return code if code > 0 else 1
            print(f"worker {pid} ended with {code}; starting another", file=sys.stderr)  # noqa: T201
            time.sleep(_PAUSE)
            if not self._over:
                self._start()
        return 0

    def _start(self) -> None:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            for other in self._running.values():
                os.close(other)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            raise SystemExit(self._work(lambda: _tell(writing)))
        os.close(writing)
        self._running[pid] = reading

    def _end(self, *_: object) -> None:
        self._over = True
        self._signal_all(signal.SIGTERM)

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self._running:
            os.kill(pid, number)  # not collected yet, so the number is surely its own


def _tell(descriptor: int) -> None:
    os.write(descriptor, b".")
    os.close(descriptor)
