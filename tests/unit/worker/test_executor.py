"""Predictions in threads: a few compute at once, and those that hang do not keep the others waiting."""

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from model_deployment.worker import executor as module
from model_deployment.worker.executor import PredictionExecutor
from tests.support.waiting import until


def spin(seconds: float) -> None:
    """Compute without ever giving the interpreter away."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def digest(seconds: float) -> None:
    """Compute beside the interpreter, as numpy does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        hashlib.pbkdf2_hmac("sha256", b"a", b"b", 10_000)


class Crowd:
    """Counts how many compute at the same time."""

    def __init__(self, compute: Callable[[float], None]) -> None:
        self._compute = compute
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0

    def join(self, seconds: float) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        self._compute(seconds)
        with self._lock:
            self._now -= 1


async def test_calls_that_hang_do_not_keep_others_waiting() -> None:
    calls, free = PredictionExecutor(at_once=2), threading.Event()
    hanging = [asyncio.create_task(calls.run(free.wait)) for _ in range(20)]
    assert await asyncio.wait_for(calls.run(lambda: "answer"), 10) == "answer"
    free.set()
    assert await asyncio.gather(*hanging) == [True] * 20


async def test_short_calls_wait_for_their_turn() -> None:
    calls, crowd = PredictionExecutor(at_once=3), Crowd(lambda _: None)
    await asyncio.gather(*(calls.run(lambda: crowd.join(0)) for _ in range(200)))
    assert crowd.most <= 3


@pytest.mark.parametrize("compute", [spin, digest])
async def test_long_computations_wait_for_their_turn(compute: Callable[[float], None]) -> None:
    calls, crowd = PredictionExecutor(at_once=2), Crowd(compute)
    await asyncio.gather(*(calls.run(lambda: crowd.join(0.25)) for _ in range(6)))
    assert crowd.most == 2
    assert calls._free == 2


async def test_calls_beside_hung_ones_wait_for_their_turn() -> None:
    calls, crowd, free = PredictionExecutor(at_once=2), Crowd(spin), threading.Event()
    hanging = [asyncio.create_task(calls.run(free.wait)) for _ in range(6)]
    computing = [asyncio.create_task(calls.run(lambda: crowd.join(0.2))) for _ in range(6)]
    more = [asyncio.create_task(calls.run(free.wait)) for _ in range(6)]
    await asyncio.wait_for(asyncio.gather(*computing), 20)
    assert crowd.most <= 2
    assert await asyncio.wait_for(calls.run(lambda: "answer"), 10) == "answer"
    free.set()
    assert await asyncio.gather(*hanging, *more) == [True] * 12
    assert calls._free == 2


async def test_call_that_computes_again_counts_again() -> None:
    calls, free, end = PredictionExecutor(at_once=1), threading.Event(), threading.Event()

    def wait_and_compute() -> None:
        free.wait()
        while not end.is_set():
            pass

    first = asyncio.create_task(calls.run(wait_and_compute))
    assert await asyncio.wait_for(calls.run(lambda: "answer"), 10) == "answer"
    await until(lambda: calls._free == 1, what="the answered call not to count")
    free.set()
    await until(lambda: calls._free == 0, what="it to count")
    end.set()
    await first
    assert calls._free == 1


async def test_call_of_a_cancelled_caller_keeps_its_slot() -> None:
    calls, order = PredictionExecutor(at_once=1), list[str]()

    def compute() -> None:
        order.append("begin")
        spin(0.3)
        order.append("end")

    first = asyncio.create_task(calls.run(compute))
    await until(lambda: order)
    first.cancel()
    await calls.run(lambda: order.append("next"))
    assert first.cancelled()
    assert order == ["begin", "end", "next"]
    assert calls._free == 1


async def test_calls_that_wait_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING", 2)
    calls, free, begun = PredictionExecutor(at_once=1), threading.Event(), list[int]()

    def hang(number: int) -> None:
        begun.append(number)
        free.wait()

    hanging = [asyncio.create_task(calls.run(partial(hang, n))) for n in range(5)]
    await until(lambda: len(begun) == 3)
    free.set()
    await asyncio.gather(*hanging)
    assert calls._free == 1
    assert calls._room_to_wait == 2


async def test_cancelled_caller_frees_its_slot() -> None:
    calls, free = PredictionExecutor(at_once=1), threading.Event()
    hanging = [asyncio.create_task(calls.run(free.wait)) for _ in range(3)]
    await asyncio.sleep(0)
    for task in hanging[1:]:
        task.cancel()
    assert await asyncio.wait_for(calls.run(lambda: 1), 10) == 1
    free.set()
    await asyncio.gather(*hanging, return_exceptions=True)
    assert calls._free == 1


async def test_exception_comes_back() -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await PredictionExecutor().run(fail)
