"""Launches change by compare-and-set, with one event each, or not at all."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from model_deployment.core.actions import Stop, Vacate
from model_deployment.core.domain import (
    Deployment,
    Desired,
    Launch,
    LaunchRole,
    LaunchState,
    Rest,
    State,
    Step,
)
from model_deployment.core.errors import IllegalTransition
from model_deployment.core.launch_lifecycle import check
from model_deployment.core.merging import Merging
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.core.replacement import Strategy
from model_deployment.core.replicas import Replicas
from tests.support.stored import FIRST, NOW, Store, by_number, leader, opened

KEY = ModelKey("m", 1)
GONE: dict[str, Any] = {"keeps_port": False, "quarantined_until": 0.0}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(tmp_path) as store:
        yield store


async def moves(store: Store) -> list[tuple[object, ...]]:
    """The events, oldest first, with the replica that they are of."""
    events = reversed(await store.deployments.events(KEY))
    return [(event.replica, event.previous, event.state, event.reason) for event in events]


Change = Callable[[Store, Deployment], Awaitable[object]]
#: Every way the reconciler changes a replica.
CHANGES: dict[str, tuple[State, Change]] = {
    "start": (
        State.PENDING,
        lambda s, r: s.launches.start(r, leader(r), "x", FIRST + 3, NOW, NOW),
    ),
    "hold up": (
        State.PENDING,
        lambda s, r: s.launches.move(r, leader(r), LaunchState.PENDING, "no port"),
    ),
    "promote": (State.STARTING, lambda s, r: s.launches.promote(r, leader(r), Merging(), NOW)),
    "stop": (
        State.READY,
        lambda s, r: s.launches.stop(r, leader(r), Stop("sick", Step.KILL, NOW)),
    ),
    "rest": (
        State.STOPPING,
        lambda s, r: s.launches.release(r, leader(r), Vacate(State.PENDING, "gone"), **GONE),
    ),
    "give up": (
        State.STARTING,
        lambda s, r: s.launches.release(r, leader(r), Vacate(State.FAILED, "gone"), **GONE),
    ),
}


async def start_again(store: Store, row: Deployment) -> None:
    """The same wish and the same state, of another launch."""
    alive = leader(row).is_live
    again = await store.launch(await store.end(row, State.PENDING) if alive else row)
    if row.state is State.READY:
        await store.launches.promote(again, leader(again), Merging(), NOW)
    if row.state is State.STOPPING:
        await store.launches.stop(again, leader(again), Stop("sick", Step.KILL, NOW))


async def change(store: Store, row: Deployment) -> None:
    options = Options(capture_rate=0.0)
    await store.replacements.change_options(row, options, None, "change by ann")


async def recreate(store: Store, row: Deployment) -> None:
    await store.replacements.ask(row, row.options, Strategy.RECREATE, "restart", NOW)


STALE: dict[str, Change] = {
    "another wish": lambda s, r: s.deployments.want_stopped(r.key),
    "another state": lambda s, r: s.end(r, State.FAILED),
    "another launch": start_again,
    "other options": change,
    "a change": recreate,
    "no row": lambda s, _: s.execute("DELETE FROM deployments"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("meanwhile", STALE)
async def test_a_stale_row_changes_nothing(store: Store, change: str, meanwhile: str) -> None:
    state, act = CHANGES[change]
    row = await store.bring(state)
    await STALE[meanwhile](store, row)
    before = await store.dump()
    with pytest.raises(IllegalTransition, match=r"cannot change .*m-1"):
        await act(store, row)
    assert await store.dump() == before


@pytest.mark.parametrize("change", CHANGES)
async def test_each_change_writes_one_event(store: Store, change: str) -> None:
    state, act = CHANGES[change]
    row = await store.bring(state)
    before = await store.deployments.events(KEY)
    await act(store, row)
    event, *older = await store.deployments.events(KEY)
    assert older == before
    after = await store.reread(row)
    # The event of a launch's end still names it.
    assert (event.previous, event.state, event.reason) == (state, after.state, after.reason)
    assert (event.launch_id, event.replica) == (after.launch_id or row.launch_id, 0)


async def moved(store: Store, row: Deployment, target: LaunchState) -> None:
    """Every method that brings a launch to a state."""
    launch = leader(row)
    await store.launches.move(row, launch, target, "odd")


@pytest.mark.parametrize(
    ("source", "target"),
    [
        pair
        for pair in itertools.product(LaunchState, LaunchState)
        if not check(*pair) and pair[0] is not pair[1]
    ],
)
async def test_an_illegal_move_is_refused(
    store: Store, source: LaunchState, target: LaunchState
) -> None:
    row = await store.bring(State(source))
    before = await store.dump()
    with pytest.raises(IllegalTransition, match=f"from {source} to {target}"):
        await moved(store, row, target)
    assert await store.dump() == before


@pytest.mark.parametrize("target", [State.STARTING, State.READY, State.STOPPING])
async def test_a_place_is_not_given_up_for_a_state_with_processes(
    store: Store, target: State
) -> None:
    row = await store.bring(State.STOPPING)
    before = await store.dump()
    with pytest.raises(IllegalTransition, match=f"from stopping to {target}"):
        await store.launches.release(row, leader(row), Vacate(target, "odd"), **GONE)
    assert await store.dump() == before


async def test_a_stop_counts_the_failure_it_is_for(store: Store) -> None:
    row = await store.bring(State.READY)
    stop = Stop("sick", Step.TERMINATE, NOW, tries=3, kills=2)
    sick = leader(await store.launches.stop(row, leader(row), stop))
    assert (sick.tries, sick.kills, sick.step) == (3, 2, Step.TERMINATE)
    assert (sick.reason, sick.deadline) == ("sick", NOW)


async def test_a_move_cannot_take_processes_away(store: Store) -> None:
    row = await store.bring(State.READY)
    before = await store.dump()
    for column in ("launch_id", "port", "handle", "role", "replica = 7 --"):
        with pytest.raises(IllegalTransition, match="cannot set"):
            await store.launches.move(row, leader(row), LaunchState.STOPPING, "", **{column: None})
    with pytest.raises(IllegalTransition, match="neither begin nor end with a move"):
        await store.launches.move(row, leader(row), LaunchState.PENDING, "odd")
    assert await store.dump() == before


async def test_a_launch_without_a_port_leases_none(store: Store) -> None:
    row = await store.deploy()
    row = await store.launches.start(row, leader(row), "x", None, NOW, NOW)
    assert (row.port, row.state, row.reason) == (None, State.STARTING, "launch")
    assert (await store.ports.usage(NOW)).leased == 0
    row = await store.end(row, State.PENDING)
    assert row.state is State.PENDING


async def held(store: Store) -> Deployment:
    """A replica that waits for its next launch at the port of the one before."""
    row = await store.bring(State.READY)
    return await store.launches.release(
        row, leader(row), Vacate(State.PENDING, "gone"), keeps_port=True, quarantined_until=NOW + 5
    )


async def test_a_place_keeps_its_port_and_session_from_launch_to_launch(store: Store) -> None:
    row = await held(store)
    assert (row.port, leader(row).session) == (FIRST, "launch1")
    row = await store.launch(row, FIRST)
    assert (row.launch_id, row.port, leader(row).session) == ("launch2", FIRST, "launch1")
    assert (await store.ports.usage(NOW)).leased == 1
    row = await store.launches.promote(row, leader(row), Merging(), NOW)
    assert leader(row).session == "launch1"


@pytest.mark.parametrize("port", [FIRST + 1, None])
async def test_another_port_begins_another_session(store: Store, port: int | None) -> None:
    row = await held(store)
    row = await store.launches.start(row, leader(row), "next", port, NOW, NOW)
    assert (row.port, leader(row).session) == (port, None)
    leases = await store.execute("SELECT port FROM ports WHERE launch_id NOT NULL")
    assert [each["port"] for each in leases] == ([port] if port else [])
    assert leader(await store.launches.promote(row, leader(row), Merging(), NOW)).session == "next"


async def test_a_replica_takes_the_lowest_free_number(store: Store) -> None:
    row = await store.grow(await store.bring(State.READY), 3)
    assert [one.replica for one in row.launches] == [0, 1, 2]
    row = await store.launches.retire(row, by_number(row, 1), "2 are enough", NOW)
    row = await store.launches.add(row, "3 are wanted")
    assert [(one.role, one.replica) for one in row.launches] == [
        (LaunchRole.SERVING, 0),
        (LaunchRole.SERVING, 1),
        (LaunchRole.SERVING, 2),
        (LaunchRole.RETIRING, 1),
    ]
    assert (await moves(store))[-1] == (1, None, State.PENDING, "3 are wanted")


async def test_a_replica_has_what_the_deployment_has(store: Store) -> None:
    row, _ = await store.deployments.want_running(KEY, Options(workers=3), "m-1-5", 9)
    row = await store.launches.add(await store.serve(row), "2 are wanted")
    new = by_number(row, 1)
    assert (new.options, new.artifact, new.generation) == (Options(workers=3), "m-1-5", 1)
    assert (new.state, new.is_live, new.port) == (LaunchState.PENDING, False, None)


async def test_what_rests_gets_no_replica(store: Store) -> None:
    row = await store.bring(State.PARKED)
    with pytest.raises(IllegalTransition, match="cannot add a replica to m-1: it is parked"):
        await store.launches.add(row, "2 are wanted")


async def test_replicas_are_added_once(store: Store) -> None:
    row = await store.bring(State.READY)
    await store.launches.add(row, "2 are wanted")
    with pytest.raises(IllegalTransition, match="it has just changed"):
        await store.launches.add(row, "2 are wanted")


@pytest.mark.parametrize(
    ("state", "step", "deadline"),
    [
        (LaunchState.STARTING, Step.TERMINATE, NOW + 30),
        (LaunchState.READY, Step.DRAIN, NOW + 30),
        (LaunchState.STOPPING, Step.KILL, NOW + 1),
    ],
)
async def test_a_live_replica_that_retires_has_its_step(
    store: Store, state: LaunchState, step: Step, deadline: float
) -> None:
    row = await store.launches.add(await store.bring(State.READY), "2 are wanted")
    row = await store.launch(row, launch=by_number(row, 1))
    if state is LaunchState.READY:
        row = await store.launches.promote(row, by_number(row, 1), Merging(), NOW)
    if state is LaunchState.STOPPING:
        row = await store.launches.stop(row, by_number(row, 1), Stop("sick", Step.KILL, NOW + 1))
    before = by_number(row, 1)
    row = await store.launches.retire(row, before, "1 is enough", NOW + 30)
    (retiring,) = row.retiring
    assert (retiring.id, retiring.launch_id, retiring.port, retiring.handle) == (
        before.id, before.launch_id, before.port, before.handle,
    )  # fmt: skip
    assert (retiring.step, retiring.deadline, retiring.reason) == (step, deadline, "1 is enough")
    assert (await moves(store))[-1] == (1, State(state), State.STOPPING, "1 is enough")
    assert (await store.ports.usage(NOW)).leased == 2
    row = await store.launches.forget(row, retiring, NOW + 5)
    assert (row.retiring, len(row.serving), row.rest) == ((), 1, None)
    usage = await store.ports.usage(NOW)
    assert (usage.leased, usage.quarantined) == (1, 1)
    assert (await moves(store))[-1] == (1, State.STOPPING, State.STOPPED, "1 is enough")


async def test_a_pending_replica_that_retires_is_gone_with_its_port(store: Store) -> None:
    row = await store.grow(await store.bring(State.READY), 2)
    row = await store.launches.release(
        row, by_number(row, 1), Vacate(State.PENDING, "gone"), keeps_port=True, quarantined_until=0
    )
    assert by_number(row, 1).port == FIRST + 1
    row = await store.launches.retire(row, by_number(row, 1), "1 is enough", NOW)
    assert [one.replica for one in row.launches] == [0]
    assert (await store.ports.usage(NOW)).leased == 1
    assert (await moves(store))[-1] == (1, State.PENDING, State.STOPPED, "1 is enough")


async def test_the_last_replica_does_not_retire(store: Store) -> None:
    row = await store.bring(State.READY)
    before = await store.dump()
    with pytest.raises(IllegalTransition, match="cannot retire the last replica of m-1"):
        await store.launches.retire(row, leader(row), "too many", NOW)
    assert await store.dump() == before


async def test_only_what_does_not_serve_is_forgotten(store: Store) -> None:
    row = await store.grow(await store.bring(State.READY), 2)
    with pytest.raises(IllegalTransition, match="cannot forget replica 1 of m-1: it serves"):
        await store.launches.forget(row, by_number(row, 1), NOW)


async def test_the_deployment_rests_with_its_last_place(store: Store) -> None:
    row = await store.grow(await store.bring(State.READY), 3)
    await store.deployments.want_stopped(KEY)
    row = await store.reread(row)
    for number, left in ((1, 2), (0, 1), (2, 0)):
        assert row.rest is None
        row = await store.end(row, State.STOPPED, launch=by_number(row, number))
        assert len(row.launches) == left
    assert (row.rest, row.state) == (Rest(State.STOPPED, "gone"), State.STOPPED)
    assert [event[0] for event in (await moves(store))[-3:]] == [1, 0, 2]


async def test_a_place_that_is_given_up_leaves_the_others(store: Store) -> None:
    row = await store.grow(await store.bring(State.READY), 2)
    row = await store.end(row, State.FAILED, tries=5, launch=by_number(row, 0))
    assert (row.rest, row.state, [one.replica for one in row.launches]) == (None, State.READY, [1])
    row = await store.end(row, State.FAILED, tries=5)
    assert row.rest == Rest(State.FAILED, "gone", 5)
    assert row.tries == 5


async def test_the_next_launch_has_what_the_deployment_has_by_then(store: Store) -> None:
    row = await store.bring(State.STOPPING, Desired.STOPPED)
    await store.deployments.want_running(KEY, Options(workers=2), "m-1-9", 9)
    row = await store.end(await store.reread(row), State.PENDING)
    launch = leader(row)
    assert (launch.options, launch.artifact, launch.generation) == (Options(workers=2), "m-1-9", 2)


async def test_starts_of_further_replicas_are_no_restarts(store: Store) -> None:
    options = Options(replicas=Replicas(2, 3))
    row, _ = await store.deployments.want_running(KEY, options, "x", 9)
    row = await store.grow(await store.serve(row), 3)
    assert (row.starts, row.restarts) == (1, 0)
    row = await store.end(row, State.PENDING, launch=by_number(row, 1))
    row = await store.launch(row, launch=by_number(row, 1))
    assert row.restarts == 1
    row = await store.end(row, State.PENDING, launch=by_number(row, 0))
    row = await store.launch(row, launch=by_number(row, 0))
    assert row.restarts == 2


async def test_memory_is_that_of_what_the_next_launches_will_have(store: Store) -> None:
    row = await store.bring(State.READY)
    await store.launches.record_memory("unknown", 5)
    assert (await store.reread(row)).memory is None
    await store.launches.record_memory(row.launch_id or "", 7)
    row = await store.reread(row)
    assert row.memory == 7
    row = await store.replacements.ask(row, Options(workers=2), Strategy.BESIDE, "change", NOW)
    assert row.coming is not None
    row = await store.launch(row, launch=row.coming)
    assert row.coming is not None
    await store.launches.record_memory(row.coming.launch_id or "", 99)
    assert (await store.reread(row)).memory == 7


async def test_a_note_can_be_of_a_replica(store: Store) -> None:
    row = await store.grow(await store.bring(State.READY), 2)
    await store.deployments.note(row, "one of two workers is gone", by_number(row, 1))
    await store.deployments.note(row, "adopted")
    first, second = (await store.deployments.events(KEY, 2))[::-1]
    assert (first.replica, first.launch_id) == (1, by_number(row, 1).launch_id)
    assert (second.replica, second.launch_id) == (0, by_number(row, 0).launch_id)


def test_every_role_has_a_place_in_the_order() -> None:
    assert [*LaunchRole] == [LaunchRole.SERVING, LaunchRole.COMING, LaunchRole.RETIRING]


async def test_launches_come_by_role_and_number(store: Store) -> None:
    row = await store.grow(await store.bring(State.READY), 3)
    row = await store.launches.retire(row, by_number(row, 0), "2 are enough", NOW)
    row = await store.replacements.ask(row, Options(workers=2), Strategy.BESIDE, "change", NOW)

    def shown(launch: Launch) -> tuple[str, int]:
        return launch.role, launch.replica

    assert [*map(shown, row.launches)] == [
        ("serving", 1), ("serving", 2), ("coming", 1), ("retiring", 0),
    ]  # fmt: skip
    assert [*map(shown, (await store.deployments.all())[0].launches)] == [*map(shown, row.launches)]
