"""Whether requests are merged after a trial: where nobody asked for it, and with the next controller."""

import asyncio

import pytest

from model_deployment.core.domain import State
from model_deployment.core.options import AUTO_MAX_ROWS, Options
from tests.support.merging_trials import BY_ITSELF, MERGED, WHY, A, healthy, judged
from tests.support.simulation import Simulation


@pytest.mark.parametrize("difference", [WHY, ConnectionError("the server broke off")])
async def test_merging_that_nobody_asked_for_stops_no_launch(
    sim: Simulation, difference: str | Exception
) -> None:
    sim.machine.difference = difference
    await healthy(sim, BY_ITSELF)
    row = await judged(sim)
    assert (row.state, row.tries) == (State.READY, 0)
    assert row.merging is not None
    assert (row.merging.max_rows, str(difference) in row.merging.reason) == (0, True)
    said = f"requests are not merged: {row.merging.reason}"
    assert [one.reason for one in await sim.deployments.events(A)].count(said) == 1
    await sim.tick()
    [route] = sim.routes
    assert route.max_batch_rows == 0


async def test_what_keeps_requests_apart_is_said_once(sim: Simulation) -> None:
    sim.machine.difference, sim.machine.prompt = WHY, True
    await healthy(sim, BY_ITSELF)
    await judged(sim)
    sim.machine.end(await sim.process(A), 1)
    for _ in range(8):
        await sim.tick(1)
        await asyncio.sleep(0)
    row = await sim.row(A)
    assert (row.state, row.starts) == (State.READY, 2)
    assert len(sim.machine.compared) == 2
    events = [one.reason for one in await sim.deployments.events(A)]
    assert events.count(f"requests are not merged: {WHY}") == 1


@pytest.mark.parametrize(("options", "rows"), [(BY_ITSELF, AUTO_MAX_ROWS), (MERGED, 64)])
async def test_a_new_controller_goes_on_merging(
    sim: Simulation, options: Options, rows: int
) -> None:
    await healthy(sim, options)
    before = await judged(sim)
    await sim.gone()
    await sim.start()
    await sim.tick(1)
    [route] = sim.routes
    assert route.max_batch_rows == rows
    assert (await sim.row(A)).merging == before.merging
    assert len(sim.machine.compared) == 1


async def test_an_undeploy_that_is_revoked_in_time_keeps_merging(sim: Simulation) -> None:
    await healthy(sim, BY_ITSELF)
    await judged(sim)
    await sim.undeploy(A)
    assert await sim.deploy(A, BY_ITSELF)
    await sim.tick()
    [route] = sim.routes
    assert (route.state, route.max_batch_rows) == (State.READY, AUTO_MAX_ROWS)
