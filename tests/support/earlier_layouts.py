"""State databases as earlier releases wrote them."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

#: Before launches were apart from deployments.
LAYOUT_6 = (Path(__file__).with_name("layouts") / "6.sql").read_text(encoding="utf-8")

WHEN = "2026-01-31T12:00:00.000+00:00"


def write(path: Path, script: str, layout: int) -> None:
    """Make a database of a layout."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(f"{script} PRAGMA user_version={layout};")


def insert(connection: sqlite3.Connection, table: str, **values: object) -> None:
    """Add a row."""
    names = ", ".join(f'"{name}"' for name in values)
    marks = ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", [*values.values()])


def deployment(connection: sqlite3.Connection, id: int, state: str, **changes: object) -> None:
    """Add a deployment to a database of layout 6, in any state that it could have."""
    live = state in ("starting", "ready", "stopping")
    port = 8000 + id
    values: dict[str, object] = {
        "id": id,
        "model": "m",
        "version": id,
        "desired": "stopped" if state == "stopped" else "running",
        "state": state,
        "step": "drain" if state == "stopping" else None,
        "options": '{"workers": 2}',
        "artifact": f"m-{id}-5",
        "launch_id": f"l{id}" if live else None,
        "handle": handle(port, id) if live else None,
        "port": port if live else None,
        "tries": 3,
        "kills": 2,
        "launches": 4,
        "not_before": 1.5,
        "deadline": 2.5 if live else None,
        "ready_since": 3.5 if state == "ready" else None,
        "ready_at": WHEN if state == "ready" else None,
        "created_at": WHEN,
        "reason": f"why {state}",
        "session": f"s{id}" if live else None,
        "memory": 77,
        "renewed_at": WHEN,
        "proven": 1,
        "merging": '{"max_rows": 64, "reason": "kept"}',
        "deployed_by": "ann",
    }
    insert(connection, "deployments", **values | changes)
    if live:
        insert(connection, "ports", port=port, launch_id=f"l{id}")
    for previous, now in ((None, "pending"), ("pending", state), (state, state)):
        event = {"deployment_id": id, "at": f"2026-01-31T12:00:0{id % 10}.000+00:00"}
        launch = {"launch_id": f"l{id}" if live else None, "reason": "told"}
        insert(connection, "events", previous=previous, state=now, **event, **launch)


def replacement(connection: sqlite3.Connection, id: int, state: str, **changes: object) -> None:
    """Add a second launch to a deployment of a database of layout 6."""
    live = state in ("starting", "stopping", "retiring")
    port = 8100 + id
    values: dict[str, object] = {
        "id": 50 + id,
        "deployment_id": id,
        "state": state,
        "strategy": "beside",
        "options": '{"workers": 3}',
        "artifact": f"m-{id}-5",
        "launch_id": f"r{id}" if live else None,
        "handle": handle(port, id) if live else None,
        "port": port if live else None,
        "session": f"r{id}" if state == "retiring" else None,
        "step": "drain" if state == "retiring" else "terminate" if state == "stopping" else None,
        "deadline": 9.5,
        "reason": f"why {state}",
        "purpose": "change by ann",
        "since": WHEN,
    }
    insert(connection, "replacements", **values | changes)
    if live:
        insert(connection, "ports", port=port, launch_id=f"r{id}")


def handle(port: int, pid: int) -> str:
    """As layouts before 7 wrote it."""
    return f'{{"host": "127.0.0.1", "port": {port}, "ref": {{"pid": {pid}}}}}'


def age(path: Path) -> None:
    """Give a database of this release the layout 6, in which the release before would have written it.

    Its deployments have one replica at most.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        tables = ("deployments", "launches", "replacements", "events")
        now = {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
        script = "".join(f"DROP TABLE {table};" for table in reversed(tables))
        kept = LAYOUT_6.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS")
        kept = kept.replace("INDEX", "INDEX IF NOT EXISTS")
        script += "".join(f"DROP TABLE {table};" for table in reversed(_OF_DEVICES))
        connection.executescript(f"PRAGMA foreign_keys=OFF; BEGIN; {script} {kept}")
        launches = {(one["deployment_id"], one["role"]): dict(one) for one in now["launches"]}
        for row in now["deployments"]:
            insert(connection, "deployments", **_whole(dict(row), launches))
        for row in now["replacements"]:
            insert(connection, "replacements", **_second(dict(row), launches))
        for row in now["events"]:
            values = dict(row)
            del values["replica"]
            insert(connection, "events", **values)
        connection.execute("PRAGMA user_version=6")
        connection.execute("COMMIT")


_OF_DEVICES = (
    "device_projects", "enrolments", "devices", "releases", "release_events", "device_updates",
    "device_commands", "device_messages",
)  # fmt: skip
_OF_LAUNCH = ("launch_id", "port", "session", "step", "deadline")
_COUNTS = ("tries", "kills", "not_before", "ready_since", "ready_at")


def _launch(launch: Mapping[str, Any] | None, *names: str) -> dict[str, Any]:
    if launch is None:
        return {}
    values = {name: launch[name] for name in (*_OF_LAUNCH, *names)}
    if launch["handle"] is not None:
        saved = json.loads(launch["handle"])
        saved.pop("path", None)
        values["handle"] = json.dumps(saved)
    return values


def _whole(row: dict[str, Any], launches: Mapping[tuple[int, str], Mapping[str, Any]]) -> Any:
    rest, reason, tries = (row.pop(name) for name in ("rest", "rest_reason", "rest_tries"))
    row["launches"] = row.pop("starts")
    del row["generation"], row["replicas"]
    row["parking"] = int(bool(row["parking"]))
    if rest is not None:
        return row | {"state": rest, "reason": reason, "tries": tries}
    launch = launches[row["id"], "serving"]
    return row | _launch(launch, *_COUNTS) | {"state": launch["state"], "reason": launch["reason"]}


def _second(row: dict[str, Any], launches: Mapping[tuple[int, str], Mapping[str, Any]]) -> Any:
    id = row["deployment_id"]
    row["artifact"] = ""
    match row["state"]:
        case "rolling":
            launch = launches[id, "retiring"]
            return row | _launch(launch, "options", "artifact", "reason") | {"state": "retiring"}
        case "coming" if row["strategy"] == "beside":
            launch = launches[id, "coming"]
            return (
                row | _launch(launch, "options", "artifact", "reason") | {"state": launch["state"]}
            )
        case state:
            return row | {"state": "pending" if state == "coming" else state}
