"""Rows change by compare-and-set, with one event each, or not at all."""

import itertools
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from model_deployment.core.domain import Address, Deployment, Desired, Handle, State, Step
from model_deployment.core.errors import Conflict, IllegalTransition, NoFreePort
from model_deployment.core.lifecycle import LIVE, check
from model_deployment.core.names import ModelKey
from model_deployment.core.options import EnvManager, Options
from tests.support.stored import FIRST, NOW, Store, opened

KEY = ModelKey("m", 1)
DEPLOYED = datetime(2026, 1, 31, tzinfo=UTC)
OTHER = Options(EnvManager.UV, workers=4)
GONE: dict[str, Any] = {"tries": 0, "not_before": 0.0, "quarantined_until": 0.0}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(tmp_path) as store:
        yield store


async def moves(store: Store, key: ModelKey = KEY) -> list[tuple[State | None, State, str]]:
    """The events, oldest first."""
    events = reversed(await store.deployments.events(key))
    return [(event.previous, event.state, event.reason) for event in events]


async def test_a_row_is_read_as_it_was_written(store: Store) -> None:
    before = datetime.now(UTC)
    row, changed = await store.deployments.want_running(KEY, OTHER, "m-1-77", 1)
    assert changed
    assert (before - row.created_at).total_seconds() < 1
    assert row == Deployment(
        key=KEY,
        desired=Desired.RUNNING,
        state=State.PENDING,
        options=OTHER,
        artifact="m-1-77",
        created_at=row.created_at,
    )
    started = await store.deployments.launch(row, "launch", FIRST, NOW + 120, NOW)
    assert started == replace(
        row,
        state=State.STARTING,
        launch_id="launch",
        port=FIRST,
        deadline=NOW + 120,
        launches=1,
        reason="launch on port 8001",
    )
    handle = Handle("launch", Address("127.0.0.1", FIRST), {"pid": 7, "boot": "b"})
    await store.deployments.record_handle(handle)
    ready = await store.deployments.move(
        replace(started, handle=handle), State.READY, "healthy",
        deadline=None, ready_since=NOW, ready_at="2026-01-31T12:00:00.000+00:00",
    )  # fmt: skip
    assert ready == replace(
        started,
        state=State.READY,
        handle=handle,
        deadline=None,
        ready_since=NOW,
        ready_at=datetime(2026, 1, 31, 12, tzinfo=UTC),
        reason="healthy",
    )
    assert await store.deployments.get(KEY) == ready
    assert await store.deployments.all() == [ready]
    resting = await store.deployments.release(
        ready, State.PENDING, "gone", tries=2, not_before=NOW + 1, quarantined_until=NOW
    )
    assert resting == replace(
        row, tries=2, launches=1, not_before=NOW + 1, reason="gone", proven=True
    )


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
    await store.deployments.record_memory(b.launch_id or "", 7)
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
        state=State.PENDING,
        options=OTHER,
        artifact="new",
        created_at=row.created_at,
        renewed_at=row.renewed_at,
        tries=0,
        launches=0,
        reason="deploy asked for",
    )
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
    assert (row.options, row.artifact, row.launches) == (OTHER, "new", 0)
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


@pytest.mark.parametrize("state", [None, State.STOPPED, State.FAILED])
async def test_a_wish_beyond_the_capacity_is_refused(store: Store, state: State | None) -> None:
    if state is not None:
        await store.bring(state, Desired.STOPPED)
    await store.deploy("a")
    await store.deploy("b")
    before = await store.dump()
    with pytest.raises(NoFreePort, match="2 of 2 usable ports are taken") as refused:
        await store.deployments.want_running(KEY, Options(), "x", 2)
    assert refused.value.retry_after
    assert await store.dump() == before
    await store.deployments.want_running(KEY, Options(), "x", 3)


@pytest.mark.parametrize(
    ("state", "desired", "counts"),
    [
        (State.PENDING, Desired.RUNNING, True),
        (State.PENDING, Desired.STOPPED, False),
        *((state, desired, True) for state in sorted(LIVE) for desired in Desired),
        (State.STOPPED, Desired.STOPPED, False),
        (State.FAILED, Desired.RUNNING, False),
    ],
)
async def test_rows_that_have_or_will_have_a_port_take_capacity(
    store: Store, state: State, desired: Desired, counts: bool
) -> None:
    await store.bring(state, desired)
    if counts:
        with pytest.raises(NoFreePort):
            await store.deployments.want_running(ModelKey("m", 2), Options(), "x", 1)
    else:
        await store.deployments.want_running(ModelKey("m", 2), Options(), "x", 1)


Change = Callable[[Store, Deployment], Awaitable[object]]
#: Every way the reconciler changes a row.
CHANGES: dict[str, tuple[State, Change]] = {
    "launch": (State.PENDING, lambda s, r: s.deployments.launch(r, "x", FIRST + 3, NOW, NOW)),
    "hold up": (State.PENDING, lambda s, r: s.deployments.move(r, State.PENDING, "")),
    "promote": (State.STARTING, lambda s, r: s.deployments.move(r, State.READY, "")),
    "stop": (State.READY, lambda s, r: s.deployments.move(r, State.STOPPING, "", step="kill")),
    "rest": (State.STOPPING, lambda s, r: s.deployments.release(r, State.PENDING, "", **GONE)),
}


async def launch_again(store: Store, row: Deployment) -> None:
    """The same wish and the same state, of another launch."""
    again = await store.end(row, State.PENDING) if row.state in LIVE else row
    again = await store.launch(again)
    if row.state not in (State.PENDING, State.STARTING):
        await store.deployments.move(again, row.state, "", step=row.step)


STALE: dict[str, Change] = {
    "another wish": lambda s, r: s.deployments.want_stopped(r.key),
    "another state": lambda s, r: s.end(r, State.FAILED),
    "another launch": launch_again,
    "no row": lambda s, _: s.execute("DELETE FROM deployments"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("meanwhile", STALE)
async def test_a_stale_row_changes_nothing(store: Store, change: str, meanwhile: str) -> None:
    state, act = CHANGES[change]
    row = await store.bring(state)
    await STALE[meanwhile](store, row)
    before = await store.dump()
    with pytest.raises(IllegalTransition, match=r"cannot move m-1"):
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
    assert event.launch_id == (after.launch_id or row.launch_id)


@pytest.mark.parametrize(
    ("source", "target"),
    [pair for pair in itertools.product(State, State) if not check(*pair)],
)
async def test_an_illegal_move_is_refused(store: Store, source: State, target: State) -> None:
    row = await store.bring(source)
    before = await store.dump()
    changes: dict[str, Any] = {"step": Step.KILL} if target is State.STOPPING else {}
    for move in (
        store.deployments.move(row, target, "", **changes),
        store.deployments.release(row, target, "", **GONE),
    ):
        with pytest.raises(IllegalTransition, match=f"from {source} to {target}"):
            await move
    assert await store.dump() == before


async def test_a_stop_counts_the_failure_it_is_for(store: Store) -> None:
    row = await store.bring(State.READY)
    sick = await store.deployments.move(row, State.STOPPING, "sick", step="terminate", tries=3)
    assert (sick.tries, sick.step) == (3, Step.TERMINATE)


async def test_a_move_cannot_take_a_launch_away(store: Store) -> None:
    row = await store.bring(State.READY)
    before = await store.dump()
    for column in ("launch_id", "port", "handle", "model", "desired = 'stopped' --"):
        with pytest.raises(IllegalTransition, match="cannot set"):
            await store.deployments.move(row, State.STOPPING, "", **{column: None})
    with pytest.raises(sqlite3.IntegrityError):  # nor may it rest with one
        await store.deployments.move(row, State.STOPPED, "")
    assert await store.dump() == before
