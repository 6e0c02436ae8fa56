"""Creates the tables of the state database, or gives one of an earlier release the layout of this one."""

import sqlite3
from collections.abc import Mapping
from typing import Any

from model_deployment.state import files

#: The first layout in which launches are apart from deployments.
_APART = 7
#: Columns of a launch that a deployment, or its replacement, had before.
_OF_LAUNCH = (
    "options", "artifact", "reason", "step", "launch_id", "handle", "port", "session", "deadline",
)  # fmt: skip
_COUNTS = ("tries", "kills", "not_before", "ready_since", "ready_at")
_OF_REPLACEMENT = (
    "id", "deployment_id", "strategy", "reason", "purpose", "since",
)  # fmt: skip
_RESTING = ("parked", "stopped", "failed")


def migrate(connection: sqlite3.Connection) -> None:
    """Create the tables, or migrate them from an older layout, in one transaction.

    If anything fails, the transaction stays open: close the connection then.

    Args:
        connection: without implicit transactions, with ``sqlite3.Row``.

    Raises:
        sqlite3.Error: it cannot be migrated, or the disk fails.
    """
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    old = _columns(connection, "deployments")
    before = after = ""
    if apart := bool(old) and found < _APART:
        # Otherwise the events would refer to the table by its other name.
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("PRAGMA legacy_alter_table=ON")
        before = _SET_ASIDE + (
            _SET_REPLACEMENTS_ASIDE if _columns(connection, "replacements") else ""
        )
    # A script would commit what was done before it.
    connection.executescript(f"BEGIN IMMEDIATE; {before} {files.schema()}")
    if apart:
        _split(connection)
        after = _FINISH
    for statement in (*after.split(";"), f"PRAGMA user_version={files.SCHEMA_VERSION}", "COMMIT"):
        connection.execute(statement)
    connection.execute("PRAGMA legacy_alter_table=OFF")


_SET_ASIDE = """
ALTER TABLE deployments RENAME TO old_deployments;
ALTER TABLE events RENAME TO old_events;
DROP INDEX IF EXISTS events_of_deployment;
"""
_SET_REPLACEMENTS_ASIDE = "ALTER TABLE replacements RENAME TO old_replacements;"

_FINISH = """
INSERT INTO events (id, deployment_id, at, previous, state, launch_id, replica, reason)
    SELECT id, deployment_id, at, previous, state, launch_id, iif(launch_id IS NULL, NULL, 0), reason
    FROM old_events;
DROP TABLE old_deployments;
DROP TABLE old_events;
DROP TABLE IF EXISTS old_replacements
"""


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row["name"] for row in connection.execute(f"PRAGMA table_info({table})")]


def _split(connection: sqlite3.Connection) -> None:
    """Make deployments, launches and replacements of the rows of an earlier layout."""
    replacements = {}
    if _columns(connection, "old_replacements"):
        found = connection.execute("SELECT * FROM old_replacements").fetchall()
        replacements = {row["deployment_id"]: dict(row) for row in found}
    for row in connection.execute("SELECT * FROM old_deployments ORDER BY id").fetchall():
        old, second = dict(row), replacements.get(row["id"])
        retired = second is not None and second["state"] == "retiring"
        _add_deployment(connection, old, generation=1 + retired)
        if old["state"] not in _RESTING:
            if old["state"] == "pending" and not _keeps_port(connection, old["port"]):
                old |= {"port": None, "session": None}
            since = _since(connection, old)
            _add(
                connection, "launches",
                **_launch_of(old), deployment_id=old["id"], role="serving", state=old["state"],
                generation=1 + retired, since=since, started=old["launches"] > 0,
                **{name: old[name] for name in _COUNTS if name in old},
            )  # fmt: skip
        if second is not None:
            _add_replacement(connection, second, of=old)


def _keeps_port(connection: sqlite3.Connection, port: int | None) -> bool:
    """Whether a port waits for the next launch: it is leased, and not by a launch that lives.

    A copy that an earlier release restored may have a port that it does not lease.
    """
    query = (
        "SELECT 1 FROM ports WHERE port = ? AND launch_id IS NOT NULL AND launch_id NOT IN "
        "(SELECT launch_id FROM old_deployments WHERE launch_id IS NOT NULL)"
    )
    return connection.execute(query, (port,)).fetchone() is not None


def _add_deployment(
    connection: sqlite3.Connection, old: Mapping[str, Any], generation: int
) -> None:
    rests = old["state"] in _RESTING
    rest = {"rest": old["state"], "rest_reason": old["reason"], "rest_tries": old["tries"]}
    same = (
        "id", "model", "version", "desired", "options", "artifact", "created_at", "memory", "renewed_at",
        "proven", "merging", "deployed_by",
    )  # fmt: skip
    _add(
        connection, "deployments",
        **{name: old[name] for name in same if name in old}, **(rest if rests else {}),
        generation=generation, starts=old["launches"],
        parking=old["reason"] or "idle" if old.get("parking") else "",
    )  # fmt: skip


def _add_replacement(
    connection: sqlite3.Connection, old: Mapping[str, Any], of: Mapping[str, Any]
) -> None:
    """What a replacement was about in the layouts before, and its launch."""
    state, wanted = old["state"], bool(old["purpose"])
    retired = state == "retiring" or (state == "stopping" and not wanted)
    if state == "retiring" or wanted:
        now = {"retiring": "rolling", "failed": "failed"}.get(state, "coming")
        _add(
            connection, "replacements",
            **{name: old[name] for name in _OF_REPLACEMENT}, state=now,
            # It had the options of its launch, which may be the one before.
            options=of["options"] if state == "retiring" else old["options"],
            deadline=old["deadline"] if state == "pending" else None,
        )  # fmt: skip
    if state == "failed" or (state == "pending" and old["strategy"] == "recreate"):
        return
    _add(
        connection, "launches",
        **_launch_of(old) | ({"deadline": None} if state == "pending" else {}),
        deployment_id=old["deployment_id"], role="retiring" if retired else "coming",
        state="stopping" if retired else state, generation=1 if state == "retiring" else 2,
        since=old["since"], started=old["launch_id"] is not None,
    )  # fmt: skip


def _launch_of(old: Mapping[str, Any]) -> dict[str, Any]:
    return {name: old[name] for name in _OF_LAUNCH if name in old} | {"replica": 0}


def _since(connection: sqlite3.Connection, old: Mapping[str, Any]) -> str:
    """When a deployment entered its state."""
    (moment,) = connection.execute(
        "SELECT max(at) FROM old_events WHERE deployment_id = ? AND state = ? AND previous IS NOT state",
        (old["id"], old["state"]),
    ).fetchone()
    return str(moment or old["ready_at"] or old["created_at"])


def _add(connection: sqlite3.Connection, table: str, **values: Any) -> None:
    names = ", ".join(values)
    connection.execute(
        f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in values)})",  # noqa: S608
        values,
    )
