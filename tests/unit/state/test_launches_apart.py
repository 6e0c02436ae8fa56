"""Rows in which a deployment was its launch become a deployment and launches, in every state."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import astuple, replace
from datetime import datetime
from pathlib import Path

import pytest

from model_deployment.core.domain import (
    Address,
    Deployment,
    Handle,
    LaunchRole,
    LaunchState,
    Rest,
    State,
    Step,
)
from model_deployment.core.merging import Merging
from model_deployment.core.options import Options
from model_deployment.core.replacement import ReplacementState, Strategy
from tests.support import earlier_layouts
from tests.support.earlier_layouts import WHEN, deployment, replacement
from tests.support.stored import leader, opened

RESTING = (State.PARKED, State.STOPPED, State.FAILED)
LIVE = ("starting", "ready", "stopping")


@pytest.fixture
def before(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The database of the release before; it is closed by the tests before they open it."""
    earlier_layouts.write(tmp_path / "state.db", earlier_layouts.LAYOUT_6, 6)
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as connection:
        yield connection


@pytest.mark.parametrize("state", State)
async def test_a_deployment_is_what_it_was(
    tmp_path: Path, before: sqlite3.Connection, state: State
) -> None:
    deployment(before, 3, state, parking=int(state == "stopping"))
    before.close()
    async with opened(tmp_path) as store:
        (row,) = await store.deployments.all()
        assert (row.state, row.reason, row.tries) == (state, f"why {state}", 3)
        assert (row.options, row.artifact, row.starts) == (Options(workers=2), "m-3-5", 4)
        assert (row.generation, row.replicas, row.memory, row.proven) == (1, 1, 77, True)
        assert (row.merging, row.deployed_by) == (Merging(64, "kept"), "ann")
        assert row.renewed_at == row.created_at == datetime.fromisoformat(WHEN)
        assert row.parking == ("why stopping" if state is State.STOPPING else "")
        assert row.replacement is None
        if state in RESTING:
            assert (row.rest, row.launches) == (Rest(state, f"why {state}", 3), ())
            return
        (launch,) = row.launches
        alive = state in LIVE
        assert (launch.role, launch.state.value, launch.replica) == (
            LaunchRole.SERVING, state.value, 0,
        )  # fmt: skip
        assert (launch.options, launch.artifact, launch.generation) == (row.options, "m-3-5", 1)
        assert (launch.launch_id, launch.port, launch.session) == (
            ("l3", 8003, "s3") if alive else (None, None, None)
        )
        assert launch.handle == (
            Handle("l3", Address("127.0.0.1", 8003), {"pid": 3}) if alive else None
        )
        assert (launch.kills, launch.not_before) == (2, 1.5)
        assert (launch.deadline, launch.ready_since) == (
            2.5 if alive else None,
            3.5 if state is State.READY else None,
        )
        assert launch.step is (Step.DRAIN if state is State.STOPPING else None)
        # When it entered its state, and not when an event told of it last.
        assert launch.since == datetime.fromisoformat("2026-01-31T12:00:03.000+00:00")
        assert (await store.ports.usage(99)).leased == alive
        events = await store.deployments.events(row.key)
        assert [event.replica for event in events] == [0 if alive else None] * 3


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("second", ["pending", "starting", "stopping", "retiring", "failed"])
async def test_a_second_launch_is_what_it_was(
    tmp_path: Path, before: sqlite3.Connection, state: State, second: str
) -> None:
    deployment(before, 3, state)
    replacement(before, 3, second)
    before.close()
    async with opened(tmp_path) as store:
        (row,) = await store.deployments.all()
        it = row.replacement
        assert it is not None
        expected = {"retiring": ReplacementState.ROLLING, "failed": ReplacementState.FAILED}
        assert (it.id, it.state) == (53, expected.get(second, ReplacementState.COMING))
        assert it.options == Options(workers=2 if second == "retiring" else 3)
        assert it.strategy is Strategy.BESIDE
        assert (it.purpose, it.reason) == ("change by ann", f"why {second}")
        assert it.deadline == (9.5 if second == "pending" else None)
        assert (row.state, row.options, len(row.serving)) == (
            state, Options(workers=2), int(state not in RESTING),
        )  # fmt: skip
        if second == "failed":
            assert (row.coming, row.retiring) == (None, ())
            return
        launch = row.retiring[0] if second == "retiring" else row.coming
        assert launch is not None
        assert len(row.launches) == len(row.serving) + 1
        assert (launch.options, launch.artifact) == (Options(workers=3), "m-3-5")
        assert (launch.reason, launch.replica) == (f"why {second}", 0)
        # The newer one of the two has the later generation.
        generations = launch.generation, row.generation
        assert generations == ((1, 2) if second == "retiring" else (2, 1))
        assert all(one.generation == row.generation for one in row.serving)
        assert launch.state == {"retiring": "stopping"}.get(second, second)
        assert (launch.launch_id, launch.port) == (
            (None, None) if second == "pending" else ("r3", 8103)
        )
        assert launch.deadline == (None if second == "pending" else 9.5)
        assert await store.execute("PRAGMA foreign_key_check") == []


async def test_a_second_launch_that_nobody_wants_retires(
    tmp_path: Path, before: sqlite3.Connection
) -> None:
    deployment(before, 3, "ready", desired="stopped")
    replacement(before, 3, "stopping", purpose="", reason="not wanted any more", deadline=0)
    before.close()
    async with opened(tmp_path) as store:
        (row,) = await store.deployments.all()
        assert (row.replacement, row.coming) == (None, None)
        (launch,) = row.retiring
        assert (launch.launch_id, launch.step, launch.deadline) == ("r3", Step.TERMINATE, 0)


async def test_what_is_stopped_first_has_no_second_launch(
    tmp_path: Path, before: sqlite3.Connection
) -> None:
    deployment(before, 3, "stopping")
    replacement(before, 3, "pending", strategy="recreate")
    before.close()
    async with opened(tmp_path) as store:
        (row,) = await store.deployments.all()
        assert row.replacement is not None
        assert row.replacement.waits_for_stop
        assert [one.role for one in row.launches] == [LaunchRole.SERVING]


@pytest.mark.parametrize("leased", ["old", None, "l4"])
async def test_a_port_is_kept_only_where_it_is_leased(
    tmp_path: Path, before: sqlite3.Connection, leased: str | None
) -> None:
    # A copy that was restored could name the port of another deployment.
    deployment(before, 3, "pending", port=8004, session="old")
    deployment(before, 4, "ready")
    before.execute("UPDATE ports SET launch_id = ? WHERE port = 8004", (leased,))
    if leased == "old":
        before.execute("UPDATE deployments SET port = 8005 WHERE id = 4")
    before.close()
    async with opened(tmp_path) as store:
        row, _ = await store.deployments.all()
        kept = (8004, "old") if leased == "old" else (None, None)
        assert (row.port, leader(row).session) == kept


async def test_a_migration_that_breaks_off_begins_again(
    tmp_path: Path, before: sqlite3.Connection
) -> None:
    for id, state in enumerate(State, 1):
        deployment(before, id, state)
        replacement(before, id, "starting")
    before.execute("UPDATE replacements SET strategy = 'beside', since = ?", (WHEN,))
    rows = before.execute("SELECT * FROM deployments").fetchall()
    # What no row of the layout can hold comes last, so that everything else was done before.
    before.execute("PRAGMA ignore_check_constraints=ON")
    before.execute("UPDATE deployments SET desired = 'odd' WHERE id = 7")
    with pytest.raises(Exception, match="CHECK"):
        async with opened(tmp_path):
            raise AssertionError("opened")
    assert before.execute("PRAGMA user_version").fetchone() == (6,)
    before.execute("UPDATE deployments SET desired = ? WHERE id = 7", (rows[6][3],))
    assert before.execute("SELECT * FROM deployments").fetchall() == rows
    before.close()
    async with opened(tmp_path) as store:
        assert [row.state for row in await store.deployments.all()] == [*State]
    async with opened(tmp_path) as store:  # and a second time there is nothing to do
        assert len({astuple(row.key) for row in await store.deployments.all()}) == 7


async def test_an_old_launch_goes_on_through_a_change(
    tmp_path: Path, before: sqlite3.Connection
) -> None:
    """The rows can be used, and not only read."""
    deployment(before, 1, "ready")
    replacement(before, 1, "starting")
    before.close()
    async with opened(tmp_path) as store:
        (row,) = await store.deployments.all()
        row = await store.replacements.switch(row, Merging(), None, 10.0, 40.0)
        assert (row.launch_id, row.state, row.options) == ("r1", State.READY, Options(workers=3))
        (retiring,) = row.retiring
        assert (retiring.launch_id, retiring.state) == ("l1", LaunchState.STOPPING)
        row = await store.launches.forget(row, retiring, 0.0)
        row = await store.replacements.end(row)
        assert (len(row.launches), row.replacement) == (1, None)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("second", ["", "pending", "starting", "failed", "retiring"])
async def test_nothing_is_lost_there_and_back(tmp_path: Path, state: State, second: str) -> None:
    async with opened(tmp_path) as store:
        row = await store.bring(state)
        if second:
            change = Options(workers=3)
            row = await store.replacements.ask(row, change, Strategy.BESIDE, "change", 9.0)
            assert row.coming is not None
        if second in ("starting", "retiring"):
            assert row.coming is not None
            row = await store.launch(row, launch=row.coming)
        if second == "failed":
            row = await store.replacements.give_up(row, "it broke", 0.0)
        if second == "retiring":
            if not row.launch_id:
                return  # nothing would retire
            row = await store.replacements.switch(row, Merging(), None, 10.0, 40.0)
        before = await store.deployments.all()
        events = await store.deployments.events(row.key)
    earlier_layouts.age(tmp_path / "state.db")
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (6,)
    async with opened(tmp_path) as store:
        assert [*map(plain, await store.deployments.all())] == [*map(plain, before)]
        assert await store.deployments.events(row.key) == [
            replace(event, replica=None if event.launch_id is None else 0) for event in events
        ]


def plain(row: Deployment) -> Deployment:
    """Without what earlier layouts did not know, and the numbers of launches."""
    known = (replace(one, id=0, since=row.created_at, handle=None) for one in row.launches)
    known = (
        replace(one, ready_since=None, ready_at=None) if one.role is LaunchRole.RETIRING else one
        for one in known
    )
    it = row.replacement
    if it is not None:
        it = replace(it, since=row.created_at, reason="", deadline=None)
    return replace(row, launches=tuple(known), replacement=it)
