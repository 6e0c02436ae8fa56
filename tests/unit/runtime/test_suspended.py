"""Launches that a signal has stopped, and launches that only wait: real processes."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_deployment.core.domain import LOST, Address, Handle, LaunchSpec
from model_deployment.core.options import Options
from model_deployment.environments.environment import Environment
from model_deployment.runtime import identity
from model_deployment.runtime.local import LocalRuntime
from model_deployment.runtime.logs import LaunchLogs
from model_deployment.runtime.starter import LaunchProcess
from model_deployment.runtime.suspended import SUSPENDED_AFTER, SuspensionDetector
from tests.support.waiting import until_sync

#: Starts two processes from its first thread, and waits for its standard input to end.
LEADER = """
import os, subprocess, sys
for _ in range(2):
    print(subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL).pid, flush=True)
sys.stdin.read()
"""


class Clock:
    """The time, set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class NoStarter:
    """Starts nothing."""

    async def start(self, spec: LaunchSpec, built: Environment | None = None) -> LaunchProcess:
        raise OSError(spec)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def launch() -> Iterator[tuple[int, int, int]]:
    """The pids of a leader and its two workers."""
    leader = subprocess.Popen(
        [sys.executable, "-c", LEADER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert leader.stdout is not None
    first, second = (int(leader.stdout.readline()) for _ in range(2))
    yield leader.pid, first, second
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGKILL)
    leader.communicate()


def stop(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
        until_sync(lambda: stopped(pid), what="a process that is stopped")  # noqa: B023


def stopped(pid: int) -> bool:
    found = identity.read_process(pid)
    return found is not None and found.stopped


def suspended(detector: SuspensionDetector, pid: int, *, alone: bool) -> bool:
    """Whether the launch with this leader is suspended."""
    leader = identity.read_process(pid)
    assert leader is not None
    return detector.is_suspended("launch", leader, alone=alone)


def checks(clock: Clock, leader: int, *, alone: bool) -> list[bool]:
    """The results of several checks, the last two of them after long enough."""
    detector, found = SuspensionDetector(clock), []
    for pause in (0.0, SUSPENDED_AFTER / 2, SUSPENDED_AFTER / 2, 0.1):
        clock.now += pause
        found.append(suspended(detector, leader, alone=alone))
    return found


def test_leader_that_serves_alone_is_suspended_after_two_seconds(
    clock: Clock, launch: tuple[int, int, int]
) -> None:
    leader, first, _ = launch
    assert checks(clock, leader, alone=True) == [False] * 4
    stop(first)  # what it has started for itself is its own business
    assert checks(clock, leader, alone=True) == [False] * 4
    stop(leader)
    assert checks(clock, leader, alone=True) == [False, False, True, True]


def test_process_that_ran_in_between_is_not_suspended(
    clock: Clock, launch: tuple[int, int, int]
) -> None:
    leader, detector = launch[0], SuspensionDetector(clock)
    for _ in range(3):
        stop(leader)
        assert not suspended(detector, leader, alone=True)
        os.kill(leader, signal.SIGCONT)
        until_sync(lambda: not stopped(leader))
        clock.now += SUSPENDED_AFTER
        assert not suspended(detector, leader, alone=True)


def test_process_whose_cpu_time_grew_is_not_suspended(clock: Clock) -> None:
    # As a program does that limits another one to a part of a processor.
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        detector = SuspensionDetector(clock)
        for _ in range(3):
            stop(busy.pid)
            clock.now += SUSPENDED_AFTER
            assert not suspended(detector, busy.pid, alone=True)
            before = identity.read_process(busy.pid)
            assert before is not None
            os.kill(busy.pid, signal.SIGCONT)
            until_sync(lambda: (identity.read_process(busy.pid) or before).used > before.used + 1)  # noqa: B023
        busy.kill()


def test_single_stopped_worker_of_several_is_killed(
    clock: Clock, launch: tuple[int, int, int]
) -> None:
    leader, first, second = launch
    stop(first)
    assert checks(clock, leader, alone=False) == [False] * 4
    # A zombie until its parent looks.
    until_sync(lambda: (found := identity.read_process(first)) is None or found.zombie)
    assert not stopped(second)


def test_launch_whose_workers_are_all_stopped_is_suspended(
    clock: Clock, launch: tuple[int, int, int]
) -> None:
    leader, first, second = launch
    stop(leader)
    assert checks(clock, leader, alone=False) == [False] * 4  # those that serve go on
    stop(first, second)
    assert checks(clock, leader, alone=False) == [False, False, True, True]
    assert stopped(first)


def test_forgotten_launch_is_observed_from_the_beginning(
    clock: Clock, launch: tuple[int, int, int]
) -> None:
    detector = SuspensionDetector(clock)
    stop(launch[0])
    suspended(detector, launch[0], alone=True)
    detector.forget("launch")
    clock.now += SUSPENDED_AFTER
    assert not suspended(detector, launch[0], alone=True)


def test_zombie_is_not_suspended(clock: Clock, launch: tuple[int, int, int]) -> None:
    leader = launch[0]
    stop(leader)
    os.kill(leader, signal.SIGKILL)
    until_sync(lambda: (found := identity.read_process(leader)) is not None and found.zombie)
    assert checks(clock, leader, alone=True) == [False] * 4


NO_LOGS = LaunchLogs(Path("/nonexistent"), 0)


def handle(pid: int, started: int, **ref: object) -> Handle:
    own = {"boot": identity.boot_id(), "pid": pid, "started": started, "method": identity.FORK}
    return Handle("launch", Address("127.0.0.1", 1), {**own, **ref})


def test_runtime_reads_a_process_once_to_tell_whether_it_is_stopped(
    launch: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = identity.read_process(launch[0])
    assert leader is not None
    reads: list[int] = []
    read = identity.read_process

    def counted(pid: int) -> identity.Process | None:
        reads.append(pid)
        return read(pid)

    monkeypatch.setattr(identity, "read_process", counted)
    runtime = LocalRuntime(instance="test", serve=NoStarter(), logs=NO_LOGS)
    assert not runtime.suspended(handle(leader.pid, leader.started), Options())
    assert reads == [leader.pid]
    stop(leader.pid)
    assert not runtime.suspended(handle(leader.pid, leader.started - 1), Options())
    assert not runtime.suspended(handle(leader.pid, leader.started, boot="another"), Options())
    assert not runtime.suspended(handle(2**22 + 1, 1), Options())


async def test_running_launch_is_polled_without_a_look_at_its_process(
    launch: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = identity.read_process(launch[0])
    assert leader is not None
    ended = asyncio.Event()
    runtime = LocalRuntime(instance="test", serve=NoStarter(), logs=NO_LOGS, on_exit=ended.set)
    own = handle(leader.pid, leader.started)
    assert await runtime.poll(own) is None
    with monkeypatch.context() as patched:
        patched.setattr(identity, "is_running", lambda *_: pytest.fail("looked"))
        assert await runtime.poll(own) is None
    os.kill(leader.pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        await ended.wait()
    assert await runtime.poll(own) == LOST
    await runtime.close()


#: Its first thread ends when it is told to, and another one goes on.
HEADLESS = """
import ctypes, sys, threading
threading.Thread(target=threading.Event().wait).start()
print("ready", flush=True)
sys.stdin.readline()
ctypes.CDLL(None).pthread_exit(None)
"""


@pytest.fixture
def headless() -> "Iterator[subprocess.Popen[str]]":
    command, pipe = [sys.executable, "-c", HEADLESS], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as it:
        assert it.stdout is not None
        assert it.stdout.readline() == "ready\n"
        yield it
        it.kill()


async def test_launch_whose_main_thread_ended_is_announced_once_and_has_ended(
    headless: "subprocess.Popen[str]",
) -> None:
    leader = identity.read_process(headless.pid)
    assert leader is not None
    exits: list[str] = []
    runtime = LocalRuntime(
        instance="test", serve=NoStarter(), logs=NO_LOGS, on_exit=lambda: exits.append("exit")
    )
    own = handle(leader.pid, leader.started)
    assert await runtime.poll(own) is None
    assert headless.stdin is not None
    headless.stdin.write("\n")
    headless.stdin.flush()
    until_sync(lambda: (found := identity.read_process(leader.pid)) is None or found.zombie)
    for _ in range(2):
        assert not runtime.suspended(own, Options())
    assert exits == ["exit"]
    assert await runtime.poll(own) == LOST
    await runtime.close()
