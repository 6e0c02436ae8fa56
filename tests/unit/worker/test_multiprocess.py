"""Several workers of one launch: one that does not load its model harms no other."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import until_sync

#: Workers that load unless there is a file, and say by another that they did.
PROGRAM = """
import pathlib, os, signal, sys
from model_deployment.worker import multiprocess

multiprocess._PAUSE = 0.02
folder = pathlib.Path(sys.argv[1])

def show(text):
    if text:
        (folder / "shown").write_text(text)

def work(loaded):
    if (folder / "alone").exists():
        os.mkdir(folder / "taken")  # what only one process can have
        while not (folder / "go on").exists():
            signal.sigtimedwait([], 0.01)
    if (folder / "deadly").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    if (folder / "broken").exists():
        return 3
    loaded()
    (folder / f"{os.getpid()}.up").touch()
    signal.pause()

sys.exit(multiprocess.run(2, work, show))
"""


class Launch:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._broken = folder / "broken"
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(self._folder)],
                stderr=log,
                start_new_session=True,
            )

    def break_model(self) -> None:
        self._broken.touch()

    def mend_model(self) -> None:
        self._broken.unlink()

    @property
    def workers(self) -> list[int]:
        """All that ever loaded."""
        return [int(path.stem) for path in self._folder.glob("*.up")]

    @property
    def shown(self) -> str:
        """How it stands with the workers."""
        path = self._folder / "shown"
        return path.read_text() if path.exists() else ""

    def touch(self, name: str) -> None:
        (self._folder / name).touch()

    def logged(self, text: str) -> int:
        return self._log.read_text().count(text)

    def ask_to_end(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self.ended()

    def ended(self) -> int:
        assert self._process is not None
        return self._process.wait(10)

    def clear(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    it = Launch(tmp_path)
    yield it
    it.clear()


def test_model_that_does_not_load_ends_the_launch(launch: Launch) -> None:
    launch.break_model()
    launch.start()
    assert launch.ended() == 3
    assert not launch.logged("another")


def test_signal_that_ends_the_last_worker_is_in_the_status(launch: Launch) -> None:
    launch.touch("deadly")
    launch.start()
    assert launch.ended() == 128 + signal.SIGKILL


def test_successor_that_does_not_load_is_started_again(launch: Launch) -> None:
    launch.start()
    until_sync(lambda: len(launch.workers) == 2)
    launch.break_model()
    victim, other = launch.workers
    os.kill(victim, signal.SIGKILL)
    until_sync(lambda: launch.logged("did not load the model") >= 2)
    os.kill(other, 0)
    launch.mend_model()
    until_sync(lambda: len(launch.workers) == 3)
    os.kill(other, 0)
    assert launch.ask_to_end() == 0


def test_title_shows_how_many_serve_and_why_others_do_not(launch: Launch) -> None:
    launch.touch("alone")
    launch.start()
    until_sync(lambda: launch.logged("FileExistsError") == 1)
    assert launch.workers == []
    launch.touch("go on")  # the one that did not load the model did not end the other
    until_sync(lambda: launch.shown.startswith("1 of 2 workers serve; FileExistsError: [Errno 17]"))
    until_sync(lambda: launch.logged("did not load the model") >= 2)
    (launch._folder / "alone").unlink()
    until_sync(lambda: launch.shown == "2 of 2 workers serve")
    os.kill(launch.workers[0], signal.SIGKILL)
    until_sync(lambda: len(launch.workers) == 3)
    until_sync(lambda: launch.shown == "2 of 2 workers serve")
    assert launch.ask_to_end() == 0


def test_launch_ends_when_no_worker_can_load_the_model(launch: Launch) -> None:
    launch.start()
    until_sync(lambda: len(launch.workers) == 2)
    launch.break_model()
    for worker in launch.workers:
        os.kill(worker, signal.SIGKILL)
    assert launch.ended() == 3
    assert launch.logged("exited")
