"""Several workers of one launch load their model once, unless it holds what processes cannot share."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.waiting import until_sync

#: Workers that write what they were given, and then wait.
PROGRAM = """
import os, pathlib, random, signal, socket, subprocess, sys, threading, time
from model_deployment.worker import multiprocess, shared_model

multiprocess._PAUSE = 0.02
folder, kind = pathlib.Path(sys.argv[1]), sys.argv[2]

def show(text):
    if text:
        (folder / "shown").write_text(text)

class Model:
    def load(self):
        (folder / f"{os.getpid()}.load").touch()
        if kind == "broken":
            raise SystemExit(78)
        if kind == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "thread":
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        if kind == "socket":
            return socket.socket()
        if kind == "file":
            return open(__file__ if "__file__" in globals() else "/proc/version")
        if kind == "program":
            return subprocess.Popen(["sleep", "60"])
        if kind == "random":
            return random.Random()
        if kind == "mapped":
            import numpy
            numpy.save(folder / "numbers.npy", numpy.arange(100_000.0))
            return numpy.load(folder / "numbers.npy", mmap_mode="r")
        return [1.5] * 1000

    def serve(self, loaded):
        (folder / f"{os.getpid()}.up").write_text(str(random.random()))
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        signal.pause()
        return 0

sys.exit(shared_model.run(2, Model(), show))
"""


class Launch:
    def __init__(self, folder: Path, kind: str) -> None:
        self._folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), kind],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def pids(self, what: str) -> set[int]:
        return {int(path.stem) for path in self._folder.glob(f"*.{what}")}

    @property
    def shown(self) -> str:
        path = self._folder / "shown"
        return path.read_text() if path.exists() else ""

    def numbers(self) -> list[str]:
        return [path.read_text() for path in self._folder.glob("*.up")]

    def until_all_serve(self) -> None:
        until_sync(lambda: self.shown.startswith("2 of 2") and len(self.pids("up")) >= 2)

    def end(self) -> None:
        # Workers outlive a leader that is killed, until the controller notices.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Launch]]:
    launches: list[Launch] = []

    def begin(kind: str) -> Launch:
        launches.append(Launch(tmp_path, kind))
        return launches[-1]

    yield begin
    for one in launches:
        one.end()


@pytest.mark.parametrize("kind", ["plain", "mapped"])
def test_the_model_is_loaded_once_and_workers_draw_other_numbers(
    start: Callable[[str], Launch], kind: str
) -> None:
    launch = start(kind)
    launch.until_all_serve()
    assert len(launch.pids("load")) == 1
    assert not launch.pids("load") & launch.pids("up"), "the process that loaded it serves nobody"
    assert len({*launch.numbers()}) == 2


@pytest.mark.parametrize("kind", ["thread", "socket", "file", "program", "random"])
def test_what_cannot_be_shared_is_loaded_by_each_worker(
    start: Callable[[str], Launch], kind: str
) -> None:
    launch = start(kind)
    launch.until_all_serve()
    assert launch.pids("load") == launch.pids("up")
    assert len(launch.pids("load")) == 2


@pytest.mark.parametrize("kind", ["plain", "thread"])
def test_a_worker_that_dies_is_replaced(start: Callable[[str], Launch], kind: str) -> None:
    launch = start(kind)
    launch.until_all_serve()
    loads = len(launch.pids("load"))
    os.kill(min(launch.pids("up")), signal.SIGKILL)
    until_sync(lambda: len(launch.pids("up")) == 3)
    assert len(launch.pids("load")) == loads + (kind == "thread")
    until_sync(lambda: launch.shown == "2 of 2 workers serve")


@pytest.mark.parametrize(("kind", "status"), [("broken", 78), ("killed", 128 + signal.SIGKILL)])
def test_a_model_that_cannot_be_loaded_ends_the_launch(
    start: Callable[[str], Launch], kind: str, status: int
) -> None:
    launch = start(kind)
    assert launch.process.wait(20) == status
    assert len(launch.pids("load")) == 1


@pytest.mark.parametrize("kind", ["plain", "thread"])
def test_the_leader_passes_on_that_it_is_to_end(start: Callable[[str], Launch], kind: str) -> None:
    launch = start(kind)
    launch.until_all_serve()
    launch.process.terminate()
    assert launch.process.wait(20) == 0
    assert not [pid for pid in launch.pids("up") if Path(f"/proc/{pid}").exists()]


def test_a_holder_that_dies_ends_the_launch(start: Callable[[str], Launch]) -> None:
    launch = start("plain")
    launch.until_all_serve()
    os.kill(next(iter(launch.pids("load"))), signal.SIGKILL)
    assert launch.process.wait(20) == 128 + signal.SIGKILL
