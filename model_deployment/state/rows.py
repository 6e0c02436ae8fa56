"""Deployments with their launches as rows, and their events; within the transaction of the caller."""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from model_deployment.core.domain import (
    Address,
    Deployment,
    Desired,
    Handle,
    Launch,
    LaunchRole,
    LaunchState,
    Rest,
    State,
    Step,
)
from model_deployment.core.errors import IllegalTransition
from model_deployment.core.events import Event
from model_deployment.core.merging import Merging
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.core.replacement import Replacement, ReplacementState, Strategy

#: The launches of deployments, in the order of :attr:`Deployment.launches`.
_LAUNCHES = (
    "SELECT * FROM launches {where} ORDER BY role = 'retiring', role = 'coming', replica, id"
)

#: A row of ``deployments``, its launches, and its replacement, as SQLite has them.
Raw = tuple[Mapping[str, Any], tuple[Mapping[str, Any], ...], Mapping[str, Any] | None]


def get(connection: sqlite3.Connection, key: ModelKey) -> Deployment | None:
    row = connection.execute(
        "SELECT * FROM deployments WHERE model = ? AND version = ?", (key.model, key.version)
    ).fetchone()
    if row is None:
        return None
    of_it = (row["id"],)
    launches = connection.execute(_LAUNCHES.format(where="WHERE deployment_id = ?"), of_it)
    replacement = connection.execute("SELECT * FROM replacements WHERE deployment_id = ?", of_it)
    return read((row, tuple(launches), replacement.fetchone()))


def each(connection: sqlite3.Connection) -> Iterator[Raw]:
    """What there is of each deployment, oldest first."""
    launches: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for launch in connection.execute(_LAUNCHES.format(where="")):
        launches[launch["deployment_id"]].append(launch)
    replacements = {
        row["deployment_id"]: row for row in connection.execute("SELECT * FROM replacements")
    }
    for row in connection.execute("SELECT * FROM deployments ORDER BY id"):
        yield row, tuple(launches[row["id"]]), replacements.get(row["id"])


def current(connection: sqlite3.Connection, key: ModelKey) -> Deployment:
    """A deployment as it is now.

    Raises:
        IllegalTransition: it is gone.
    """
    found = get(connection, key)
    if found is None:
        raise IllegalTransition(f"cannot change {key}: it is gone")
    return found


def fresh(connection: sqlite3.Connection, row: Deployment) -> Deployment:
    """The deployment as it is now, if nothing has changed that decisions depend on.

    Raises:
        IllegalTransition: it has changed since it was read.
    """
    now = current(connection, row.key)
    if _vital(now) != _vital(row):
        raise IllegalTransition(
            f"cannot change {row.key}: it has just changed (it is {now.state}, wanted {now.desired})"
        )
    return now


def _vital(row: Deployment) -> Deployment:
    """Without what is only measured of it, or written when its processes exist."""
    launches = tuple(replace(one, handle=None) for one in row.launches)
    return replace(row, launches=launches, memory=None, merging=None)


def update(connection: sqlite3.Connection, key: ModelKey, **values: Any) -> Deployment:
    """Set columns of a deployment. Returns it as it is afterwards."""
    columns = ", ".join(f"{name} = :{name}" for name in values)
    connection.execute(
        f"UPDATE deployments SET {columns} WHERE model = :key_model AND version = :key_version",  # noqa: S608
        values | {"key_model": key.model, "key_version": key.version},
    )
    return current(connection, key)


def write_event(
    connection: sqlite3.Connection,
    key: ModelKey,
    previous: State | LaunchState | None,
    state: State | LaunchState,
    reason: str,
    *,
    launch_id: str | None = None,
    replica: int | None = None,
) -> None:
    """Write what happened to a deployment, or to one of its replicas."""
    connection.execute(
        "INSERT INTO events (deployment_id, at, previous, state, launch_id, replica, reason) "
        "SELECT id, ?, ?, ?, ?, ?, ? FROM deployments WHERE model = ? AND version = ?",
        (now(), previous, state, launch_id, replica, reason, key.model, key.version),
    )


def note(
    connection: sqlite3.Connection, row: Deployment, reason: str, launch: Launch | None = None
) -> None:
    """Write an event without a change of state."""
    named = launch or row.leader
    write_event(
        connection, row.key, row.state, row.state, reason,
        launch_id=named.launch_id if named else None, replica=named.replica if named else None,
    )  # fmt: skip


def now() -> str:
    """The wall clock in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def read(raw: Raw) -> Deployment:
    row, launches, replacement = raw
    return Deployment(
        key=ModelKey(row["model"], row["version"]),
        desired=Desired(row["desired"]),
        rest=_rest(row),
        options=_options(row),
        artifact=row["artifact"],
        launches=tuple(map(_launch, launches)),
        generation=row["generation"],
        replicas=row["replicas"],
        starts=row["starts"],
        created_at=datetime.fromisoformat(row["created_at"]),
        parking=row["parking"],
        memory=row["memory"],
        renewed_at=_time(row["renewed_at"]),
        proven=bool(row["proven"]),
        merging=Merging(**json.loads(row["merging"])) if row["merging"] else None,
        deployed_by=row["deployed_by"],
        replacement=None if replacement is None else _replacement(replacement),
    )


def _rest(row: Mapping[str, Any]) -> Rest | None:
    if row["rest"] is None:
        return None
    return Rest(State(row["rest"]), row["rest_reason"], row["rest_tries"])


def _launch(row: Mapping[str, Any]) -> Launch:
    return Launch(
        id=row["id"],
        role=LaunchRole(row["role"]),
        state=LaunchState(row["state"]),
        options=_options(row),
        artifact=row["artifact"],
        generation=row["generation"],
        replica=row["replica"],
        since=datetime.fromisoformat(row["since"]),
        reason=row["reason"],
        step=Step(row["step"]) if row["step"] else None,
        launch_id=row["launch_id"],
        handle=_handle(row["launch_id"], row["handle"]),
        port=row["port"],
        session=row["session"],
        tries=row["tries"],
        kills=row["kills"],
        not_before=row["not_before"],
        deadline=row["deadline"],
        ready_since=row["ready_since"],
        ready_at=_time(row["ready_at"]),
    )


def _replacement(row: Mapping[str, Any]) -> Replacement:
    return Replacement(
        id=row["id"],
        state=ReplacementState(row["state"]),
        strategy=Strategy(row["strategy"]),
        options=_options(row),
        reason=row["reason"],
        purpose=row["purpose"],
        since=datetime.fromisoformat(row["since"]),
        deadline=row["deadline"],
    )


def _options(row: Mapping[str, Any]) -> Options:
    return _read_options(row["options"])


# Each tick of the control loop reads those of all launches, and they seldom change.
@lru_cache(maxsize=1024)
def _read_options(text: str) -> Options:
    return Options.from_dict(json.loads(text))


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def options_text(options: Options) -> str:
    return json.dumps(options.as_dict())


def merging_text(merging: Merging | None) -> str | None:
    return None if merging is None else json.dumps(asdict(merging))


def handle_text(handle: Handle) -> str:
    return json.dumps({**asdict(handle.address), "ref": dict(handle.ref)})


def address_of(saved: Mapping[str, Any]) -> Address:
    """The address in what :func:`handle_text` has written; layouts before 7 have no path."""
    return Address(str(saved["host"]), int(saved["port"]), str(saved.get("path", "")))


def _handle(launch_id: str, text: str | None) -> Handle | None:
    if text is None:
        return None
    saved = json.loads(text)
    return Handle(launch_id, address_of(saved), saved["ref"])


def read_event(row: Mapping[str, Any]) -> Event:
    return Event(
        at=datetime.fromisoformat(row["at"]),
        previous=State(row["previous"]) if row["previous"] else None,
        state=State(row["state"]),
        launch_id=row["launch_id"],
        reason=row["reason"],
        replica=row["replica"],
    )
