"""Endpoints, rollouts and their events as rows."""

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from model_deployment.core.endpoints import (
    Endpoint,
    EndpointName,
    Order,
    Rollout,
    RolloutEvent,
    RolloutKind,
    RolloutState,
)
from model_deployment.core.rollout_policy import RolloutPolicy
from model_deployment.state.rows import now


def endpoint_of(row: Mapping[str, Any]) -> Endpoint:
    return Endpoint(
        id=row["id"],
        name=EndpointName(row["model"], row["alias"]),
        policy=RolloutPolicy.from_dict(json.loads(row["policy"])),
        created_at=datetime.fromisoformat(row["created_at"]),
        champion=row["champion"],
        champion_since=_moment(row["champion_since"]),
        previous=row["previous"],
        previous_until=_moment(row["previous_until"]),
        alias_version=row["alias_version"],
        notice=row["notice"],
        default_at=_moment(row["default_at"]),
        deleting=bool(row["deleting"]),
    )


def rollout_of(row: Mapping[str, Any]) -> Rollout:
    return Rollout(
        id=row["id"],
        endpoint_id=row["endpoint_id"],
        candidate=row["candidate"],
        champion=row["champion"],
        kind=RolloutKind(row["kind"]),
        state=RolloutState(row["state"]),
        step=row["step"],
        order=Order(row["order"]),
        reason=row["reason"],
        evidence=json.loads(row["evidence"]),
        started_at=datetime.fromisoformat(row["started_at"]),
        since=datetime.fromisoformat(row["since"]),
        ended_at=_moment(row["ended_at"]),
    )


def event_of(row: Mapping[str, Any]) -> RolloutEvent:
    return RolloutEvent(
        at=datetime.fromisoformat(row["at"]),
        rollout_id=row["rollout_id"],
        version=row["version"],
        state=RolloutState(row["state"]) if row["state"] else None,
        reason=row["reason"],
        previous=RolloutState(row["previous"]) if row["previous"] else None,
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def get(connection: sqlite3.Connection, name: EndpointName) -> Endpoint | None:
    row = connection.execute(
        "SELECT * FROM endpoints WHERE model = ? AND alias = ?", (name.model, name.alias)
    ).fetchone()
    return endpoint_of(row) if row else None


def newest(connection: sqlite3.Connection, endpoint_id: int) -> Rollout | None:
    """The newest rollout of an endpoint."""
    row = connection.execute(
        "SELECT * FROM rollouts WHERE endpoint_id = ? ORDER BY id DESC LIMIT 1", (endpoint_id,)
    ).fetchone()
    return rollout_of(row) if row else None


def write_event(
    connection: sqlite3.Connection,
    endpoint_id: int,
    rollout: Rollout | None = None,
    state: RolloutState | None = None,
    reason: str = "",
    *,
    previous: RolloutState | None = None,
) -> None:
    connection.execute(
        "INSERT INTO rollout_events (endpoint_id, rollout_id, version, at, previous, state, reason) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            endpoint_id,
            rollout.id if rollout else None,
            rollout.candidate if rollout else None,
            now(),
            previous,
            state,
            reason,
        ),
    )


def text_of(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
