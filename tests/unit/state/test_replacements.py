"""Changes of options and restarts in the state: each step whole or not at all, and one change at a time."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

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
from model_deployment.core.errors import Conflict, IllegalTransition
from model_deployment.core.merging import Merging
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.core.replacement import ReplacementState, Strategy
from model_deployment.core.replicas import Replicas
from tests.support.stored import FIRST, NOW, Store, by_number, leader, opened

KEY = ModelKey("m", 1)
WORKERS = Options(workers=4)
PURPOSE = "change by ann"
MERGING = Merging(64, "rows are independent")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(tmp_path) as store:
        yield store


async def moves(store: Store) -> list[tuple[object, ...]]:
    """The events, oldest first."""
    events = reversed(await store.deployments.events(KEY))
    return [(event.previous, event.state, event.reason, event.launch_id) for event in events]


async def ask(
    store: Store,
    row: Deployment,
    options: Options = WORKERS,
    strategy: Strategy = Strategy.BESIDE,
) -> Deployment:
    return await store.replacements.ask(row, options, strategy, PURPOSE, NOW + 120)


def coming(row: Deployment) -> Launch:
    assert row.coming is not None
    return row.coming


async def begun(store: Store, row: Deployment | None = None) -> Deployment:
    """With a launch that has processes, beside those that serve."""
    row = await ask(store, row or await store.bring(State.READY))
    return await store.launch(row, launch=coming(row))


async def switch(store: Store, row: Deployment) -> Deployment:
    return await store.replacements.switch(row, MERGING, 7, NOW + 1, NOW + 30)


async def failed(store: Store, launch: bool) -> Deployment:
    row = await (begun(store) if launch else ask(store, await store.bring(State.READY)))
    return await store.replacements.give_up(row, "it broke", NOW)


async def test_a_change_brings_a_launch_of_its_own(store: Store) -> None:
    before = await store.bring(State.READY)
    row = await ask(store, before)
    it, launch = row.replacement, coming(row)
    assert it is not None
    assert (it.state, it.strategy, it.options) == (
        ReplacementState.COMING, Strategy.BESIDE, WORKERS,
    )  # fmt: skip
    assert (it.purpose, it.reason, it.deadline) == (PURPOSE, "asked for", NOW + 120)
    assert (launch.state, launch.options, launch.generation, launch.replica) == (
        LaunchState.PENDING, WORKERS, 2, 0,
    )  # fmt: skip
    assert replace(row, replacement=None, launches=row.serving) == before
    text = f"{PURPOSE} asked for"
    assert (await moves(store))[-1] == (State.READY, State.READY, text, "launch1")
    row = await store.launch(row, launch=launch)
    assert (coming(row).launch_id, coming(row).port, row.launch_id) == (
        "launch2", FIRST + 1, "launch1",
    )  # fmt: skip
    assert row.replacement
    assert row.replacement.reason == "launch on port 8002"
    text = f"{PURPOSE}: launch on port 8002"
    assert (await moves(store))[-1] == (State.READY, State.READY, text, "launch2")
    assert row.starts == 1  # it is no restart


async def test_with_recreate_nothing_comes_beside(store: Store) -> None:
    row = await ask(store, await store.bring(State.READY), strategy=Strategy.RECREATE)
    assert row.coming is None
    assert row.replacement
    assert row.replacement.waits_for_stop


async def test_a_change_says_why_it_waits(store: Store) -> None:
    row = await ask(store, await store.bring(State.READY))
    events = await moves(store)
    row = await store.replacements.hold(row, "waiting for a free port", NOW + 60)
    assert row.replacement
    assert (row.replacement.reason, row.replacement.deadline) == (
        "waiting for a free port", NOW + 60,
    )  # fmt: skip
    assert coming(row).reason == "waiting for a free port"
    row = await store.launches.move(
        row, coming(row), LaunchState.PENDING, "no memory", deadline=NOW
    )
    assert row.replacement
    assert (row.replacement.reason, coming(row).deadline) == ("no memory", NOW)
    assert await moves(store) == events  # the deployment serves as it did


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
    assert (await moves(store))[-1] == (State.READY, State.READY, text, "launch2")
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


async def test_a_change_clamps_the_replicas(store: Store) -> None:
    options = Options(replicas=Replicas(1, 9))
    row, _ = await store.deployments.want_running(KEY, options, "m-1-0", 9)
    row = await store.deployments.scale(await store.serve(row), 5, "requests wait")
    for after, expected in ((Replicas(1, 3), 3), (Replicas(4, 6), 4), (Replicas(1, 9), 4)):
        row = await store.replacements.change_options(
            row, replace(row.options, replicas=after), None, "change"
        )
        assert (row.replicas, row.generation) == (expected, 1)
    row = await begun(store, row)  # to an option that says one
    row = await switch(store, row)
    assert row.replicas == 1


Act = Callable[[Store, Deployment], Awaitable[object]]
STALE: dict[str, Act] = {
    "undeployed": lambda s, r: s.deployments.want_stopped(r.key),
    "gone": lambda s, r: s.end(r, State.PENDING),
    "scaled": lambda s, r: s.launches.add(r, "2 are wanted"),
    "no row": lambda s, _: s.execute("DELETE FROM deployments"),
}
ACTS: dict[str, Act] = {
    "hold": lambda s, r: s.replacements.hold(r, "no port", NOW),
    "switch": switch,
    "give up": lambda s, r: s.replacements.give_up(r, "it broke", NOW),
    "fail": lambda s, r: s.replacements.fail(r, "late", NOW),
    "end": lambda s, r: s.replacements.end(r),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("meanwhile", STALE)
async def test_a_stale_row_changes_nothing(store: Store, act: str, meanwhile: str) -> None:
    row = await begun(store)
    await STALE[meanwhile](store, row)
    before = await store.dump()
    with pytest.raises(IllegalTransition, match="cannot change m-1"):
        await ACTS[act](store, row)
    assert await store.dump() == before


async def test_a_launch_that_has_not_started_does_not_serve(store: Store) -> None:
    row = await ask(store, await store.bring(State.READY))
    before = await store.dump()
    with pytest.raises(IllegalTransition, match="it has changed"):
        await switch(store, row)
    assert await store.dump() == before


async def test_options_do_not_change_under_a_change(store: Store) -> None:
    """The launch that comes would write the options that it was asked for with over them."""
    row = await ask(store, await store.bring(State.READY))
    with pytest.raises(Conflict, match=r"another change is under way \(change by ann\)"):
        await store.replacements.change_options(row, Options(capture_rate=0.0), None, "change")
    with pytest.raises(Conflict, match="another change is under way"):
        await ask(store, row)
    assert (await store.reread(row)).options == Options()


async def test_another_change_may_begin_while_one_rolls(store: Store) -> None:
    row = await switch(store, await begun(store))
    row = await ask(store, row, Options(workers=2))
    assert (coming(row).generation, len(row.retiring)) == (3, 1)
    assert row.replacement
    assert row.replacement.state is ReplacementState.COMING


async def test_what_applies_at_once_can_change_while_a_change_rolls(store: Store) -> None:
    row = await store.grow(await store.bring(State.READY), 2)
    row = await switch(store, await begun(store, row))
    options = replace(row.options, capture_rate=0.0)
    row = await store.replacements.change_options(row, options, MERGING, "change by bob")
    assert row.replacement
    assert row.replacement.state is ReplacementState.ROLLING
    assert (row.options, row.merging, row.generation) == (options, MERGING, 2)
    # The replica that is to be replaced keeps the processes that it has.
    assert [(one.generation, one.options) for one in row.serving] == [
        (2, options),
        (1, Options(capture_rate=0.0)),
    ]


@pytest.mark.parametrize("launch", [False, True])
async def test_a_failure_names_its_own_launch(store: Store, launch: bool) -> None:
    row = await failed(store, launch)
    assert (row.launch_id, row.coming) == ("launch1", None)
    assert row.replacement
    assert (row.replacement.state, row.replacement.reason) == (ReplacementState.FAILED, "it broke")
    assert await store.replacements.failed_launch(row) == ("launch2" if launch else None)
    text = f"{PURPOSE} failed: it broke"
    assert (await moves(store))[-1][:3] == (State.READY, State.READY, text)
    assert (await store.ports.usage(NOW)).leased == 1


@pytest.mark.parametrize("launch", [False, True])
async def test_a_change_that_cannot_begin_fails(store: Store, launch: bool) -> None:
    row = await (begun(store) if launch else ask(store, await store.bring(State.READY)))
    row = await store.replacements.fail(row, "it could not be started in time", NOW)
    assert row.replacement
    assert row.replacement.is_over
    assert (row.coming, row.options, row.launch_id) == (None, Options(), "launch1")
    ends = [(one.launch_id, one.step, one.deadline) for one in row.retiring]
    assert ends == ([("launch2", Step.TERMINATE, NOW)] if launch else [])
    if launch:
        events = await moves(store)
        row = await store.launches.forget(row, row.retiring[0], NOW)
        assert row.retiring == ()
        assert await moves(store) == events


@pytest.mark.parametrize("how", ["deploy", "wake", "request", "change", "undeploy", "another"])
async def test_a_failure_is_forgotten_when_it_goes_on(store: Store, how: str) -> None:
    row = await failed(store, launch=True)
    if how == "deploy":
        await store.deployments.forget_failure(KEY)
    elif how == "change":
        await store.replacements.change_options(row, Options(capture_rate=0.0), None, "change")
    elif how == "undeploy":
        await store.deployments.want_stopped(KEY)
    elif how == "another":
        row = await ask(store, row)
        assert row.replacement
        assert row.replacement.under_way
        return
    else:
        row = await store.deployments.park(row, "idle")
        row = await store.launches.stop(row, leader(row), Stop("idle", Step.DRAIN, NOW))
        row = await store.end(row, State.PARKED)
        assert row.replacement is not None
        if how == "request":
            await store.deployments.rouse(row, "started by a request")
        else:
            await store.deployments.wake(KEY)
    assert (await store.reread(row)).replacement is None


async def test_what_is_under_way_is_not_forgotten(store: Store) -> None:
    row = await ask(store, await store.bring(State.READY))
    await store.deployments.forget_failure(KEY)
    assert (await store.reread(row)).replacement is not None


@pytest.mark.parametrize("launch", [False, True])
async def test_nothing_is_left_of_a_change_of_what_is_undeployed(
    store: Store, launch: bool
) -> None:
    row = await (begun(store) if launch else ask(store, await store.bring(State.READY)))
    await store.deployments.want_stopped(KEY)
    row = await store.reread(row)
    assert (row.replacement, row.coming, row.desired) == (None, None, Desired.STOPPED)
    ends = [(one.launch_id, one.step, one.deadline, one.reason) for one in row.retiring]
    expected = [("launch2", Step.TERMINATE, 0.0, "not wanted any more")]
    assert ends == (expected if launch else [])
    # It was to serve, and does not become what serves.
    row, _ = await store.deployments.want_running(KEY, Options(), row.artifact, 9)
    assert (row.replacement, row.coming) == (None, None)


@pytest.mark.parametrize("state", [State.PENDING, State.FAILED])
async def test_without_launches_the_next_ones_have_the_change(store: Store, state: State) -> None:
    row = await store.bring(State.STARTING)
    row = await ask(store, row, strategy=Strategy.RECREATE)
    with pytest.raises(IllegalTransition, match="cannot give m-1 the options"):
        await store.replacements.hand_over(row)
    row = await store.end(row, state, tries=3)
    row = await store.replacements.hand_over(row)
    (launch,) = row.launches
    assert (launch.state, launch.options, launch.generation) == (LaunchState.PENDING, WORKERS, 2)
    assert (launch.tries, launch.reason, row.rest) == (0, PURPOSE, None)
    assert (row.options, row.generation, row.merging) == (WORKERS, 2, None)
    assert row.replacement
    assert row.replacement.state is ReplacementState.ROLLING
    assert (await moves(store))[-1] == (state, State.PENDING, PURPOSE, None)
    assert (await store.replacements.end(row)).replacement is None


async def test_a_change_beside_is_not_handed_over(store: Store) -> None:
    row = await ask(store, await store.bring(State.PENDING))
    with pytest.raises(IllegalTransition, match="cannot give m-1 the options"):
        await store.replacements.hand_over(row)


@pytest.mark.parametrize("state", [State.PENDING, State.FAILED])
async def test_a_change_starts_at_once_what_waits_or_failed(store: Store, state: State) -> None:
    row = await store.bring(State.STARTING)
    row = await store.launches.release(
        row, leader(row), Vacate(state, "it broke", 3, NOW + 60, kills=2),
        keeps_port=False, quarantined_until=0,
    )  # fmt: skip
    row = await store.replacements.change_options(row, WORKERS, None, PURPOSE)
    (launch,) = row.launches
    assert (launch.state, launch.options, launch.generation) == (LaunchState.PENDING, WORKERS, 2)
    assert (launch.tries, launch.kills, launch.not_before, row.rest) == (0, 0, 0, None)
    assert (await moves(store))[-1] == (state, State.PENDING, PURPOSE, None)


async def test_what_is_parked_gets_its_options_and_sleeps_on(store: Store) -> None:
    row = await store.bring(State.PARKED)
    row = await store.replacements.change_options(row, WORKERS, None, PURPOSE)
    assert (row.rest, row.options, row.generation) == (Rest(State.PARKED, "gone"), WORKERS, 2)
    awake = await store.deployments.rouse(row, "started by a request")
    assert (leader(awake).options, leader(awake).generation) == (WORKERS, 2)


async def test_a_launch_that_stops_keeps_the_options_of_its_processes(store: Store) -> None:
    row = await store.bring(State.STOPPING)
    options = replace(WORKERS, capture_rate=0.0)
    row = await store.replacements.change_options(row, options, None, PURPOSE)
    assert leader(row).options == Options(capture_rate=0.0)
    row = await store.end(row, State.PENDING)
    assert (leader(row).options, leader(row).generation) == (options, 2)
