"""Several worker processes on one socket: the first process of the launch starts and replaces them.

It serves nothing itself and has no second thread, so it can fork whenever it has to. Each worker loads
the model by itself, as those of uvicorn do: a library may have threads once a model is loaded.

A model that no worker can load ends all of it, and whoever started it is told by its end. Once it was
loaded, a worker that cannot load it harms no other: it is tried again, as long as another one is there.

How many have loaded it, and why another one did not, the first process shows in its title: that is seen by
``ps``, and by every controller, also by one that comes later.
"""

import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable

Work = Callable[[Callable[[], None]], int]
#: Shows how it stands with the workers; empty in a worker.
Show = Callable[[str], None]

#: A worker says with SIGUSR1 that it has something to say.
_AWAITED = {signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1}
_LOADED = b"."
#: A status that tells of a signal begins here, as those of shells do.
_KILLED = 128
#: Characters of a reason.
_REASON = 150
#: Seconds between a worker's death and its successor, and how they grow with each that did not load.
_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


def run(workers: int, work: Work, show: Show = lambda text: None) -> int:
    """Have the work done by so many processes; the status to exit with."""
    if workers <= 1:
        return work(lambda: None)
    return _WorkerGroup(workers, work, show).lead()


class _WorkerGroup:
    """Waits for signals and never handles one in the middle of something else."""

    def __init__(self, workers: int, work: Work, show: Show) -> None:
        self._workers = workers
        self._work = work
        self._show = show
        self._shown = ""
        #: Where each worker says that its model is loaded, or why it is not.
        self._running: dict[int, int] = {}
        self._loaded: set[int] = set()
        #: Why the last worker that did not load the model did not.
        self._trouble = ""
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
            self._tell()
            if self._await() == signal.SIGTERM:
                self._over, self._due = True, None
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
        self._listen()
        for pid in [*self._running]:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended == 0:
                continue
            loaded = pid in self._loaded
            os.close(self._running.pop(pid))
            self._loaded.discard(pid)
            if self._over:
                continue
            if not loaded and not self._running:
                code = os.waitstatus_to_exitcode(status)
                return code if code > 0 else _KILLED - code if code else 1
            self._failures = 0 if loaded else self._failures + 1
            if self._proven:
                self._replace(pid, "is gone" if loaded else "did not load the model")
        return None

    def _listen(self) -> None:
        """Hear what workers have said by now."""
        for pid, told in self._running.items():
            if pid in self._loaded or not (said := _said(told)):
                continue
            if said == _LOADED:
                self._loaded.add(pid)
                self._prove()
            else:
                self._trouble = said.decode(errors="replace")

    def _prove(self) -> None:
        """The model can be loaded: those that did not do so before are tried again."""
        if not self._proven and len(self._running) < self._workers and not self._over:
            self._due = time.monotonic() + _PAUSE
        self._proven = True

    def _tell(self) -> None:
        self._listen()
        serving = len(self._loaded)
        text = f"{serving} of {self._workers} workers serve"
        if serving < self._workers and self._failures:
            text += f"; {self._trouble or 'another one does not load the model'}"
        if text != self._shown:
            self._shown = text
            self._show(text)

    def _replace(self, pid: int, how: str) -> None:
        pause = min(_PAUSE * 2**self._failures, _LONGEST_PAUSE)
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
            self._show("")
            raise SystemExit(_work(self._work, writing))
        os.close(writing)
        self._running[pid] = reading

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self._running:
            os.kill(pid, number)  # not collected yet, so the number is surely its own


def _said(told: int) -> bytes:
    """What a worker has said by now; nothing if it has not, or is gone."""
    look = select.poll()
    look.register(told, select.POLLIN)
    return os.read(told, 4096) if any(event & select.POLLIN for _, event in look.poll(0)) else b""


def _work(work: Work, descriptor: int) -> int:
    """In a worker: work, and tell the first process that the model is loaded, or why it is not."""
    leader, told = os.getppid(), []

    def tell(text: bytes) -> None:
        told.append(text)
        os.write(descriptor, text)
        os.close(descriptor)
        if os.getppid() == leader:
            os.kill(leader, signal.SIGUSR1)

    try:
        return work(lambda: tell(_LOADED))
    except BaseException as error:
        why_it_ends = error.__cause__ if isinstance(error, SystemExit) else error
        if not told and why_it_ends is not None:
            why = traceback.format_exception_only(why_it_ends)[-1].split("\n")[0]
            tell(why[:_REASON].encode(errors="replace") or b"?")
        raise
