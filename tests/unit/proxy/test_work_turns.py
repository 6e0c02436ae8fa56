"""Bodies of many requests are worked on a few at a time; between, the event loop looks at its sockets."""

import asyncio

import pytest

from model_deployment.proxy.offload import LARGE
from model_deployment.proxy.work_turns import WorkTurns

IMAGE = 60_000


async def test_few_are_worked_on_in_a_turn_of_the_loop_and_in_their_order() -> None:
    turns, done = WorkTurns(), list[int]()
    tasks = [asyncio.create_task(turns.run(IMAGE, done.append, n)) for n in range(9)]
    seen = 0
    while len(done) < 9:
        await asyncio.sleep(0)
        assert len(done) - seen <= 2
        seen = len(done)
    assert done == [*range(9)]
    await asyncio.gather(*tasks)


async def test_small_ones_and_a_lone_large_one_do_not_wait() -> None:
    turns, done = WorkTurns(), list[int]()
    tasks = [asyncio.create_task(turns.run(100, done.append, n)) for n in range(50)]
    tasks.append(asyncio.create_task(turns.run(IMAGE, done.append, 50)))
    await asyncio.sleep(0)
    assert done == [*range(51)]
    await asyncio.gather(*tasks)


async def test_whoever_leaves_holds_up_nobody() -> None:
    turns, done = WorkTurns(), list[int]()
    tasks = [asyncio.create_task(turns.run(IMAGE, done.append, n)) for n in range(12)]
    await asyncio.sleep(0)
    for task in tasks[4:11]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert done == [0, 1, 2, 3, 11]
    await turns.run(IMAGE, done.append, 12)
    assert done[-1] == 12


async def test_what_is_very_large_is_done_in_a_thread_and_failures_come_back() -> None:
    import threading

    here = threading.get_ident()
    assert await WorkTurns().run(LARGE + 1, threading.get_ident) != here
    assert await WorkTurns().run(LARGE, threading.get_ident) == here
    with pytest.raises(ValueError, match="no number"):
        await WorkTurns().run(IMAGE, _fail)


def _fail() -> None:
    raise ValueError("no number")
