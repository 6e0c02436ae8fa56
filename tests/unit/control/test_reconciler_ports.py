"""Which port a launch gets, with strangers about, after a release, and when there is none."""

from collections.abc import AsyncIterator

import pytest

from model_deployment.control.effects import BLOCKED_FOR
from model_deployment.core.domain import State
from model_deployment.core.names import ModelKey
from tests.support.simulation import FIRST, QUARANTINE, Stage, stage

A, B, C = (ModelKey(name, 1) for name in "abc")


@pytest.fixture
async def on() -> AsyncIterator[Stage]:
    with stage(ports=2) as made:
        await made.start()
        yield made
        await made.gone()


async def test_a_strangers_port_is_skipped_and_used_once_it_is_free(on: Stage) -> None:
    on.machine.squat(FIRST)
    await on.ready(A)
    assert (await on.row(A)).port == FIRST + 1
    usage = await on.ports.usage(on.machine.now)
    assert [(blocked.port, blocked.holder) for blocked in usage.blocked] == [
        (FIRST, f"squatter on {FIRST}")
    ]
    assert not await on.deploy(B)  # refused at once: nothing is left for it
    on.machine.strangers.clear()
    await on.tick(BLOCKED_FOR)
    await on.ready(B)
    assert (await on.row(B)).port == FIRST


async def test_a_launch_that_lost_its_port_to_a_stranger_goes_elsewhere(on: Stage) -> None:
    await on.deploy(A)
    await on.tick(), await on.tick()
    on.machine.squat(FIRST)
    on.machine.load(await on.process(A))
    await on.tick()
    row = await on.row(A)
    assert (row.state, row.reason) == (State.PENDING, "the process exited with status 1")
    usage = await on.ports.usage(on.machine.now)
    assert [blocked.port for blocked in usage.blocked] == [FIRST]  # known at once
    on.machine.advance(1)
    await on.ready(A)
    assert (await on.row(A)).port == FIRST + 1


async def test_a_released_port_rests(on: Stage) -> None:
    await on.ready(A)
    await on.undeploy(A)
    await on.tick(), await on.tick(), await on.tick()
    assert (await on.row(A)).state is State.STOPPED
    await on.ready(B)
    assert (await on.row(B)).port == FIRST + 1
    await on.tick(QUARANTINE)
    await on.ready(A)
    assert (await on.row(A)).port == FIRST


async def test_without_a_free_port_a_launch_waits(on: Stage) -> None:
    await on.deploy(A)
    await on.deploy(B)
    await on.tick()
    for port in (FIRST, FIRST + 1):
        on.machine.squat(port)
    await on.tick(), await on.tick()
    for key in (A, B):
        row = await on.row(key)
        assert (row.state, row.tries) == (State.PENDING, 0)
        assert row.reason == f"waiting for a free port in {FIRST}-{FIRST + 1}"
    on.machine.strangers.clear()
    await on.tick(BLOCKED_FOR)
    await on.tick()
    assert {process.key for process in on.machine.live} == {A, B}


async def test_the_more_wishes_than_ports_are_refused(on: Stage) -> None:
    await on.ready(A, B)
    assert not await on.deploy(C)
    assert await on.deploy(A)
