"""Several workers that share one loaded model: it is loaded once, before the workers are forked.

The first process of the launch, the leader, forks a holder, which loads the model. Where the holder may be
forked from then on (:mod:`model_deployment.worker.shareable`), it starts the workers, and replaces those
that end, as :mod:`model_deployment.worker.multiprocess` does. Its pages are theirs as long as nobody writes
to them. The leader passes signals on, and shows how many workers serve. Otherwise the holder serves as one
of the workers, each of which loads the model by itself.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from typing import Any, Protocol

from model_deployment.worker import multiprocess, process_setup
from model_deployment.worker.multiprocess import AWAITED, Show, WorkerGroup
from model_deployment.worker.shareable import Before

#: The holder's first message: its model is shared, or it serves by itself; others are titles.
_SHARED, _ALONE = "=", "!"
#: Bytes that are read of the holder's messages at once.
_ROOM = 65536


class Model(Protocol):
    """What the processes of a launch do."""

    def load(self) -> Any:
        """Load the model; what is returned serves it.

        Raises:
            SystemExit: it cannot be loaded; with the exit status.
        """

    def serve(self, loaded: Any) -> int:
        """In a worker: serve until SIGTERM; the exit status."""


def run(workers: int, model: Model, show: Show = lambda text: None) -> int:
    """Serve a model in this many processes, and return the exit status."""
    if workers <= 1:
        process_setup.reseed()
        return model.serve(model.load())
    return _Leader(workers, model, show).lead()


class _Leader:
    def __init__(self, workers: int, model: Model, show: Show) -> None:
        self._workers = workers
        self._model = model
        self._show = show
        self._over = False

    def lead(self) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        holder = os.fork()
        if holder == 0:
            os.close(reading)
            raise SystemExit(self._hold(_Channel(writing)))
        os.close(writing)
        self._show(multiprocess.serving(0, self._workers))
        while True:
            if signal.sigwait(AWAITED) == signal.SIGTERM:
                self._over = True
                os.kill(holder, signal.SIGTERM)  # not reaped yet
            messages = _messages(reading)
            if _ALONE in messages:
                return self._group(holder, reading).lead()
            for text in messages:
                if text != _SHARED:
                    self._show(text)
            ended, status = os.waitpid(holder, os.WNOHANG)
            if ended:
                return 0 if self._over else multiprocess.exit_status(status)

    def _group(self, holder: int, reading: int) -> WorkerGroup:
        """The workers where each loads the model: the holder is the first of them."""

        def work(loaded: Callable[[], None]) -> int:
            process_setup.reseed()
            ready = self._model.load()
            loaded()
            return self._model.serve(ready)

        group = WorkerGroup(self._workers, work, self._show)
        group.adopt(holder, reading, over=self._over)
        return group

    def _hold(self, channel: _Channel) -> int:
        """In the holder: load the model, and start workers that share it, or serve."""
        # Threads that the model starts inherit the mask.
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        process_setup.reseed()
        before = Before()
        ready = self._model.load()
        gc.collect()
        if why := before.obstacle():
            print(f"each worker loads the model by itself, since it {why}", flush=True)  # noqa: T201
            channel.send(_ALONE)
            return self._model.serve(ready)
        gc.freeze()  # a collection would write into each object, and so copy its page
        channel.send(_SHARED)

        def work(loaded: Callable[[], None]) -> int:
            process_setup.reseed()
            loaded()
            return self._model.serve(ready)

        return WorkerGroup(self._workers, work, channel.show).lead()


class _Channel:
    """From the holder to the leader: lines, each announced by SIGUSR1."""

    def __init__(self, writing: int) -> None:
        self._writing = writing
        self._leader = os.getppid()

    def send(self, text: str) -> None:
        os.write(self._writing, f"{text}\n".encode(errors="replace"))
        if os.getppid() == self._leader:
            os.kill(self._leader, signal.SIGUSR1)

    def show(self, text: str) -> None:
        if text:
            self.send(text)
        else:  # in a worker, which has nothing to tell
            os.close(self._writing)


def _messages(reading: int) -> list[str]:
    """What the holder has said by now; the kernel keeps each line whole (pipe(7), PIPE_BUF)."""
    try:
        return os.read(reading, _ROOM).decode(errors="replace").splitlines()
    except BlockingIOError:
        return []
