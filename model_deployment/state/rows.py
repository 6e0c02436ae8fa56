"""Deployments and events as rows: each change is one compare-and-set and one event."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from model_deployment.core.domain import Address, Deployment, Desired, Event, Handle, State, Step
from model_deployment.core.errors import IllegalTransition
from model_deployment.core.lifecycle import check
from model_deployment.core.merging import Merging
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options


def move(
    connection: sqlite3.Connection, row: Deployment, state: State, reason: str, **changes: Any
) -> Deployment:
    """One compare-and-set update with its event.

    Raises:
        IllegalTransition: the transition is not legal, or the row has changed since it was read.
    """
    if not check(row.state, state):
        raise IllegalTransition(f"cannot move {row.key} from {row.state} to {state}")
    values: dict[str, Any] = {"state": state, "reason": reason, **changes}
    if isinstance(merging := changes.get("merging"), Merging):
        values["merging"] = json.dumps(asdict(merging))
    columns = ", ".join(f"{name} = :{name}" for name in values)
    cursor = connection.execute(
        f"UPDATE deployments SET {columns} WHERE model = :model AND version = :version "  # noqa: S608
        "AND desired = :was_desired AND state = :was_state AND launch_id IS :was_launch "
        "AND tries = :was_tries AND parking = :was_parking",
        values
        | {
            "model": row.key.model,
            "version": row.key.version,
            "was_desired": row.desired,
            "was_state": row.state,
            "was_tries": row.tries,
            "was_parking": row.parking,
            "was_launch": row.launch_id,
        },
    )
    if cursor.rowcount != 1:
        raise IllegalTransition(
            f"cannot move {row.key} to {state}: it is no longer {row.state}, wanted {row.desired}"
        )
    launch_id = changes.get("launch_id") or row.launch_id
    write_event(connection, row.key, row.state, state, launch_id, reason)
    changed = get(connection, row.key)
    assert changed is not None  # noqa: S101
    return changed


def write_event(
    connection: sqlite3.Connection,
    key: ModelKey,
    previous: State | None,
    state: State,
    launch_id: str | None,
    reason: str,
) -> None:
    connection.execute(
        "INSERT INTO events (deployment_id, at, previous, state, launch_id, reason) "
        "SELECT id, ?, ?, ?, ?, ? FROM deployments WHERE model = ? AND version = ?",
        (now(), previous, state, launch_id, reason, key.model, key.version),
    )


def get(connection: sqlite3.Connection, key: ModelKey) -> Deployment | None:
    row = connection.execute(
        "SELECT * FROM deployments WHERE model = ? AND version = ?", (key.model, key.version)
    ).fetchone()
    return read(row) if row else None


def now() -> str:
    """The wall clock in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def read(row: Mapping[str, Any]) -> Deployment:
    handle = None
    if row["handle"] is not None:
        saved = json.loads(row["handle"])
        handle = Handle(row["launch_id"], Address(saved["host"], saved["port"]), saved["ref"])
    return Deployment(
        key=ModelKey(row["model"], row["version"]),
        desired=Desired(row["desired"]),
        state=State(row["state"]),
        step=Step(row["step"]) if row["step"] else None,
        options=Options.from_dict(json.loads(row["options"])),
        artifact=row["artifact"],
        launch_id=row["launch_id"],
        handle=handle,
        port=row["port"],
        tries=row["tries"],
        launches=row["launches"],
        not_before=row["not_before"],
        deadline=row["deadline"],
        ready_since=row["ready_since"],
        ready_at=datetime.fromisoformat(row["ready_at"]) if row["ready_at"] else None,
        created_at=datetime.fromisoformat(row["created_at"]),
        reason=row["reason"],
        parking=bool(row["parking"]),
        session=row["session"],
        memory=row["memory"],
        renewed_at=datetime.fromisoformat(row["renewed_at"]) if row["renewed_at"] else None,
        proven=bool(row["proven"]),
        kills=row["kills"],
        merging=Merging(**json.loads(row["merging"])) if row["merging"] else None,
    )


def read_event(row: Mapping[str, Any]) -> Event:
    return Event(
        at=datetime.fromisoformat(row["at"]),
        previous=State(row["previous"]) if row["previous"] else None,
        state=State(row["state"]),
        launch_id=row["launch_id"],
        reason=row["reason"],
    )
