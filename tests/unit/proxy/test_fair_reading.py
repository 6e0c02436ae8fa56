"""Connections with large pieces take turns, and others do not wait for all of them."""

import asyncio
from typing import cast

from model_deployment.proxy.fair_reading import FairFlow, Turns
from model_deployment.proxy.held_bytes import HeldBytes, HeldKind, Holding
from model_deployment.proxy.spare_memory import give_memory_back
from tests.support.waiting import until


class Transport:
    def __init__(self) -> None:
        self.reads = True
        self.resumed = 0
        self.closing = False

    def pause_reading(self) -> None:
        assert self.reads
        self.reads = False

    def resume_reading(self) -> None:
        assert not self.reads
        self.reads = True
        self.resumed += 1

    def is_closing(self) -> bool:
        return self.closing


def flows(turns: Turns, number: int) -> list[tuple[Transport, FairFlow]]:
    made = [Transport() for _ in range(number)]
    return [(one, FairFlow(cast(asyncio.Transport, one), turns)) for one in made]


async def test_few_go_on_in_each_turn_and_all_of_them_in_the_end() -> None:
    all_of_them = flows(Turns(), 40)
    for _, flow in all_of_them:
        flow.wait_turn()
    order: list[int] = []
    while len(order) < 40:
        await asyncio.sleep(0)
        went = [n for n, (one, _) in enumerate(all_of_them) if one.reads and n not in order]
        assert len(went) <= 2
        order += went
    assert order == [*range(40)]


async def test_who_has_no_use_for_more_does_not_go_on_at_its_turn() -> None:
    [(wanted, first), (unwanted, second), (gone, third)] = flows(Turns(), 3)
    second.pause_reading()
    for flow in (first, second, third):
        flow.wait_turn()
        flow.wait_turn()
    first.pause_reading()
    first.resume_reading()
    gone.closing = True
    assert not wanted.reads
    await until(lambda: wanted.reads, what="its turn")
    await asyncio.sleep(0.02)
    assert not unwanted.reads
    assert not gone.reads
    second.resume_reading()
    assert (unwanted.reads, unwanted.resumed, wanted.resumed) == (True, 1, 1)


async def test_memory_is_given_back_once_a_burst_is_over() -> None:
    held = HeldBytes.unshared()
    holding = Holding(held, HeldKind.CALL)
    task = asyncio.create_task(give_memory_back(held, period=0.01))
    try:
        holding.add(32 * 1024 * 1024)
        await asyncio.sleep(0.05)
        assert held.most == holding.size, "it goes on"
        holding.release()
        await until(lambda: held.most == 0, what="the end of the burst")
    finally:
        task.cancel()
