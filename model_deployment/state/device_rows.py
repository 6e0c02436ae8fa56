"""Projects, devices, releases and what belongs to them as rows; within the transaction of the caller."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from model_deployment.core.device_messages import StoredMessage
from model_deployment.core.devices import (
    Device,
    DeviceCommand,
    DeviceProject,
    DeviceUpdate,
    Enrolment,
    MessageKind,
    UpdateState,
)
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import (
    FollowedEndpoint,
    Release,
    ReleaseEvent,
    ReleasePolicy,
    ReleaseState,
)

#: Events that are kept of a project, and of single devices of it: thousands of devices may fail or register
#: within a minute, and must not push out what happened to releases.
EVENTS_KEPT = 500


def project_of(row: Mapping[str, Any]) -> DeviceProject:
    return DeviceProject(
        id=row["id"],
        name=row["name"],
        models=tuple(json.loads(row["models"])),
        created_at=datetime.fromisoformat(row["created_at"]),
    )


def followed_of(row: Mapping[str, Any]) -> FollowedEndpoint:
    return FollowedEndpoint(
        project_id=row["id"],
        endpoint=endpoint_name(row["follows"]),
        policy=ReleasePolicy.from_dict(json.loads(row["policy"])),
    )


def enrolment_of(row: Mapping[str, Any]) -> Enrolment:
    return Enrolment(
        id=row["id"],
        project_id=row["project_id"],
        groups=tuple(json.loads(row["groups"])),
        device=row["device"],
        created_at=datetime.fromisoformat(row["created_at"]),
        expires_at=datetime.fromisoformat(row["expires_at"]),
        used_at=_moment(row["used_at"]),
    )


def device_of(row: Mapping[str, Any]) -> Device:
    return Device(
        id=row["id"],
        project_id=row["project_id"],
        name=row["name"],
        groups=tuple(json.loads(row["groups"])),
        attributes=json.loads(row["attributes"]),
        created_at=datetime.fromisoformat(row["created_at"]),
        revoked_at=_moment(row["revoked_at"]),
        last_seen_at=_moment(row["last_seen_at"]),
        agent=row["agent"],
        stream=row["stream"],
        received=row["received"],
        generation=row["generation"],
        running=row["running"],
        health=json.loads(row["health"]),
    )


def release_of(row: Mapping[str, Any]) -> Release:
    return Release(
        id=row["id"],
        project_id=row["project_id"],
        number=row["number"],
        key=ModelKey(row["model"], row["version"]),
        policy=ReleasePolicy.from_dict(json.loads(row["policy"])),
        state=ReleaseState(row["state"]),
        stage=row["stage"],
        reason=row["reason"],
        created_at=datetime.fromisoformat(row["created_at"]),
        created_by=row["created_by"],
        since=datetime.fromisoformat(row["since"]),
        endpoint=endpoint_name(row["endpoint"]) if row["endpoint"] else None,
        reverts=row["reverts"],
        manifest=row["manifest"],
        signature=row["signature"],
        settled_at=_moment(row["settled_at"]),
        told=bool(row["told"]),
    )


def update_of(row: Mapping[str, Any]) -> DeviceUpdate:
    """Of a row of ``device_updates`` with the number of its release."""
    return DeviceUpdate(
        device_id=row["device_id"],
        release_id=row["release_id"],
        number=row["number"],
        state=UpdateState(row["state"]),
        reason=row["reason"],
        since=datetime.fromisoformat(row["since"]),
        bytes=row["bytes"],
        of=row["of"],
    )


def command_of(row: Mapping[str, Any]) -> DeviceCommand:
    return DeviceCommand(
        id=row["id"],
        device_id=row["device_id"],
        name=row["name"],
        value=json.loads(row["value"]),
        created_at=datetime.fromisoformat(row["created_at"]),
        created_by=row["created_by"],
        delivered_at=_moment(row["delivered_at"]),
        answered_at=_moment(row["answered_at"]),
        ok=None if row["ok"] is None else bool(row["ok"]),
        answer=row["answer"],
    )


def message_of(row: Mapping[str, Any]) -> StoredMessage:
    """Of a row of ``device_messages`` with the names of its project and device."""
    return StoredMessage(
        id=row["id"],
        project_id=row["project_id"],
        device_id=row["device_id"],
        project=row["project"],
        device=row["device"],
        stream=row["stream"],
        seq=row["seq"],
        kind=MessageKind(row["kind"]),
        at=datetime.fromisoformat(row["at"]),
        received_at=datetime.fromisoformat(row["received_at"]),
        data=json.loads(row["data"]),
    )


def event_of(row: Mapping[str, Any]) -> ReleaseEvent:
    return ReleaseEvent(
        at=datetime.fromisoformat(row["at"]),
        number=row["number"],
        state=ReleaseState(row["state"]) if row["state"] else None,
        reason=row["reason"],
        previous=ReleaseState(row["previous"]) if row["previous"] else None,
        device=row["device"],
    )


def endpoint_name(text: str) -> EndpointName:
    """The inverse of ``str``. It lets a name pass that was reserved after it was used."""
    model, _, alias = text.rpartition("@")
    return EndpointName(model, alias)


def text_of(moment: datetime) -> str:
    """In UTC, so that the text sorts as the time does."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def names_text(names: Iterable[str]) -> str:
    """Groups or models, each once."""
    return json.dumps([*dict.fromkeys(names)])


def policy_text(policy: ReleasePolicy) -> str:
    return json.dumps(policy.as_dict())


def write_event(
    connection: sqlite3.Connection, project_id: int, at: str, number: int | None, reason: str, *,
    previous: str | None = None, state: str | None = None, device: str | None = None,
) -> None:  # fmt: skip
    """Add an event of a project, and remove those of its kind beyond the newest :data:`EVENTS_KEPT`.

    Args:
        device: name of the device, if it is about one.
    """
    connection.execute(
        "INSERT INTO release_events (project_id, number, device, at, previous, state, reason) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (project_id, number, device, at, previous, state, reason),
    )
    connection.execute(
        "DELETE FROM release_events WHERE project_id = :project AND (device IS NULL) = :whole "
        "AND id <= (SELECT id FROM release_events WHERE project_id = :project "
        "AND (device IS NULL) = :whole ORDER BY id DESC LIMIT 1 OFFSET :kept)",
        {"project": project_id, "whole": device is None, "kept": EVENTS_KEPT},
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
