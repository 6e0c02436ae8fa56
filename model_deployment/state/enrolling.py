"""Codes of enrolments, and the devices that register with them; within the transaction of the caller."""

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from model_deployment.core.devices import Device, Enrolment
from model_deployment.core.errors import Conflict, Forbidden
from model_deployment.state import device_rows as rows
from model_deployment.state.rows import now

#: Codes are kept so long after they expired, for people who look what became of them.
_KEPT = timedelta(days=1)


def add(
    connection: sqlite3.Connection, project_id: int, code_hash: str, groups: Sequence[str],
    device: str | None, until: datetime,
) -> Enrolment:  # fmt: skip
    """Write a code, and remove those that expired long ago."""
    old = rows.text_of(datetime.now(UTC) - _KEPT)
    connection.execute("DELETE FROM enrolments WHERE expires_at < ?", (old,))
    connection.execute(
        "INSERT INTO enrolments (project_id, code_hash, groups, device, created_at, expires_at) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (project_id, code_hash, rows.names_text(groups), device, now(), rows.text_of(until)),
    )
    added = _code(connection, project_id, code_hash)
    assert added is not None  # noqa: S101 - it was inserted
    return added


def register(
    connection: sqlite3.Connection, project_id: int, code_hash: str, name: str, token_hash: str,
    attributes: str,
) -> Device:  # fmt: skip
    """Use a code up for a device; see :meth:`DeviceStore.register`.

    Args:
        attributes: JSON.
    """
    code = _good_code(connection, project_id, code_hash, name)
    before = connection.execute(
        "SELECT * FROM devices WHERE project_id = ? AND name = ?", (project_id, name)
    ).fetchone()
    groups = code.groups
    if before is not None and before["revoked_at"] is None:
        if code.device is None:
            raise Conflict(
                f"cannot register the device {name}: the project has a device {before['name']}; choose "
                f"another name, revoke that device, or make a code for this name"
            )
        groups = code.groups or rows.device_of(before).groups
    moment = now()
    connection.execute("UPDATE enrolments SET used_at = ? WHERE id = ?", (moment, code.id))
    if before is None:
        connection.execute(
            "INSERT INTO devices (project_id, name, token_hash, groups, attributes, created_at) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (project_id, name, token_hash, rows.names_text(groups), attributes, moment),
        )
    else:
        # It has lost what it had, or it is another machine in the place of the first one.
        connection.execute(
            "UPDATE devices SET name = ?, token_hash = ?, groups = ?, attributes = ?, revoked_at = NULL, "
            "stream = '', received = 0, generation = generation + 1, running = NULL WHERE id = ?",
            (name, token_hash, rows.names_text(groups), attributes, before["id"]),
        )
        connection.execute("DELETE FROM device_updates WHERE device_id = ?", (before["id"],))
    row = connection.execute("SELECT * FROM devices WHERE token_hash = ?", (token_hash,)).fetchone()
    return rows.device_of(row)


def _good_code(
    connection: sqlite3.Connection, project_id: int, code_hash: str, name: str
) -> Enrolment:
    code = _code(connection, project_id, code_hash)
    if code is None or code.used_at is not None or code.expires_at <= datetime.now(UTC):
        raise Forbidden(
            f"cannot register the device {name}: the code is unknown, was used before, or has expired; "
            f"ask an operator of the project for a new one"
        )
    if code.device is not None and code.device.lower() != name.lower():
        raise Forbidden(f"cannot register the device {name}: the code is for another name")
    return code


def _code(connection: sqlite3.Connection, project_id: int, code_hash: str) -> Enrolment | None:
    row = connection.execute(
        "SELECT * FROM enrolments WHERE code_hash = ? AND project_id = ?", (code_hash, project_id)
    ).fetchone()
    return rows.enrolment_of(row) if row else None
