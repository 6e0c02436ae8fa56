"""Launches that something has stopped are told from those that only wait, with real processes."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from model_deployment.runtime import identity
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


def looks(clock: Clock, leader: int, *, alone: bool) -> list[bool]:
    """What several looks say, the last of them after long enough."""
    still, found = SuspensionDetector(clock), []
    for pause in (0.0, SUSPENDED_AFTER / 2, SUSPENDED_AFTER / 2, 0.1):
        clock.now += pause
        found.append(still.look("launch", leader, alone=alone))
    return found


def test_one_that_serves_alone_is_found_by_the_third_look(
    clock: Clock, launch: tuple[int, int, int]
) -> None:
    leader, first, _ = launch
    assert looks(clock, leader, alone=True) == [False] * 4
    stop(first)  # what it has started for itself is its own business
    assert looks(clock, leader, alone=True) == [False] * 4
    stop(leader)
    assert looks(clock, leader, alone=True) == [False, False, True, True]


def test_one_that_goes_on_in_between_is_not(clock: Clock, launch: tuple[int, int, int]) -> None:
    leader, still = launch[0], SuspensionDetector(clock)
    for _ in range(3):
        stop(leader)
        assert not still.look("launch", leader, alone=True)
        os.kill(leader, signal.SIGCONT)
        until_sync(lambda: not stopped(leader))
        clock.now += SUSPENDED_AFTER
        assert not still.look("launch", leader, alone=True)


def test_one_that_was_busy_meanwhile_is_not(clock: Clock) -> None:
    # As a program does that limits another one to a part of a processor.
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        still = SuspensionDetector(clock)
        for _ in range(3):
            stop(busy.pid)
            clock.now += SUSPENDED_AFTER
            assert not still.look("launch", busy.pid, alone=True)
            before = identity.read_process(busy.pid)
            assert before is not None
            os.kill(busy.pid, signal.SIGCONT)
            until_sync(lambda: (identity.read_process(busy.pid) or before).used > before.used + 1)  # noqa: B023
        busy.kill()


def test_of_several_workers_one_that_is_stopped_is_ended(
    clock: Clock, launch: tuple[int, int, int]
) -> None:
    leader, first, second = launch
    stop(first)
    assert looks(clock, leader, alone=False) == [False] * 4
    # A zombie until its parent looks.
    until_sync(lambda: (found := identity.read_process(first)) is None or found.zombie)
    assert not stopped(second)


def test_workers_that_are_all_stopped_are_a_launch_that_is(
    clock: Clock, launch: tuple[int, int, int]
) -> None:
    leader, first, second = launch
    stop(leader)
    assert looks(clock, leader, alone=False) == [False] * 4  # those that serve go on
    stop(first, second)
    assert looks(clock, leader, alone=False) == [False, False, True, True]
    assert stopped(first)


def test_what_is_gone_is_not_stopped(clock: Clock, launch: tuple[int, int, int]) -> None:
    still = SuspensionDetector(clock)
    stop(launch[0])
    still.look("launch", launch[0], alone=True)
    still.forget("launch")
    clock.now += SUSPENDED_AFTER
    assert not still.look("launch", launch[0], alone=True)
    assert looks(clock, 2**22 + 1, alone=True) == [False] * 4
