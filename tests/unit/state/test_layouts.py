"""Databases that earlier releases wrote are opened, and made over whole or not at all."""

import sqlite3
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import pytest

from model_deployment.core.domain import State
from model_deployment.core.errors import StateError
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.state import files
from tests.support.stored import ENDPOINTS, opened

#: As the release before parking wrote it.
LAYOUT_1 = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE deployments (
    id          INTEGER PRIMARY KEY,
    model       TEXT NOT NULL,
    version     INTEGER NOT NULL CHECK (version > 0),
    desired     TEXT NOT NULL CHECK (desired IN ('running', 'stopped')),
    state       TEXT NOT NULL CHECK
        (state IN ('pending', 'starting', 'ready', 'stopping', 'stopped', 'failed')),
    step        TEXT CHECK (step IN ('drain', 'terminate', 'kill')),
    options     TEXT NOT NULL,
    artifact    TEXT NOT NULL,
    launch_id   TEXT UNIQUE,
    handle      TEXT,
    port        INTEGER,
    tries       INTEGER NOT NULL DEFAULT 0,
    launches    INTEGER NOT NULL DEFAULT 0,
    not_before  REAL NOT NULL DEFAULT 0,
    deadline    REAL,
    ready_since REAL,
    ready_at    TEXT,
    created_at  TEXT NOT NULL,
    reason      TEXT NOT NULL DEFAULT '',
    UNIQUE (model, version),
    CHECK ((launch_id IS NOT NULL) = (state IN ('starting', 'ready', 'stopping'))),
    CHECK ((step IS NOT NULL) = (state = 'stopping'))
) STRICT;
CREATE TABLE ports (
    port              INTEGER PRIMARY KEY,
    launch_id         TEXT UNIQUE,
    quarantined_until REAL NOT NULL DEFAULT 0,
    blocked_until     REAL NOT NULL DEFAULT 0,
    blocked_by        TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE events (
    id            INTEGER PRIMARY KEY,
    deployment_id INTEGER NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    at            TEXT NOT NULL,
    previous      TEXT,
    state         TEXT NOT NULL,
    launch_id     TEXT,
    reason        TEXT NOT NULL
) STRICT;
CREATE INDEX events_of_deployment ON events (deployment_id, id);
INSERT INTO meta VALUES ('instance_id', '0123456789ab'), ('boot_id', 'b');
INSERT INTO deployments
    (id, model, version, desired, state, options, artifact, launch_id, handle, port, created_at)
VALUES (3, 'm', 1, 'running', 'ready', '{"workers": 2}', 'm-1-0', 'l1',
        '{"host": "127.0.0.1", "port": 8001, "ref": {"pid": 7}}', 8001, '2026-01-31T12:00:00+00:00'),
       (5, 'm', 2, 'stopped', 'stopped', '{}', 'm-2-0', NULL, NULL, NULL, '2026-01-31T12:00:00+00:00');
INSERT INTO ports (port, launch_id) VALUES (8001, 'l1'), (8002, NULL);
INSERT INTO events VALUES (1, 3, '2026-01-31T12:00:00+00:00', NULL, 'pending', NULL, 'deploy asked for'),
                          (2, 5, '2026-01-31T12:00:00+00:00', NULL, 'pending', NULL, 'deploy asked for');
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(LAYOUT_1 + "PRAGMA user_version=1;")
    return tmp_path


async def test_an_earlier_layout_is_made_over_with_all_there_is(folder: Path) -> None:
    for _ in range(2):
        async with opened(folder) as store:
            first, second = await store.deployments.all()
            assert (first.key, first.state, first.port) == (ModelKey("m", 1), State.READY, 8001)
            assert (first.options, first.parking) == (Options(workers=2), False)
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
    tmp_path: Path,
) -> None:
    # The layout of the release before is this one without three columns.
    async with opened(tmp_path) as store:
        await store.bring(State.READY)
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        for column in ("proven", "kills", "renewed_at"):
            connection.execute(f"ALTER TABLE deployments DROP COLUMN {column}")
        connection.execute("PRAGMA user_version=2")
        connection.commit()
    async with opened(tmp_path) as store:
        (row,) = await store.deployments.all()
        assert (row.state, row.kills) == (State.READY, 0)
        rest = await store.deployments.release(
            row, State.PENDING, "killed", tries=0, kills=1, not_before=0, quarantined_until=0
        )
        assert (rest.proven, rest.kills) == (True, 1)
        again, _ = await store.deployments.want_running(row.key, row.options, row.artifact, 9)
        assert again.proven  # nothing was asked that was not the case
        await store.deployments.want_stopped(row.key)
        other, changed = await store.deployments.want_running(row.key, row.options, "new", 9)
        assert (changed, other.proven, other.kills) == (True, False, 0)


async def test_it_has_the_tables_of_a_new_database_then(folder: Path, tmp_path: Path) -> None:
    (new := tmp_path / "new").mkdir()
    tables = "SELECT sql FROM sqlite_schema WHERE name = 'deployments'"
    async with opened(folder) as made_over, opened(new) as fresh:
        assert [*map(tuple, await made_over.execute(tables))] == [
            *map(tuple, await fresh.execute(tables))
        ]


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


async def test_endpoints_can_be_made_in_a_directory_of_the_release_before(tmp_path: Path) -> None:
    # The layout of the release before is this one without the tables of endpoints.
    async with opened(tmp_path) as store:
        await store.bring(State.READY)
        before = await store.deployments.all()
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        for table in reversed(ENDPOINTS):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("PRAGMA user_version=4")
        connection.commit()
    async with opened(tmp_path) as store:
        assert await store.deployments.all() == before
        assert await store.endpoints.all() == []
        rollout = await store.follow()
        assert await store.endpoints.claimed() == {ModelKey("m", 2)}  # the other one was there
    async with opened(tmp_path) as store:
        ((endpoint, newest),) = await store.endpoints.all()
        assert (endpoint.champion, newest and newest.id) == (1, rollout.id)
        assert len(await store.rollouts.events(endpoint, 10)) == 5
