"""Databases that earlier releases wrote are opened, and made over whole or not at all."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import pytest

from model_deployment.core.actions import Release
from model_deployment.core.domain import State
from model_deployment.core.errors import StateError
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.state import files
from tests.support import earlier_layouts
from tests.support.stored import leader, opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    earlier_layouts.write(tmp_path / "state.db", earlier_layouts.LAYOUT_1, 1)
    return tmp_path


async def test_an_earlier_layout_is_made_over_with_all_there_is(folder: Path) -> None:
    for _ in range(2):
        async with opened(folder) as store:
            first, second = await store.deployments.all()
            assert (first.key, first.state, first.port) == (ModelKey("m", 1), State.READY, 8001)
            assert (first.options, first.parking) == (Options(workers=2), "")
            assert first.handle is not None
            assert second.state is State.STOPPED
            assert (first.renewed_at, first.since.timestamp()) == (None, 0)
            assert await store.database.instance_id() == "0123456789ab"
            assert len(await store.deployments.events(first.key)) == 1
            (lease,) = await store.execute("SELECT port FROM ports WHERE launch_id = 'l1'")
            assert lease["port"] == 8001
    async with opened(folder) as store:
        # Events still belong to their rows.
        await store.execute("DELETE FROM deployments WHERE id = 5")
        assert await store.execute("SELECT * FROM events WHERE deployment_id = 5") == []
        assert await store.execute("PRAGMA foreign_key_check") == []


async def test_what_is_ready_when_it_is_made_over_counts_as_proven_once_it_ends(
    folder: Path,
) -> None:
    async with opened(folder) as store:
        row, _ = await store.deployments.all()
        assert (row.state, row.kills, row.proven) == (State.READY, 0, False)
        rest = await store.launches.release(
            row, leader(row), Release(State.PENDING, "killed", kills=1),
            keeps_port=False, quarantined_until=0,
        )  # fmt: skip
        assert (rest.proven, rest.kills) == (True, 1)
        again, _ = await store.deployments.want_running(row.key, row.options, row.artifact, 9)
        assert again.proven  # nothing was asked that was not the case
        await store.deployments.want_stopped(row.key)
        other, changed = await store.deployments.want_running(row.key, row.options, "new", 9)
        assert (changed, other.proven, other.kills) == (True, False, 0)


def plain(statement: str) -> str:
    """Without comments and spaces."""
    return "".join(re.sub(r"--.*", "", statement).split())


@pytest.mark.parametrize("layout", [1, 6])
async def test_it_has_the_tables_of_a_new_database_then(tmp_path: Path, layout: int) -> None:
    (old := tmp_path / "old").mkdir()
    (new := tmp_path / "new").mkdir()
    script = {1: earlier_layouts.LAYOUT_1, 6: earlier_layouts.LAYOUT_6}[layout]
    earlier_layouts.write(old / "state.db", script, layout)
    tables = "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"
    async with opened(old) as made_over, opened(new) as fresh:
        expected = {row["name"]: plain(row["sql"]) for row in await fresh.execute(tables)}
        found = {row["name"]: plain(row["sql"]) for row in await made_over.execute(tables)}
        assert found == expected


@pytest.mark.parametrize("script", ["nonsense;", "PRAGMA user_version=2; nonsense;"])
async def test_a_change_that_breaks_off_changes_nothing(folder: Path, script: str) -> None:
    whole = files.schema()
    with (
        patch.object(files, "schema", lambda: whole + script),
        pytest.raises(StateError, match="nonsense"),
    ):
        async with opened(folder):
            raise AssertionError("opened")
    with closing(sqlite3.connect(folder / "state.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM deployments").fetchone() == (2,)
    async with opened(folder) as store:
        assert len(await store.deployments.all()) == 2


async def test_endpoints_can_be_made_in_a_directory_without_their_tables(folder: Path) -> None:
    async with opened(folder) as store:
        assert await store.endpoints.all() == []
        rollout = await store.follow()
        assert await store.endpoints.claimed() == {ModelKey("m", 2)}  # the other one was there
    async with opened(folder) as store:
        ((endpoint, newest),) = await store.endpoints.all()
        assert (endpoint.champion, newest and newest.id) == (1, rollout.id)
        assert len(await store.rollouts.events(endpoint, 10)) == 5
