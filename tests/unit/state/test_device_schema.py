"""The schema says of devices what the enumerations say, and holds rows to it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from model_deployment.core.devices import MessageKind, UpdateState
from model_deployment.core.releases import OFFERABLE, UNDECIDED, ReleaseState

SCHEMA = (Path(__file__).parents[3] / "schema.sql").read_text()
ROWS: dict[str, dict[str, object]] = {
    "device_projects": {"name": "hall", "models": "[]", "created_at": ""},
    "enrolments": {
        "project_id": 1, "code_hash": "c", "groups": "[]", "created_at": "", "expires_at": "",
    },
    "devices": {
        "project_id": 1, "name": "camera", "token_hash": "t", "groups": "[]", "attributes": "{}",
        "created_at": "",
    },
    "releases": {
        "project_id": 1, "number": 1, "model": "m", "version": 1, "policy": "{}", "state": "rolling",
        "reason": "", "manifest": "{}", "signature": "s", "created_at": "", "created_by": "", "since": "",
    },
    "release_events": {"project_id": 1, "at": "", "reason": ""},
    "device_updates": {
        "device_id": 1, "release_id": 1, "state": "offered", "reason": "", "since": "",
    },
    "device_commands": {
        "device_id": 1, "name": "dark", "value": "1", "created_at": "", "created_by": "",
    },
    "device_messages": {
        "device_id": 1, "stream": "s", "seq": 1, "kind": "log", "at": "", "received_at": "",
        "data": "{}",
    },
}  # fmt: skip


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    """With a row of each table."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=ON")
        connection.executescript(SCHEMA)
        for table in ROWS:
            insert(connection, table)
        yield connection


def insert(database: sqlite3.Connection, table: str, **changes: object) -> None:
    values = ROWS[table] | changes
    database.execute(
        f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
        [*values.values()],
    )


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("state", ReleaseState)
def test_what_devices_may_be_told_to_run_is_signed(
    database: sqlite3.Connection, state: ReleaseState, signed: bool
) -> None:
    database.execute("DELETE FROM releases")
    text = {"manifest": "{}" if signed else "", "signature": "s" if signed else ""}
    if signed or state not in OFFERABLE:
        insert(database, "releases", state=state, **text)
    else:
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            insert(database, "releases", state=state, **text)


@pytest.mark.parametrize("state", ReleaseState)
def test_one_release_of_a_project_is_under_way(
    database: sqlite3.Connection, state: ReleaseState
) -> None:
    if state in UNDECIDED:
        with pytest.raises(sqlite3.IntegrityError, match=r"UNIQUE.*project_id"):
            insert(database, "releases", number=2, state=state)
    else:
        insert(database, "releases", number=2, state=state)
    insert(database, "device_projects", name="other")
    insert(database, "releases", project_id=2, state=state)


@pytest.mark.parametrize("state", UpdateState)
def test_every_state_of_an_update_can_be_written(
    database: sqlite3.Connection, state: UpdateState
) -> None:
    database.execute("DELETE FROM device_updates")
    insert(database, "device_updates", state=state)


@pytest.mark.parametrize("kind", MessageKind)
def test_messages_that_wait_or_stay_can_be_written(
    database: sqlite3.Connection, kind: MessageKind
) -> None:
    if kind in (MessageKind.PROGRESS, MessageKind.ANSWER):
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            insert(database, "device_messages", seq=2, kind=kind)
    else:
        insert(database, "device_messages", seq=2, kind=kind)


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        ("device_projects", {"name": "HALL"}),
        ("enrolments", {}),
        ("enrolments", {"code_hash": "d", "project_id": 2}),
        ("devices", {"token_hash": "u", "name": "Camera"}),
        ("devices", {"name": "other"}),
        ("devices", {"name": "other", "token_hash": "u", "project_id": 2}),
        ("devices", {"name": "other", "token_hash": None}),
        ("releases", {"state": "complete"}),
        ("releases", {"state": "complete", "number": 0}),
        ("releases", {"state": "complete", "number": 2, "version": 0}),
        ("releases", {"state": "complete", "number": 2, "signature": ""}),
        ("releases", {"state": "done", "number": 2}),
        ("release_events", {"project_id": 2}),
        ("device_updates", {}),
        ("device_updates", {"device_id": 2}),
        ("device_updates", {"release_id": 2}),
        ("device_commands", {"device_id": 2}),
        ("device_messages", {}),
        ("device_messages", {"seq": 2, "device_id": 2}),
        ("device_messages", {"seq": "two"}),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(
    database: sqlite3.Connection, table: str, changes: dict[str, object]
) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        insert(database, table, **changes)


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        ("device_projects", {"device_projects": 0, **dict.fromkeys(ROWS, 0)}),
        ("devices", {"devices": 0, "device_updates": 0, "device_commands": 0, "device_messages": 0}),
        ("releases", {"releases": 0, "device_updates": 0}),
    ],
)  # fmt: skip
def test_what_belongs_to_something_goes_with_it(
    database: sqlite3.Connection, gone: str, left: dict[str, int]
) -> None:
    database.execute(f"DELETE FROM {gone}")
    for table in ROWS:
        (count,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert count == left.get(table, 1), table
