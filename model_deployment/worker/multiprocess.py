"""Several worker processes on one socket: the first process of the launch, the leader, starts them.

The leader serves no request and has one thread, so it can fork at any time. Each worker loads the model by
itself, as uvicorn's workers do, unless the leader has loaded it already: see
:mod:`model_deployment.worker.shared_model`.

A model that no worker can load ends the launch. Once one worker has loaded it, another worker that cannot
does no harm: the leader starts it again, as long as there is another one.

The leader shows in its title how many workers have loaded the model, and why another one did not: ``ps``
shows that, and so does every controller, also one that is started later.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable

Work = Callable[[Callable[[], None]], int]
#: Shows the state of the workers; called with an empty text in a worker.
Show = Callable[[str], None]

#: A worker announces a report with SIGUSR1.
AWAITED = {signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1}
_LOADED = b"."
#: Added to the number of a signal in an exit status, as shells do.
_KILLED = 128
#: Characters of a reason that are shown.
_REASON = 150
#: Seconds between a worker's death and its successor, doubled by each that did not load the model.
_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


def run(workers: int, work: Work, show: Show = lambda text: None) -> int:
    """Do the work in this many processes, and return the exit status."""
    if workers <= 1:
        return work(lambda: None)
    return WorkerGroup(workers, work, show).lead()


def exit_status(status: int) -> int:
    """The exit status of a launch whose worker ended with this wait status before it served."""
    code = os.waitstatus_to_exitcode(status)
    return code if code > 0 else _KILLED - code if code else 1


def serving(serve: int, workers: int) -> str:
    """How many workers serve, as the title of a launch shows it."""
    return f"{serve} of {workers} workers serve"


class WorkerGroup:
    """The leader: waits for signals, and never handles one in the middle of something else."""

    def __init__(self, workers: int, work: Work, show: Show) -> None:
        self._workers = workers
        self._work = work
        self._show = show
        self._shown = ""
        #: By pid: the pipe in which a worker reports that its model is loaded, or why not.
        self._running: dict[int, int] = {}
        self._loaded: set[int] = set()
        #: Why the last worker that did not load the model failed.
        self._load_failure = ""
        #: A worker has loaded the model.
        self._proven = False
        #: Workers in a row that did not load it.
        self._failures = 0
        #: When the missing workers are started.
        self._due: float | None = None
        self._over = False

    def adopt(self, pid: int, pipe: int, *, over: bool) -> None:
        """Take a child of this process for a worker that has loaded the model.

        Args:
            pipe: from which nothing is read any more.
            over: the worker was told to end.
        """
        self._running[pid] = pipe
        self._loaded.add(pid)
        self._proven, self._over = True, over

    def lead(self) -> int:
        """Start the workers, replace those that end, and return the exit status of the launch."""
        signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
        while len(self._running) < self._workers and not self._over:
            self._start()
        while self._running or not self._over:
            self._show_state()
            if self._wait() == signal.SIGTERM:
                self._over, self._due = True, None
                self._signal_all(signal.SIGTERM)
            if (status := self._reap()) is not None:
                self._signal_all(signal.SIGKILL)
                return status
            if self._due is not None and time.monotonic() >= self._due and not self._over:
                self._due = None
                while len(self._running) < self._workers:
                    self._start()
        return 0

    def _wait(self) -> int | None:
        if self._due is None:
            return signal.sigwait(AWAITED)
        found = signal.sigtimedwait(AWAITED, max(0.0, self._due - time.monotonic()))
        return found and found.si_signo

    def _reap(self) -> int | None:
        """Reap workers that ended; returns an exit status if the launch ends with them."""
        self._read_reports()
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
                return exit_status(status)
            self._failures = 0 if loaded else self._failures + 1
            if self._proven:
                self._replace(pid, "exited" if loaded else "did not load the model")
        return None

    def _read_reports(self) -> None:
        for pid, pipe in self._running.items():
            if pid in self._loaded or not (report := _report(pipe)):
                continue
            if report == _LOADED:
                self._loaded.add(pid)
                self._prove()
            else:
                self._load_failure = report.decode(errors="replace")

    def _prove(self) -> None:
        """The model can be loaded, so workers that did not load it before are started again."""
        if not self._proven and len(self._running) < self._workers and not self._over:
            self._due = time.monotonic() + _PAUSE
        self._proven = True

    def _show_state(self) -> None:
        self._read_reports()
        text = serving(len(self._loaded), self._workers)
        if len(self._loaded) < self._workers and self._failures:
            text += f"; {self._load_failure or 'another one did not load the model'}"
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
            os.kill(pid, number)  # not reaped yet, so its pid cannot have been reused


def _report(pipe: int) -> bytes:
    """What a worker has reported by now; empty without a report, or if the worker exited."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return os.read(pipe, 4096) if any(event & select.POLLIN for _, event in poll.poll(0)) else b""


def _work(work: Work, descriptor: int) -> int:
    """In a worker: work, and report to the leader that the model is loaded, or why it is not."""
    leader, reported = os.getppid(), []

    def report(text: bytes) -> None:
        reported.append(text)
        os.write(descriptor, text)
        os.close(descriptor)
        if os.getppid() == leader:
            os.kill(leader, signal.SIGUSR1)

    try:
        return work(lambda: report(_LOADED))
    except BaseException as error:
        cause = error.__cause__ if isinstance(error, SystemExit) else error
        if not reported and cause is not None:
            why = traceback.format_exception_only(type(cause), cause)[-1].split("\n")[0]
            report(why[:_REASON].encode(errors="replace") or b"?")
        raise
