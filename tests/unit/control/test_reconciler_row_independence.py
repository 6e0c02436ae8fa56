"""Deployments whose requests are to be merged: tried before they serve."""

import asyncio

import pytest

from model_deployment.core.domain import State, Step
from model_deployment.state.database import DatabaseError
from tests.support.fake_machine import SIGTERM
from tests.support.merging_trials import MERGED, OFF, WHY, A, B, healthy, judged, serves, trying
from tests.support.simulation import Simulation
from tests.support.stored import leader


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


async def test_a_trial_holds_up_no_other_deployment(sim: Simulation) -> None:
    await trying(sim)
    await sim.ready(B)
    assert (await sim.row(A)).state is State.STARTING
