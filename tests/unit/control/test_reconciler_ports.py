"""Which port a launch gets, with strangers about, after a release, and when there is none."""

from collections.abc import AsyncIterator

import pytest

from model_deployment.control.places import BLOCKED_FOR
from model_deployment.core.domain import State
from model_deployment.core.names import ModelKey
from tests.support.simulation import FIRST, QUARANTINE, Simulation, simulation

A, B, C = (ModelKey(name, 1) for name in "abc")


@pytest.fixture
async def sim() -> AsyncIterator[Simulation]:
    with simulation(ports=2) as made:
        await made.start()
        yield made
        await made.gone()


async def test_a_strangers_port_is_skipped_and_used_once_it_is_free(sim: Simulation) -> None:
    sim.machine.squat(FIRST)
    await sim.ready(A)
    assert (await sim.row(A)).port == FIRST + 1
    usage = await sim.ports.usage(sim.machine.now)
    assert [(blocked.port, blocked.holder) for blocked in usage.blocked] == [
        (FIRST, f"squatter on {FIRST}")
    ]
    assert not await sim.deploy(B)  # refused at once: nothing is left for it
    sim.machine.strangers.clear()
    await sim.tick(BLOCKED_FOR)
    await sim.ready(B)
    assert (await sim.row(B)).port == FIRST


async def test_a_launch_that_lost_its_port_to_a_stranger_goes_elsewhere(sim: Simulation) -> None:
    await sim.deploy(A)
    await sim.tick()
    await sim.tick()
    sim.machine.squat(FIRST)
    sim.machine.load(await sim.process(A))
    await sim.tick()
    row = await sim.row(A)
    assert (row.state, row.reason) == (State.PENDING, "the process exited with status 1")
    usage = await sim.ports.usage(sim.machine.now)
    assert [blocked.port for blocked in usage.blocked] == [FIRST]  # known at once
    sim.machine.advance(1)
    await sim.ready(A)
    assert (await sim.row(A)).port == FIRST + 1


async def test_a_released_port_rests(sim: Simulation) -> None:
    await sim.ready(A)
    await sim.undeploy(A)
    await sim.tick()
    await sim.tick()
    await sim.tick()
    assert (await sim.row(A)).state is State.STOPPED
    await sim.ready(B)
    assert (await sim.row(B)).port == FIRST + 1
    await sim.tick(QUARANTINE)
    await sim.ready(A)
    assert (await sim.row(A)).port == FIRST


async def test_without_a_free_port_a_launch_waits(sim: Simulation) -> None:
    await sim.deploy(A)
    await sim.deploy(B)
    await sim.tick()
    for port in (FIRST, FIRST + 1):
        sim.machine.squat(port)
    await sim.tick()
    await sim.tick()
    for key in (A, B):
        row = await sim.row(key)
        assert (row.state, row.tries) == (State.PENDING, 0)
        assert row.reason == f"waiting for a free port in {FIRST}-{FIRST + 1}"
    sim.machine.strangers.clear()
    await sim.tick(BLOCKED_FOR)
    await sim.tick()
    assert {process.key for process in sim.machine.live} == {A, B}


async def test_the_more_wishes_than_ports_are_refused(sim: Simulation) -> None:
    await sim.ready(A, B)
    assert not await sim.deploy(C)
    assert await sim.deploy(A)
