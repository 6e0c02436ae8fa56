"""Deployments change by compare-and-set, with one event each, or not at all."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from model_deployment.core.actions import Vacate
from model_deployment.core.domain import (
    Address,
    Deployment,
    Desired,
    Handle,
    Launch,
    LaunchRole,
    LaunchState,
    State,
)
from model_deployment.core.errors import Conflict
from model_deployment.core.merging import Merging
from model_deployment.core.names import ModelKey
from model_deployment.core.options import EnvManager, Options
from tests.support.stored import FIRST, KEY, NOW, Store, leader, moves

DEPLOYED = datetime(2026, 1, 31, tzinfo=UTC)
OTHER = Options(EnvManager.UV, workers=4)


async def test_a_row_is_read_as_it_was_written(store: Store) -> None:
    before = datetime.now(UTC)
    row, changed = await store.deployments.want_running(KEY, OTHER, "m-1-77", 1, by="ann")
    assert changed
    assert (before - row.created_at).total_seconds() < 1
    pending = leader(row)
    assert row == Deployment(
        key=KEY,
        desired=Desired.RUNNING,
        options=OTHER,
        artifact="m-1-77",
        created_at=row.created_at,
        deployed_by="ann",
        launches=(
            Launch(
                id=pending.id,
                role=LaunchRole.SERVING,
                state=LaunchState.PENDING,
                options=OTHER,
                artifact="m-1-77",
                generation=1,
                replica=0,
                since=pending.since,
                reason="deploy asked for",
            ),
        ),
    )
    started = await store.launches.start(row, pending, "launch", FIRST, NOW + 120, NOW)
    launch = replace(
        pending,
        state=LaunchState.STARTING,
        launch_id="launch",
        port=FIRST,
        deadline=NOW + 120,
        reason="launch on port 8001",
        since=leader(started).since,
    )
    assert started == replace(row, starts=1, launches=(launch,))
    handle = Handle("launch", Address("127.0.0.1", FIRST), {"pid": 7, "boot": "b"})
    await store.launches.record_handle(handle)
    merging = Merging(64, "rows are independent")
    ready = await store.launches.promote(started, launch, merging, NOW)
    launch = replace(
        launch,
        state=LaunchState.READY,
        handle=handle,
        deadline=None,
        ready_since=NOW,
        ready_at=leader(ready).ready_at,
        reason="healthy",
        session="launch",
        since=leader(ready).since,
    )
    assert ready == replace(started, launches=(launch,), proven=True, merging=merging)
    assert launch.ready_at is not None
    assert abs((launch.ready_at - before).total_seconds()) < 10
    assert await store.deployments.get(KEY) == ready
    assert await store.deployments.all() == [ready]
    resting = await store.launches.release(
        ready, launch, Vacate(State.PENDING, "gone", tries=2, not_before=NOW + 1, kills=3),
        keeps_port=False, quarantined_until=NOW,
    )  # fmt: skip
    again = replace(
        pending,
        tries=2, kills=3, not_before=NOW + 1, reason="gone", since=leader(resting).since,
    )  # fmt: skip
    assert resting == replace(row, starts=1, proven=True, merging=merging, launches=(again,))


async def test_a_unix_socket_is_read_as_it_was_written(store: Store) -> None:
    row = await store.bring(State.STARTING)
    handle = Handle(row.launch_id or "", Address("m", 80, "/run/launch/m.sock"), {"container": "x"})
    await store.launches.record_handle(handle)
    assert (await store.reread(row)).handle == handle


async def test_rows_come_oldest_first(store: Store) -> None:
    for model in ("b", "c", "a"):
        await store.deploy(model)
    assert [row.key.model for row in await store.deployments.all()] == ["b", "c", "a"]
    assert await store.deployments.get(ModelKey("d", 1)) is None


async def test_unchanged_row_is_the_same_object_when_it_is_read_again(store: Store) -> None:
    await store.deploy("a")
    await store.launch(await store.deploy("b"))
    a, b = await store.deployments.all()
    again = await store.deployments.all()
    assert again[0] is a
    assert again[1] is b
    await store.launches.record_memory(b.launch_id or "", 7)
    changed = await store.deployments.all()
    assert changed[0] is a
    assert changed[1] == replace(b, memory=7)
    await store.execute("DELETE FROM events")
    await store.execute("DELETE FROM deployments WHERE model = 'a'")
    assert await store.deployments.all() == [changed[1]]


async def test_what_is_deployed_already_is_not_changed_by_asking_again(store: Store) -> None:
    for state in (State.PENDING, State.STARTING, State.READY, State.STOPPING):
        row = await store.bring(state)
        before = await store.dump()
        assert await store.deployments.want_running(KEY, OTHER, "new", 100) == (row, False)
        assert await store.dump() == before
        await store.execute("DELETE FROM deployments")
        await store.ports.prune(set())


@pytest.mark.parametrize(
    ("state", "desired"),
    [
        (State.STOPPED, Desired.STOPPED),
        (State.FAILED, Desired.RUNNING),
        (State.FAILED, Desired.STOPPED),
    ],
)
async def test_a_row_at_rest_is_armed_again(store: Store, state: State, desired: Desired) -> None:
    before = await store.bring(state, desired)
    row, changed = await store.deployments.want_running(KEY, OTHER, "new", 1)
    assert changed
    assert row == replace(
        before,
        desired=Desired.RUNNING,
        rest=None,
        options=OTHER,
        artifact="new",
        generation=2,
        created_at=row.created_at,
        renewed_at=row.renewed_at,
        starts=0,
        launches=row.launches,
    )
    (launch,) = row.launches
    assert (launch.state, launch.role, launch.replica) == (
        LaunchState.PENDING, LaunchRole.SERVING, 0,
    )  # fmt: skip
    assert (launch.options, launch.artifact, launch.generation) == (OTHER, "new", 2)
    assert (launch.tries, launch.reason) == (0, "deploy asked for")
    assert row.created_at >= before.created_at
    assert row.renewed_at is not None
    assert row.renewed_at >= row.created_at
    assert (await moves(store))[-1] == (state, State.PENDING, "deploy asked for")


async def test_a_name_stands_for_its_artifacts_since_they_came(store: Store) -> None:
    before = await store.bring(State.STOPPED, Desired.STOPPED)
    same, _ = await store.deployments.want_running(KEY, OTHER, before.artifact, 1)
    assert same.renewed_at is None
    await store.deployments.want_stopped(KEY)
    other, _ = await store.deployments.want_running(KEY, OTHER, "m-1-99", 1)
    assert other.renewed_at is not None
    assert other.since == other.renewed_at == other.created_at
    await store.deployments.want_stopped(KEY)
    again, _ = await store.deployments.want_running(KEY, OTHER, "m-1-99", 1)
    assert (again.renewed_at, again.since) == (other.renewed_at, other.renewed_at)


@pytest.mark.parametrize(
    ("artifact", "since"),
    [
        ("m-1-1000", datetime.fromtimestamp(1, UTC)),
        ("m x-12-1700000000123", datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)),
        # A registry whose clock is ahead.
        ("m-1-99999999999999", DEPLOYED),
        ("odd", datetime.fromtimestamp(0, UTC)),
        ("m-1-" + "9" * 40, datetime.fromtimestamp(0, UTC)),
        ("", datetime.fromtimestamp(0, UTC)),
    ],
)
async def test_a_name_that_never_changed_stands_for_its_model_since_that_was_registered(
    store: Store, artifact: str, since: datetime
) -> None:
    row = await store.bring(State.STOPPED, Desired.STOPPED)
    assert replace(row, artifact=artifact, created_at=DEPLOYED).since == since


async def test_what_stops_and_is_wanted_again_goes_on_stopping(store: Store) -> None:
    before = await store.bring(State.STOPPING, Desired.STOPPED)
    row, changed = await store.deployments.want_running(KEY, OTHER, "new", 100)
    assert changed
    assert (row.desired, row.state, row.launch_id) == (
        Desired.RUNNING,
        State.STOPPING,
        before.launch_id,
    )
    assert (row.options, row.artifact, row.starts) == (OTHER, "new", 0)
    # Its processes are what they are.
    assert (leader(row).options, leader(row).generation, row.generation) == (Options(), 1, 2)
    assert (leader(row).tries, leader(row).not_before) == (0, 0)
    assert (await moves(store))[-1] == (State.STOPPING, State.STOPPING, "deploy asked for")


@pytest.mark.parametrize("state", [State.STARTING, State.READY])
async def test_a_launch_that_goes_on_keeps_what_it_was_started_with(
    store: Store, state: State
) -> None:
    # Undeployed and deployed again before the reconciler has looked: nothing stops.
    before = await store.bring(state, Desired.STOPPED)
    with pytest.raises(Conflict):
        await store.deployments.want_running(KEY, OTHER, "new", 100)
    assert await store.deployments.get(KEY) == before
    row, _ = await store.deployments.want_running(KEY, before.options, before.artifact, 100)
    assert (row.desired, row.state, row.launch_id) == (Desired.RUNNING, state, before.launch_id)


@pytest.mark.parametrize("state", State)
async def test_asking_it_to_stop_changes_the_wish_and_nothing_else(
    store: Store, state: State
) -> None:
    before = await store.bring(state)
    row = await store.deployments.want_stopped(KEY)
    assert row == replace(before, desired=Desired.STOPPED)
    events = await moves(store)
    assert events[-1] == (state, state, "undeploy asked for")
    assert await store.deployments.want_stopped(KEY) == row  # and no event
    assert await moves(store) == events


async def test_there_is_nothing_to_stop_where_nothing_was_deployed(store: Store) -> None:
    assert await store.deployments.want_stopped(KEY) is None
    assert await store.deployments.all() == []
