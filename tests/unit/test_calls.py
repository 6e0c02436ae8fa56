"""Predictions in threads: a few at once, and those that hang do not keep the others waiting."""

import asyncio
import threading

import pytest

from model_deployment.worker.calls import Calls


async def test_calls_that_hang_do_not_keep_others_waiting() -> None:
    calls, free = Calls(at_once=2), threading.Event()
    hanging = [asyncio.create_task(calls.run(free.wait)) for _ in range(20)]
    assert await asyncio.wait_for(calls.run(lambda: "answer"), 10) == "answer"
    free.set()
    assert await asyncio.gather(*hanging) == [True] * 20


async def test_what_computes_waits_for_its_turn() -> None:
    calls, at_once, most = Calls(at_once=3), 0, 0
    lock = threading.Lock()

    def compute() -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        with lock:
            at_once -= 1

    await asyncio.gather(*(calls.run(compute) for _ in range(200)))
    assert most <= 3


async def test_a_caller_that_gives_up_leaves_no_place_taken() -> None:
    calls, free = Calls(at_once=1), threading.Event()
    hanging = [asyncio.create_task(calls.run(free.wait)) for _ in range(3)]
    await asyncio.sleep(0)
    for task in hanging[1:]:
        task.cancel()
    assert await asyncio.wait_for(calls.run(lambda: 1), 10) == 1
    free.set()
    await asyncio.gather(*hanging, return_exceptions=True)
    assert calls._free == 1


async def test_an_exception_comes_back() -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Calls().run(fail)
