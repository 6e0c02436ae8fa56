"""Launches change by compare-and-set, with one event each, or not at all."""

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from model_deployment.core.actions import Stop, Vacate
from model_deployment.core.domain import Deployment, Desired, LaunchState, State, Step
from model_deployment.core.errors import IllegalTransition
from model_deployment.core.launch_lifecycle import check
from model_deployment.core.merging import Merging
from model_deployment.core.options import Options
from model_deployment.core.replacement import Strategy
from tests.support.stored import FIRST, KEY, NOW, Store, leader

GONE: dict[str, Any] = {"keeps_port": False, "quarantined_until": 0.0}
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


async def test_the_next_launch_has_what_the_deployment_has_by_then(store: Store) -> None:
    row = await store.bring(State.STOPPING, Desired.STOPPED)
    await store.deployments.want_running(KEY, Options(workers=2), "m-1-9", 9)
    row = await store.end(await store.reread(row), State.PENDING)
    launch = leader(row)
    assert (launch.options, launch.artifact, launch.generation) == (Options(workers=2), "m-1-9", 2)


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
