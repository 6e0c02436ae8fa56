"""The switch of a replacement: the launch that proved a change serves, and the one before it retires."""

from dataclasses import replace

import pytest

from model_deployment.core.actions import Stop, Vacate
from model_deployment.core.domain import Deployment, LaunchRole, LaunchState, State, Step
from model_deployment.core.errors import IllegalTransition
from model_deployment.core.options import Options
from model_deployment.core.replacement import ReplacementState
from tests.support.stored import NOW, Store, by_number, leader, moves
from tests.support.stored_replacements import MERGING, PURPOSE, WORKERS, ask, begun, coming, switch


async def test_the_switch_is_one_transaction(store: Store) -> None:
    before = await begun(store)
    row = await switch(store, before)
    launch, (retiring,) = leader(row), row.retiring
    new = coming(before)
    assert launch == replace(
        new,
        role=LaunchRole.SERVING,
        state=LaunchState.READY,
        since=launch.since,
        reason=f"replaced: {PURPOSE}",
        session="launch2",
        deadline=None,
        ready_since=NOW + 1,
        ready_at=launch.ready_at,
    )
    assert launch.ready_at is not None
    assert retiring == replace(
        leader(before),
        role=LaunchRole.RETIRING,
        state=LaunchState.STOPPING,
        step=Step.DRAIN,
        deadline=NOW + 30,
        since=retiring.since,
        reason="it finishes its requests",
    )
    assert (row.options, row.generation, row.merging, row.memory, row.proven) == (
        WORKERS, 2, MERGING, 7, True,
    )  # fmt: skip
    assert row.replacement
    assert (row.replacement.state, row.replacement.purpose) == (ReplacementState.ROLLING, PURPOSE)
    text = f"replaced: {PURPOSE}"
    assert (await moves(store, "launch_id"))[-1] == (State.READY, State.READY, text, "launch2")
    assert (await store.ports.usage(NOW)).leased == 2
    events = await moves(store)
    row = await store.launches.stop(row, retiring, Stop(retiring.reason, Step.TERMINATE, NOW))
    row = await store.launches.forget(row, row.retiring[0], NOW + 5)
    row = await store.replacements.end(row)
    assert (row.launches, row.replacement) == ((launch,), None)
    assert await moves(store) == events  # what retires concerns nobody
    assert (await store.ports.usage(NOW)).leased == 1


async def by_state(store: Store, state: LaunchState) -> Deployment:
    """A replica in a state, and a launch that comes."""
    row = await begun(store)
    if state in (LaunchState.PENDING, LaunchState.STARTING):
        row = await store.launches.release(
            row, leader(row), Vacate(State.PENDING, "gone"), keeps_port=True, quarantined_until=0
        )
    if state is LaunchState.STARTING:
        row = await store.launch(row, leader(row).port)
    if state is LaunchState.STOPPING:
        row = await store.launches.stop(row, leader(row), Stop("sick", Step.KILL, NOW + 9, tries=2))
    return row


@pytest.mark.parametrize("state", LaunchState)
async def test_the_launch_before_retires_if_it_lives(store: Store, state: LaunchState) -> None:
    before = await by_state(store, state)
    row = await switch(store, before)
    (launch,) = row.serving
    assert (launch.launch_id, launch.state, launch.tries) == ("launch2", LaunchState.READY, 0)
    if state is LaunchState.PENDING:  # it gives its place at once, and the port that it has kept
        assert row.retiring == ()
        assert (await store.ports.usage(NOW)).leased == 1
        return
    (retiring,) = row.retiring
    assert retiring.launch_id == leader(before).launch_id
    # One that ends goes on to end as it did.
    expected = (Step.KILL, NOW + 9) if state is LaunchState.STOPPING else (Step.DRAIN, NOW + 30)
    assert (retiring.step, retiring.deadline) == expected
    assert (await store.ports.usage(NOW)).leased == 2


async def test_the_switch_ends_the_rest(store: Store) -> None:
    row = await begun(store)
    row = await store.end(row, State.FAILED, tries=5)
    assert row.rest is not None
    row = await switch(store, row)
    assert (row.rest, row.state, leader(row).replica) == (None, State.READY, 0)
    assert (row.retiring, row.options) == ((), WORKERS)
    assert (await moves(store))[-1][:2] == (State.FAILED, State.READY)


async def test_one_replica_is_replaced_and_the_one_that_serves_least(store: Store) -> None:
    row = await store.grow(await store.bring(State.READY), 3)
    row = await store.end(row, State.PENDING, launch=by_number(row, 2))
    row = await begun(store, row)
    assert coming(row).replica == 2
    row = await switch(store, row)
    assert [(one.replica, one.state, one.generation) for one in row.serving] == [
        (0, LaunchState.READY, 1),
        (1, LaunchState.READY, 1),
        (2, LaunchState.READY, 2),
    ]
    assert row.retiring == ()


async def test_replicas_without_processes_have_the_change_at_once(store: Store) -> None:
    row = await store.grow(await store.bring(State.READY), 3)
    row = await begun(store, row)
    for number in (1, 2):
        row = await store.end(row, State.PENDING, launch=by_number(row, number))
    row = await switch(store, row)
    assert [(one.replica, one.generation, one.options) for one in row.serving] == [
        (0, 1, Options()),
        (1, 2, WORKERS),
        (2, 2, WORKERS),
    ]


async def test_a_launch_that_has_not_started_does_not_serve(store: Store) -> None:
    row = await ask(store, await store.bring(State.READY))
    before = await store.dump()
    with pytest.raises(IllegalTransition, match="it has changed"):
        await switch(store, row)
    assert await store.dump() == before
