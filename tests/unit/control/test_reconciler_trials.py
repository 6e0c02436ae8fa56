"""Trials of row independence that are interrupted: by an undeploy, a death, or another controller."""

import asyncio

from model_deployment.core.domain import State
from tests.support.fake_machine import SIGTERM
from tests.support.merging_trials import WHY, A, healthy, judged, serves, trying
from tests.support.simulation import Simulation


async def test_undeploy_while_trying_ends_the_trial(sim: Simulation) -> None:
    row = await trying(sim)
    (task,) = sim.reconciler._background._checks.values()
    await sim.undeploy(A)
    await sim.tick()
    assert (await sim.process(A)).signals == [SIGTERM]
    assert sim.reconciler._background._checks == {}
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert task.cancelled()
    await sim.tick()
    after = await sim.row(A)
    assert (after.state, after.launch_id) == (State.STOPPED, None)
    assert sim.machine.compared == [row.launch_id]


async def test_a_launch_that_dies_while_trying_is_tried_again(sim: Simulation) -> None:
    first = await trying(sim)
    sim.machine.end(await sim.process(A), 1)
    await sim.tick()
    row = await sim.row(A)
    assert (row.state, row.tries, row.reason) == (
        State.PENDING, 1, "the process exited with status 1",
    )  # fmt: skip
    assert sim.reconciler._background._checks == {}
    sim.machine.compare_gate, sim.machine.prompt = None, True
    for _ in range(6):
        await sim.tick(1)
        await asyncio.sleep(0)
    row = await sim.row(A)
    assert row.state is State.READY
    assert sim.machine.compared == [first.launch_id, row.launch_id]


async def test_a_new_controller_tries_again(sim: Simulation) -> None:
    row = await trying(sim)
    await sim.gone()
    sim.machine.compare_gate = None
    await sim.start()
    assert not serves(sim)
    await sim.tick(0.1)
    await asyncio.sleep(0)
    await sim.tick()
    after = await sim.row(A)
    assert (after.state, after.launch_id, after.tries) == (State.READY, row.launch_id, 0)
    assert sim.machine.compared == [row.launch_id] * 2


async def test_one_that_serves_is_not_tried_by_a_new_controller(sim: Simulation) -> None:
    await healthy(sim)
    await sim.tick()
    await asyncio.sleep(0)
    await sim.tick()
    assert serves(sim)
    await sim.gone()
    sim.machine.difference = WHY
    await sim.start()
    await sim.tick(1)
    await sim.tick(1)
    assert serves(sim)
    assert len(sim.machine.compared) == 1


async def test_a_controller_that_stops_does_not_wait_for_a_trial(sim: Simulation) -> None:
    await trying(sim)
    await sim.shut_down()
    await sim.start()
    assert (await sim.row(A)).state is State.PENDING


async def test_one_that_is_being_stopped_as_broken_may_start_again_with_the_next_controller(
    sim: Simulation,
) -> None:
    sim.machine.difference = WHY
    await healthy(sim)
    (await sim.process(A)).stubborn = True
    assert (await judged(sim)).state is State.STOPPING
    await sim.reconciler.close(keep=False, limit=10)
    await sim.gone()
    await sim.start()
    row = await sim.row(A)
    assert (row.state, row.reason) == (State.PENDING, "stopped by the controller")
    sim.machine.prompt = True
    for _ in range(6):  # and is judged again
        await sim.reconciler.tick()
        await asyncio.sleep(0)
        sim.machine.advance(1)
    row = await sim.row(A)
    assert (row.state, row.reason, row.starts) == (State.FAILED, WHY, 2)
