"""Deployments whose requests are to be merged: tried before they serve."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from model_deployment.core.domain import Deployment, State, Step
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.state.database import DatabaseError
from tests.support.fakes import SIGTERM
from tests.support.simulation import FIRST, Stage, stage

A, B = (ModelKey(name, 1) for name in "ab")
MERGED = Options(batch_max_rows=64)
WHY = "its requests must not be merged (batch_max_rows): it ranks them"


@pytest.fixture
async def on() -> AsyncIterator[Stage]:
    with stage() as made:
        await made.start()
        yield made
        await made.gone()


async def healthy(on: Stage, options: Options = MERGED, key: ModelKey = A) -> Deployment:
    """Deploy, and tick until the first good health check is there to be seen."""
    assert await on.deploy(key, options)
    await on.tick(), await on.tick()
    on.machine.load(await on.process(key))
    on.machine.advance(0.1)
    return await on.row(key)


async def trying(on: Stage) -> Deployment:
    """The same, and the trial goes on until the gate is opened."""
    on.machine.compare_gate = asyncio.Event()
    await healthy(on)
    await on.tick(), await on.tick()
    row = await on.row(A)
    assert row.state is State.STARTING
    assert on.machine.compared == [row.launch_id]
    return row


async def judged(on: Stage) -> Deployment:
    """Tick until the trial was made and its outcome seen.

    Without the check of the stage, for which a launch has used up its tries one by one.
    """
    for _ in range(3):
        await on.reconciler.tick()
        await asyncio.sleep(0)
        if (await on.row(A)).state is not State.STARTING:
            break
    return await on.row(A)


def serves(on: Stage) -> bool:
    return any(route.endpoint and route.endpoint.port == FIRST for route in on.routes)


async def test_a_model_that_keeps_the_promise_becomes_ready(on: Stage) -> None:
    await trying(on)
    await on.tick(5)
    assert not serves(on)
    assert on.machine.compare_gate is not None
    on.machine.compare_gate.set()
    await asyncio.sleep(0), await asyncio.sleep(0)
    await on.tick()
    row = await on.row(A)
    assert (row.state, row.tries, row.reason) == (State.READY, 0, "healthy")
    assert serves(on)
    await on.tick(5)
    assert len(on.machine.compared) == 1


async def test_the_end_of_a_trial_is_looked_at_without_delay(on: Stage) -> None:
    await trying(on)
    on.reconciler._wake.clear()
    assert on.machine.compare_gate is not None
    on.machine.compare_gate.set()
    await asyncio.sleep(0), await asyncio.sleep(0)
    assert on.reconciler._wake.is_set()


async def test_without_merging_nothing_is_tried(on: Stage) -> None:
    on.machine.difference = WHY
    await healthy(on, Options())
    await on.tick()
    assert (await on.row(A)).state is State.READY
    assert on.machine.compared == []


async def test_a_model_that_breaks_the_promise_fails_at_once_with_the_reason(on: Stage) -> None:
    on.machine.difference = WHY
    await healthy(on)
    row = await judged(on)
    process = on.machine.processes[row.launch_id or ""]
    assert (row.state, row.step, row.reason) == (State.STOPPING, Step.TERMINATE, WHY)
    assert process.signals == [SIGTERM]
    await on.tick()
    row = await on.row(A)
    assert (row.state, row.reason, row.launches) == (State.FAILED, WHY, 1)
    await on.tick(3600)
    assert (await on.row(A)).state is State.FAILED
    assert len(on.machine.compared) == 1


async def test_deployed_without_merging_it_serves(on: Stage) -> None:
    on.machine.difference = WHY
    await healthy(on)
    await judged(on)
    await on.tick()
    await healthy(on, Options())
    await on.tick()
    row = await on.row(A)
    assert (row.state, row.tries, row.options) == (State.READY, 0, Options())


async def test_deployed_again_as_it_was_it_is_tried_again(on: Stage) -> None:
    on.machine.difference = WHY
    await healthy(on)
    await judged(on)
    await on.tick()
    on.machine.difference = ""
    await healthy(on)
    await on.tick(), await asyncio.sleep(0), await on.tick()
    assert (await on.row(A)).state is State.READY
    assert len(set(on.machine.compared)) == 2


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ConnectionError("the server broke off"), "the server broke off"),
        (TimeoutError(), "TimeoutError"),
    ],
)
async def test_what_could_not_be_found_out_is_tried_five_times(
    on: Stage, error: Exception, why: str
) -> None:
    on.machine.difference = error
    on.machine.prompt = True
    await on.deploy(A, MERGED)
    reason = f"cannot find out whether requests may be merged: {why}"
    reasons = set()
    for _ in range(40):
        await on.tick(10)
        await asyncio.sleep(0)
        reasons.add((await on.row(A)).reason)
    row = await on.row(A)
    assert reason in reasons
    assert (row.state, row.launches) == (State.FAILED, 5)
    assert row.reason == f"{reason} (gave up after 5 tries)"
    assert len(set(on.machine.compared)) == len(on.machine.compared) == 5


async def test_what_could_not_be_found_out_once_may_be_the_second_time(on: Stage) -> None:
    on.machine.difference = ConnectionError("the server broke off")
    await healthy(on)
    await on.tick(), await asyncio.sleep(0), await on.tick(), await on.tick()
    row = await on.row(A)
    assert (row.state, row.tries) == (State.PENDING, 1)
    on.machine.difference = ""
    on.machine.prompt = True
    for _ in range(6):
        await on.tick(1), await asyncio.sleep(0)
    assert (await on.row(A)).state is State.READY


async def test_undeploy_while_trying_ends_the_trial(on: Stage) -> None:
    row = await trying(on)
    (task,) = on.reconciler._background._checks.values()
    await on.undeploy(A)
    await on.tick()
    assert (await on.process(A)).signals == [SIGTERM]
    assert on.reconciler._background._checks == {}
    await asyncio.sleep(0), await asyncio.sleep(0)
    assert task.cancelled()
    await on.tick()
    after = await on.row(A)
    assert (after.state, after.launch_id) == (State.STOPPED, None)
    assert on.machine.compared == [row.launch_id]


async def test_a_launch_that_dies_while_trying_is_tried_again(on: Stage) -> None:
    first = await trying(on)
    on.machine.end(await on.process(A), 1)
    await on.tick()
    row = await on.row(A)
    assert (row.state, row.tries, row.reason) == (
        State.PENDING, 1, "the process exited with status 1",
    )  # fmt: skip
    assert on.reconciler._background._checks == {}
    on.machine.compare_gate, on.machine.prompt = None, True
    for _ in range(6):
        await on.tick(1), await asyncio.sleep(0)
    row = await on.row(A)
    assert row.state is State.READY
    assert on.machine.compared == [first.launch_id, row.launch_id]


async def test_a_new_controller_tries_again(on: Stage) -> None:
    row = await trying(on)
    await on.gone()
    on.machine.compare_gate = None
    await on.start()
    assert not serves(on)
    await on.tick(0.1), await asyncio.sleep(0), await on.tick()
    after = await on.row(A)
    assert (after.state, after.launch_id, after.tries) == (State.READY, row.launch_id, 0)
    assert on.machine.compared == [row.launch_id] * 2


async def test_one_that_serves_is_not_tried_by_a_new_controller(on: Stage) -> None:
    await healthy(on)
    await on.tick(), await asyncio.sleep(0), await on.tick()
    assert serves(on)
    await on.gone()
    on.machine.difference = WHY
    await on.start()
    await on.tick(1), await on.tick(1)
    assert serves(on)
    assert len(on.machine.compared) == 1


async def test_a_controller_that_stops_does_not_wait_for_a_trial(on: Stage) -> None:
    await trying(on)
    await on.shut_down()
    await on.start()
    assert (await on.row(A)).state is State.PENDING


async def test_one_that_is_being_stopped_as_broken_may_start_again_with_the_next_controller(
    on: Stage,
) -> None:
    on.machine.difference = WHY
    await healthy(on)
    (await on.process(A)).stubborn = True
    assert (await judged(on)).state is State.STOPPING
    await on.reconciler.close(keep=False, limit=10)
    await on.gone()
    await on.start()
    row = await on.row(A)
    assert (row.state, row.reason) == (State.PENDING, "the controller stopped it")
    on.machine.prompt = True
    for _ in range(6):  # and is judged again
        await on.reconciler.tick(), await asyncio.sleep(0)
        on.machine.advance(1)
    row = await on.row(A)
    assert (row.state, row.reason, row.launches) == (State.FAILED, WHY, 2)


@pytest.mark.parametrize(("difference", "state"), [("", State.READY), (WHY, State.STOPPING)])
async def test_a_judgement_that_cannot_be_written_is_written_later(
    on: Stage, monkeypatch: pytest.MonkeyPatch, difference: str, state: State
) -> None:
    on.machine.difference = difference
    await healthy(on)
    move = on.deployments.move

    async def full(*_: object, **__: object) -> None:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(on.deployments, "move", full)
    for _ in range(3):
        await on.tick(), await asyncio.sleep(0)
    assert (await on.row(A)).state is State.STARTING
    monkeypatch.setattr(on.deployments, "move", move)
    assert (await judged(on)).state is state
    assert len(on.machine.compared) == 1


async def test_a_trial_holds_up_no_other_deployment(on: Stage) -> None:
    await trying(on)
    await on.ready(B)
    assert (await on.row(A)).state is State.STARTING
