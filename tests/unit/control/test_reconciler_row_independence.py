"""Deployments whose requests are to be merged: tried before they serve."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from model_deployment.core.domain import Deployment, State, Step
from model_deployment.core.names import ModelKey
from model_deployment.core.options import AUTO, AUTO_MAX_ROWS, Options
from model_deployment.state.database import DatabaseError
from tests.support.fakes import SIGTERM
from tests.support.simulation import FIRST, Simulation, addresses, leader, simulation

A, B = (ModelKey(name, 1) for name in "ab")
MERGED = Options(batch_max_rows=64)
OFF = Options(batch_max_rows=0)
BY_ITSELF = Options(batch_max_rows=AUTO)
WHY = "its requests must not be merged (batch_max_rows): it ranks them"


@pytest.fixture
async def sim() -> AsyncIterator[Simulation]:
    with simulation() as made:
        await made.start()
        yield made
        await made.gone()


async def healthy(sim: Simulation, options: Options = MERGED, key: ModelKey = A) -> Deployment:
    """Deploy, and tick until the first good health check is there to be seen."""
    assert await sim.deploy(key, options)
    await sim.tick()
    await sim.tick()
    sim.machine.load(await sim.process(key))
    sim.machine.advance(0.1)
    return await sim.row(key)


async def trying(sim: Simulation) -> Deployment:
    """The same, and the trial goes on until the gate is opened."""
    sim.machine.compare_gate = asyncio.Event()
    await healthy(sim)
    await sim.tick()
    await sim.tick()
    row = await sim.row(A)
    assert row.state is State.STARTING
    assert sim.machine.compared == [row.launch_id]
    return row


async def judged(sim: Simulation) -> Deployment:
    """Tick until the trial was made and its outcome seen.

    Without the check of the simulation, for which a launch has used up its tries one by one.
    """
    for _ in range(3):
        await sim.reconciler.tick()
        await asyncio.sleep(0)
        if (await sim.row(A)).state is not State.STARTING:
            break
    return await sim.row(A)


def serves(sim: Simulation) -> bool:
    return any(one.port == FIRST for route in sim.routes for one in addresses(route))


async def test_a_model_that_keeps_the_promise_becomes_ready(sim: Simulation) -> None:
    await trying(sim)
    await sim.tick(5)
    assert not serves(sim)
    assert sim.machine.compare_gate is not None
    sim.machine.compare_gate.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await sim.tick()
    row = await sim.row(A)
    assert (row.state, row.tries, row.reason) == (State.READY, 0, "healthy")
    assert serves(sim)
    await sim.tick(5)
    assert len(sim.machine.compared) == 1


async def test_the_end_of_a_trial_is_looked_at_without_delay(sim: Simulation) -> None:
    await trying(sim)
    sim.reconciler._wake.clear()
    assert sim.machine.compare_gate is not None
    sim.machine.compare_gate.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sim.reconciler._wake.is_set()


async def test_without_merging_nothing_is_tried(sim: Simulation) -> None:
    sim.machine.difference = WHY
    await healthy(sim, OFF)
    await sim.tick()
    assert (await sim.row(A)).state is State.READY
    assert sim.machine.compared == []


async def test_a_model_that_breaks_the_promise_fails_at_once_with_the_reason(
    sim: Simulation,
) -> None:
    sim.machine.difference = WHY
    await healthy(sim)
    row = await judged(sim)
    process = sim.machine.processes[row.launch_id or ""]
    assert (row.state, leader(row).step, row.reason) == (State.STOPPING, Step.TERMINATE, WHY)
    assert process.signals == [SIGTERM]
    await sim.tick()
    row = await sim.row(A)
    assert (row.state, row.reason, row.starts) == (State.FAILED, WHY, 1)
    await sim.tick(3600)
    assert (await sim.row(A)).state is State.FAILED
    assert len(sim.machine.compared) == 1


async def test_deployed_without_merging_it_serves(sim: Simulation) -> None:
    sim.machine.difference = WHY
    await healthy(sim)
    await judged(sim)
    await sim.tick()
    await healthy(sim, OFF)
    await sim.tick()
    row = await sim.row(A)
    assert (row.state, row.tries, row.options) == (State.READY, 0, OFF)


async def test_deployed_again_as_it_was_it_is_tried_again(sim: Simulation) -> None:
    sim.machine.difference = WHY
    await healthy(sim)
    await judged(sim)
    await sim.tick()
    sim.machine.difference = ""
    await healthy(sim)
    await sim.tick()
    await asyncio.sleep(0)
    await sim.tick()
    assert (await sim.row(A)).state is State.READY
    assert len(set(sim.machine.compared)) == 2


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ConnectionError("the server broke off"), "the server broke off"),
        (TimeoutError(), "TimeoutError"),
    ],
)
async def test_what_could_not_be_found_out_is_tried_five_times(
    sim: Simulation, error: Exception, why: str
) -> None:
    sim.machine.difference = error
    sim.machine.prompt = True
    await sim.deploy(A, MERGED)
    reason = f"cannot check whether requests may be merged: {why}"
    reasons = set()
    for _ in range(40):
        await sim.tick(10)
        await asyncio.sleep(0)
        reasons.add((await sim.row(A)).reason)
    row = await sim.row(A)
    assert reason in reasons
    assert (row.state, row.starts) == (State.FAILED, 5)
    assert row.reason == f"{reason} (gave up after 5 tries)"
    assert len(set(sim.machine.compared)) == len(sim.machine.compared) == 5


async def test_what_could_not_be_found_out_once_may_be_the_second_time(sim: Simulation) -> None:
    sim.machine.difference = ConnectionError("the server broke off")
    await healthy(sim)
    await sim.tick()
    await asyncio.sleep(0)
    await sim.tick()
    await sim.tick()
    row = await sim.row(A)
    assert (row.state, row.tries) == (State.PENDING, 1)
    sim.machine.difference = ""
    sim.machine.prompt = True
    for _ in range(6):
        await sim.tick(1)
        await asyncio.sleep(0)
    assert (await sim.row(A)).state is State.READY


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


@pytest.mark.parametrize(("difference", "state"), [("", State.READY), (WHY, State.STOPPING)])
async def test_a_judgement_that_cannot_be_written_is_written_later(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch, difference: str, state: State
) -> None:
    sim.machine.difference = difference
    await healthy(sim)

    async def full(*_: object, **__: object) -> None:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(sim.launches, "promote", full)
    monkeypatch.setattr(sim.launches, "stop", full)
    for _ in range(3):
        await sim.tick()
        await asyncio.sleep(0)
    assert (await sim.row(A)).state is State.STARTING
    monkeypatch.undo()
    assert (await judged(sim)).state is state
    assert len(sim.machine.compared) == 1


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


async def test_a_trial_holds_up_no_other_deployment(sim: Simulation) -> None:
    await trying(sim)
    await sim.ready(B)
    assert (await sim.row(A)).state is State.STARTING
