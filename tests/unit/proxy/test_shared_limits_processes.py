"""Real processes share a limit, are killed and stopped."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from model_deployment.proxy.limits_file import create_limits_file
from model_deployment.proxy.shared_limits import SharedLimits
from model_deployment.proxy.slot_queue import SlotQueue
from tests.support.limit_sharer import REQUESTS
from tests.support.waiting import until_sync

ROOT = Path(__file__).parents[3]
PROCESSES = 4


class Sharer:
    """A process that shares limits: see ``tests/support/limit_sharer.py``."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        assert self._line() == "ready"

    def begin(self) -> None:
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def reached(self, line: str) -> bool:
        return self._line() == line

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._line())
        return found

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


Start = Callable[[int, str, int], Sharer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    create_limits_file(tmp_path / "limits", rows=8, columns=8)
    with ExitStack() as stack:

        def start(column: int, mode: str, limit: int) -> Sharer:
            arguments = [str(tmp_path), str(column), mode, str(limit), "1"]
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.support.limit_sharer", *arguments],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            return Sharer(process)

        yield start


@pytest.fixture
def limits(start: Start, tmp_path: Path) -> Iterator[SharedLimits]:
    with closing(SharedLimits.open(tmp_path / "limits", 0)) as limits:
        yield limits


def results_of(start: Start, mode: str, limit: int) -> list[dict[str, Any]]:
    sharers = [start(column, mode, limit) for column in range(1, PROCESSES + 1)]
    for sharer in sharers:
        sharer.begin()
    return [sharer.result() for sharer in sharers]


@pytest.mark.parametrize("limit", [1, 3])
def test_processes_admit_no_more_callers_than_the_limit(
    start: Start, limits: SharedLimits, limit: int
) -> None:
    results = results_of(start, "callers", limit)
    assert max(result["most"] for result in results) <= limit
    assert any(result["turns"] for result in results)
    assert limits.row(3).callers.total == 0


def test_processes_hold_no_more_bytes_than_the_limit(start: Start, limits: SharedLimits) -> None:
    results = results_of(start, "bytes", 1000)
    assert max(result["most"] for result in results) <= 1000
    assert any(result["turns"] for result in results)
    assert limits.row(3).held.total == 0


@pytest.mark.parametrize("limit", [1, 3, PROCESSES * REQUESTS])
def test_processes_take_turns_at_the_slots(start: Start, limits: SharedLimits, limit: int) -> None:
    results = results_of(start, "slots", limit)
    assert max(result["most"] for result in results) <= limit
    turns = [result["turns"] for result in results]
    # First come, first served gives each of them a quarter.
    assert limit > 3 or min(turns) > sum(turns) / 10, turns
    assert limits.row(3).slots.sending.total == 0


def test_what_a_killed_process_used_is_free(start: Start, limits: SharedLimits) -> None:
    usage, holder = limits.row(3), start(1, "hold", 2)
    holder.begin()
    holder.result()
    numbers = (usage.callers, usage.held, usage.queued, usage.queued_bytes, usage.slots.sending)
    assert [number.total for number in numbers] == [2] * 5
    assert not usage.slots.take(2)
    holder.send(signal.SIGKILL)  # nobody waits for it, so it stays a zombie
    until_sync(lambda: usage.slots.take(2), what="a slot of the killed process")
    assert [number.add(2, 2) for number in numbers[:4]] == [True] * 4


def test_a_killed_process_has_no_turn(start: Start, limits: SharedLimits) -> None:
    slots, waiter = limits.row(3).slots, start(1, "wait", 1)
    assert slots.take(1)
    waiter.begin()
    assert waiter.reached("waiting")
    waiter.send(signal.SIGKILL)
    slots.free()
    until_sync(lambda: slots.take(1), what="the turn of the killed process")


async def test_a_stopped_process_loses_its_turn_until_it_goes_on(
    start: Start, limits: SharedLimits
) -> None:
    slots, waiter = limits.row(3).slots, start(1, "wait", 1)
    queue = SlotQueue(slots, 1)
    await queue.acquire()
    waiter.begin()
    assert waiter.reached("waiting")
    waiter.send(signal.SIGSTOP)
    later = asyncio.create_task(queue.acquire())
    queue.release()
    await asyncio.wait_for(later, 10)
    waiter.send(signal.SIGCONT)
    queue.release()
    assert waiter.result()["turns"] == 0


async def test_a_waiting_process_is_served_before_a_later_request(
    start: Start, limits: SharedLimits
) -> None:
    queue, waiter = SlotQueue(limits.row(3).slots, 1), start(1, "wait", 1)
    await queue.acquire()
    waiter.begin()
    assert waiter.reached("waiting")
    later = asyncio.create_task(queue.acquire())
    queue.release()
    await asyncio.to_thread(waiter.result)
    assert not later.done()
    # It has the slot, and does not give it back.
    waiter.send(signal.SIGKILL)
    await asyncio.wait_for(later, 10)
