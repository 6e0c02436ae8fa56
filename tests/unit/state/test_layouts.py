"""Databases that earlier releases wrote are opened, and made over whole or not at all."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import pytest

from model_deployment.core.actions import Vacate
from model_deployment.core.domain import State
from model_deployment.core.errors import StateError
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.state import files
from tests.support import earlier_layouts, stored_devices
from tests.support.layout_scripts import SCRIPTS
from tests.support.stored import leader, opened
from tests.support.stored_devices import metrics, progress


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    earlier_layouts.write(tmp_path / "state.db", SCRIPTS[1], 1)
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
            row, leader(row), Vacate(State.PENDING, "killed", kills=1),
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


def test_there_is_a_script_of_each_earlier_layout() -> None:
    assert [*SCRIPTS] == [*range(1, files.SCHEMA_VERSION)]


@pytest.mark.parametrize("layout", SCRIPTS)
async def test_it_has_the_tables_of_a_new_database_then(tmp_path: Path, layout: int) -> None:
    (old := tmp_path / "old").mkdir()
    (new := tmp_path / "new").mkdir()
    earlier_layouts.write(old / "state.db", SCRIPTS[layout], layout)
    tables = "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"
    async with opened(old) as made_over, opened(new) as fresh:
        expected = {row["name"]: plain(row["sql"]) for row in await fresh.execute(tables)}
        found = {row["name"]: plain(row["sql"]) for row in await made_over.execute(tables)}
        assert found == expected
        assert await made_over.execute("PRAGMA foreign_key_check") == []
        rows = await made_over.deployments.all()
        assert [(row.key, row.state) for row in rows] == [
            (ModelKey("m", 1), State.READY), (ModelKey("m", 2), State.STOPPED),
        ]  # fmt: skip
        assert len(await made_over.deployments.events(rows[0].key)) >= 1
        pairs = await made_over.endpoints.all()
        assert [(one.champion, newest and newest.id) for one, newest in pairs] == (
            [(1, 9)] if layout >= 5 else []
        )


@pytest.mark.parametrize("layout", SCRIPTS)
async def test_devices_can_be_registered_then(tmp_path: Path, layout: int) -> None:
    earlier_layouts.write(tmp_path / "state.db", SCRIPTS[layout], layout)
    async with stored_devices.opened(tmp_path) as store:
        assert not any((await store.dump()).values())
        device, release = await store.connected(), await store.release()
        sent = progress(1, release.number, "running"), metrics(2)
        assert await store.receive(device, *sent) == 2
    async with stored_devices.opened(tmp_path) as store:
        assert await store.receive(device, *sent, metrics(3)) == 3
        (update,) = await store.releases.updates(release)
        assert (update.device_id, update.state) == (device.id, "running")


async def test_nothing_of_layout_7_is_changed_by_the_tables_of_devices(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    earlier_layouts.write(path, SCRIPTS[7], 7)
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]  # fmt: skip
        before = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}
    assert len(names) > 9
    assert sum(map(len, before.values())) > 12
    async with stored_devices.opened(tmp_path) as store:
        for name in names:
            found = [tuple(row) for row in await store.execute(f"SELECT * FROM {name}")]
            assert found == before[name], name


@pytest.mark.parametrize("script", ["nonsense;", "PRAGMA user_version=2; nonsense;"])
@pytest.mark.parametrize("layout", SCRIPTS)
async def test_a_change_that_breaks_off_changes_nothing(
    tmp_path: Path, script: str, layout: int
) -> None:
    folder, whole = tmp_path, files.schema()
    earlier_layouts.write(folder / "state.db", SCRIPTS[layout], layout)
    with (
        patch.object(files, "schema", lambda: whole + script),
        pytest.raises(StateError, match="nonsense"),
    ):
        async with opened(folder):
            raise AssertionError("opened")
    with closing(sqlite3.connect(folder / "state.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (layout,)
        query = "SELECT 1 FROM sqlite_schema WHERE name IN ('devices', 'old_deployments')"
        assert connection.execute(query).fetchone() is None
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
