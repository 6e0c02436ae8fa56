"""Memory of launches: all their processes, and nobody else's."""

import asyncio
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from model_deployment.core.domain import Address, Handle
from model_deployment.core.measures import Memory
from model_deployment.runtime import identity
from model_deployment.runtime.launch_memory import LaunchMemory, measure
from model_deployment.runtime.memory import MemoryGauge
from tests.support.waiting import until_sync

MEGABYTE = 1024 * 1024
#: Takes so many megabytes, has a child that takes as many, and says so.
HUNGRY = """
import os, sys
hold = bytearray(os.urandom(1)) * ({size} * 1024 * 1024)
if os.fork():
    sys.stdin.read()
else:
    hold[:] = b"x" * len(hold)
    print("ready", flush=True)
    sys.stdin.read()
"""


class Launches:
    def __init__(self) -> None:
        self.instance = f"memory-{secrets.token_hex(4)}"
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, launch_id: str, megabytes: int = 20, program: str = HUNGRY) -> Handle:
        marker = {identity.MARKER: f"{self.instance}/{launch_id}"}
        child = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", program.format(size=megabytes)],
            env={"PATH": os.defpath, **marker},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.processes.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        return handle(launch_id, child.pid)

    def end(self) -> None:
        for child in self.processes:
            child.communicate()  # ends it, and waits until its own child has closed the pipe


def handle(launch_id: str, pid: int, **more: Any) -> Handle:
    ref = {"boot": identity.boot_id(), "pid": pid, **more}
    return Handle(launch_id, Address("127.0.0.1", 1), ref)


@pytest.fixture
def launches() -> Iterator[Launches]:
    it = Launches()
    yield it
    it.end()


def test_memory_of_a_launch_is_that_of_all_its_processes(launches: Launches) -> None:
    small, large = launches.start("small", 10), launches.start("large", 40)
    found = measure(launches.instance, [small, large])
    assert set(found) == {"small", "large"}
    # Twice what each takes, and what an interpreter needs.
    assert 20 * MEGABYTE < found["small"].rss < 60 * MEGABYTE
    assert 80 * MEGABYTE < found["large"].rss < 120 * MEGABYTE
    for one in found.values():
        assert one.pss is not None
        assert one.uss is not None
        assert 0 < one.uss <= one.pss <= one.rss
        assert one.forked is False
    found = measure(launches.instance, [small], forks=False)
    assert found["small"].forked is None


def test_memory_of_gone_launches_is_left_out(launches: Launches) -> None:
    here = launches.start("here", 1)
    elsewhere = handle("here", here.ref["pid"], boot="another")
    assert measure(launches.instance, [handle("gone", 2**22 - 1)]) == {}
    assert measure(launches.instance, [elsewhere]) == {}
    assert measure("stranger", [here]) == {}
    assert measure(launches.instance, []) == {}
    launches.end()
    until_sync(lambda: measure(launches.instance, [here]) == {}, what="it to be gone")


def test_memory_without_smaps_has_no_pss(
    monkeypatch: pytest.MonkeyPatch, launches: Launches
) -> None:
    here = launches.start("here", 1)

    def denied(path: Path) -> bytes:
        if path.name == "smaps_rollup":
            raise PermissionError
        return original(path)

    original = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", denied)
    found = measure(launches.instance, [here])["here"]
    assert found.pss is None
    assert found.uss is None
    assert found.rss > MEGABYTE


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pids of processes whose pages were counted."""
    counted: list[int] = []
    original = Path.read_bytes

    def count(path: Path) -> bytes:
        if path.name == "smaps_rollup":
            counted.append(int(path.parent.name))
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", count)
    return counted


#: Does what it is told, line by line.
OBEDIENT = """
import sys
print("ready", flush=True)
held = []
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


class Obedient:
    """A launch of one process that does as it is told."""

    def __init__(self, launches: Launches, launch_id: str) -> None:
        self.handle = launches.start(launch_id, program=OBEDIENT)
        self._process = launches.processes[-1]
        for _ in range(2):  # the first line that it reads takes memory
            self.do("pass")

    def do(self, line: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"


def test_idle_process_is_measured_once(launches: Launches, looks: list[int]) -> None:
    one, other = (Obedient(launches, name) for name in ("one", "other"))
    handles = [one.handle, other.handle]
    memory = LaunchMemory(launches.instance)
    first = memory.measure(handles)
    looks.clear()
    assert memory.measure(handles) == first
    assert memory.measure([one.handle], forks=False)["one"].rss == first["one"].rss
    assert looks == []


@pytest.mark.parametrize(
    "line",
    [
        "held.append(bytearray(20_000_000))",
        # It may have written to pages that it shared, which makes it no larger.
        "import time; [0 for _ in iter(lambda: time.process_time() < 0.3, False)]",
    ],
)
def test_process_that_grows_or_works_is_measured_again(
    launches: Launches, looks: list[int], line: str
) -> None:
    one, other = (Obedient(launches, name) for name in ("one", "other"))
    handles = [one.handle, other.handle]
    memory = LaunchMemory(launches.instance)
    memory.measure(handles)
    looks.clear()
    one.do(line)
    found = memory.measure(handles)
    assert looks == [one.handle.ref["pid"]]
    now = measure(launches.instance, [one.handle])["one"]
    assert (found["one"].rss, found["one"].uss) == (now.rss, now.uss)


def test_all_are_measured_again_when_one_starts_or_ends(
    launches: Launches, looks: list[int]
) -> None:
    """They may share pages with it."""
    one, other = (Obedient(launches, name) for name in ("one", "other"))
    memory = LaunchMemory(launches.instance)
    memory.measure([one.handle])
    memory.measure([one.handle, other.handle])
    looks.clear()
    launches.processes.pop().communicate()  # ends it
    memory.measure([one.handle])
    memory.measure([one.handle])
    assert looks == [one.handle.ref["pid"]]


def test_old_measurement_does_not_hold(
    launches: Launches, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Obedient(launches, "one")
    memory = LaunchMemory(launches.instance)
    memory.measure([one.handle])
    later = time.monotonic() + 1000
    monkeypatch.setattr(time, "monotonic", lambda: later)
    memory.measure([one.handle])
    assert len(looks) == 2


def test_memory_shared_by_forks_is_not_private(launches: Launches) -> None:
    """The two of each launch share what the first had before it forked, and nobody wrote to."""
    program = HUNGRY.replace('hold[:] = b"x" * len(hold)', "pass")
    found = measure(launches.instance, [launches.start("both", 50, program)])["both"]
    assert found.uss is not None
    assert found.pss is not None
    assert found.rss > 100 * MEGABYTE
    assert 50 * MEGABYTE < found.pss < 80 * MEGABYTE
    assert found.uss < 30 * MEGABYTE


async def test_gauge_remembers_figures_and_does_not_wait_for_a_slow_measurement() -> None:
    looks, slow = 0, asyncio.Event()

    async def look(handles: Sequence[Handle]) -> dict[str, Memory]:
        nonlocal looks
        looks += 1
        await slow.wait()
        return {one.launch_id: Memory(looks, None) for one in handles}

    gauge, known = MemoryGauge(look), handle("l", 1)
    assert await gauge.all([known], 0.01) == {}
    assert await gauge.all([known], 0.01) == {}
    slow.set()
    assert await gauge.all([known], 10) == {"l": Memory(1, None)}
    assert await gauge.all([known], 0) == {"l": Memory(1, None)}
    assert await gauge.fresh([known]) == {"l": Memory(1, None)}
    assert await gauge.all([], 0) == {}
    assert looks == 1
    # One that the last look did not know is looked at by itself.
    assert await gauge.fresh([handle("new", 1)]) == {"new": Memory(2, None)}
    await gauge.close()


async def test_gauge_without_a_readable_proc_returns_nothing() -> None:
    async def broken(handles: Sequence[Handle]) -> dict[str, Memory]:
        raise OSError("too many open files")

    gauge = MemoryGauge(broken)
    assert await gauge.all([handle("l", 1)], 10) == {}
    assert await gauge.fresh([handle("l", 1)]) == {}
