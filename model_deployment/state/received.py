"""Stores what devices send, each message exactly once; within the transaction of the caller.

A device numbers its messages, and sends each again until it is acknowledged. A message is stored together
with its number, and only if that is the one after the last: so it does not matter how often it comes.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from model_deployment.core.device_messages import LINES_KEPT, BrokenMessage, ReceivedBatch
from model_deployment.core.devices import (
    UNSUCCESSFUL,
    Device,
    DeviceMessage,
    MessageKind,
    UpdateState,
)
from model_deployment.core.releases import UNDECIDED, ReleaseState
from model_deployment.state import device_rows as rows

#: The log of a device is bounded each time that so many of its messages were stored.
_BOUND_EVERY = 50


@dataclass(slots=True)
class _Stream:
    """A device, and how far its stream is stored."""

    device: Device
    stream: str
    received: int


def store(connection: sqlite3.Connection, batches: Sequence[ReceivedBatch]) -> dict[int, int]:
    """Store messages; see :meth:`DeviceStore.receive`."""
    streams: dict[int, _Stream | None] = {}
    named: dict[int, set[str]] = defaultdict(set)
    ignored: set[int] = set()
    for batch in batches:
        named[batch.device_id].add(batch.stream)
        if batch.device_id not in streams:
            streams[batch.device_id] = _stream(connection, batch.device_id)
        stream = streams[batch.device_id]
        if stream is None or not _may_write(stream, batch):
            ignored.add(batch.device_id)
            continue
        before, at = stream.received, rows.text_of(batch.at)
        for message in batch.messages:
            if message.seq == stream.received + 1:
                _store_one(connection, stream, message, batch.at)
                stream.received = message.seq
        connection.execute(
            "UPDATE devices SET stream = ?, received = ?, "
            "last_seen_at = max(coalesce(last_seen_at, ''), ?) WHERE id = ?",
            (stream.stream, stream.received, at, batch.device_id),
        )
        if before // _BOUND_EVERY != stream.received // _BOUND_EVERY:
            bound_log(connection, batch.device_id)
    # A number of one stream must not be taken for one of another.
    clear = {id for id, names in named.items() if len(names) == 1} - ignored
    return {id: one.received for id, one in streams.items() if one and id in clear}


def _stream(connection: sqlite3.Connection, device_id: int) -> _Stream | None:
    row = connection.execute(
        "SELECT * FROM devices WHERE id = ? AND revoked_at IS NULL", (device_id,)
    ).fetchone()
    if row is None:
        return None
    device = rows.device_of(row)
    return _Stream(device, device.stream, device.received)


def _may_write(stream: _Stream, batch: ReceivedBatch) -> bool:
    if batch.generation is not None:
        return batch.generation == stream.device.generation and batch.stream == stream.stream
    if batch.stream != stream.stream:  # nothing but this batch says that the device has a new one
        stream.stream, stream.received = batch.stream, 0
    return True


def _store_one(
    connection: sqlite3.Connection,
    stream: _Stream,
    message: DeviceMessage | BrokenMessage,
    at: datetime,
) -> None:
    received_at = rows.text_of(at)
    if isinstance(message, BrokenMessage):
        complaint: str | None = f"cannot read message {message.seq}: {message.reason}"
    elif (effect := _EFFECTS.get(message.kind)) is not None:
        complaint = effect(connection, stream.device, message.data, received_at)
    else:
        _add_row(connection, stream, message, received_at)
        return
    if complaint is not None:
        line = {"at": round(at.timestamp() * 1000), "level": "error", "text": complaint}
        instead = DeviceMessage(message.seq, MessageKind.LOG, at, {"lines": [line]})
        _add_row(connection, stream, instead, received_at)


def _add_row(
    connection: sqlite3.Connection, stream: _Stream, message: DeviceMessage, received_at: str
) -> None:
    lines = len(message.data["lines"]) if message.kind is MessageKind.LOG else 0
    # A device that goes back to a stream that it had before sends what is there.
    connection.execute(
        "INSERT INTO device_messages (device_id, stream, seq, kind, at, received_at, data, lines) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (device_id, stream, seq) DO NOTHING",
        (
            stream.device.id, stream.stream, message.seq, message.kind, rows.text_of(message.at),
            received_at, json.dumps(message.data), lines,
        ),
    )  # fmt: skip


def _progress(
    connection: sqlite3.Connection, device: Device, data: Mapping[str, Any], at: str
) -> str | None:
    """How far a device is with a release; a complaint where the project has no such release."""
    number, state = data["release"], UpdateState(data["state"])
    release = _release(connection, device, number)
    if release is None:
        return f"cannot note {state} of release {number}: the project has no such release"
    reason = data.get("reason") or ""
    before = _update(connection, device, release["id"])
    connection.execute(
        "INSERT INTO device_updates (device_id, release_id, state, reason, since, bytes, of) "
        "VALUES (:device, :release, :state, :reason, :at, :bytes, :of) ON CONFLICT DO UPDATE SET "
        "since = iif(state = :state, since, :at), state = :state, reason = :reason, bytes = :bytes, "
        "of = :of",
        {"device": device.id, "release": release["id"], "state": state, "reason": reason, "at": at,
         "bytes": data.get("bytes") or 0, "of": data.get("of") or 0},
    )  # fmt: skip
    if state is UpdateState.RUNNING:
        connection.execute("UPDATE devices SET running = ? WHERE id = ?", (number, device.id))
    elif state in UNSUCCESSFUL and before != state:
        _note_failure(connection, device, release, state, reason, at)
    return None


def _note_failure(
    connection: sqlite3.Connection, device: Device, release: Mapping[str, Any], state: UpdateState,
    reason: str, at: str,
) -> None:  # fmt: skip
    """A device that ran a release, and failed, runs the one before again."""
    connection.execute(
        "UPDATE devices SET running = (SELECT r.number FROM device_updates u JOIN releases r "
        "ON r.id = u.release_id WHERE u.device_id = devices.id AND u.state = 'running' "
        "ORDER BY u.since DESC, r.number DESC LIMIT 1) WHERE id = ? AND running = ?",
        (device.id, release["number"]),
    )
    if ReleaseState(release["state"]) in UNDECIDED:
        text = f"{state}: {reason}" if reason else str(state)
        number = release["number"]
        rows.write_event(connection, device.project_id, at, number, text, device=device.name)


def _answer(
    connection: sqlite3.Connection, device: Device, data: Mapping[str, Any], at: str
) -> str | None:
    """What a device says to a command; a complaint where it has no such command."""
    changed = connection.execute(
        "UPDATE device_commands SET answered_at = ?, ok = ?, answer = ?, "
        "delivered_at = coalesce(delivered_at, ?) "
        "WHERE id = ? AND device_id = ? AND answered_at IS NULL",
        (at, bool(data["ok"]), data.get("detail") or "", at, data["id"], device.id),
    )
    if changed.rowcount == 1:
        return None
    return f"cannot note the answer to command {data['id']}: there is no such command without an answer"


#: What becomes of messages that are not rows of their own.
_EFFECTS: Mapping[
    MessageKind, Callable[[sqlite3.Connection, Device, Mapping[str, Any], str], str | None]
] = {MessageKind.PROGRESS: _progress, MessageKind.ANSWER: _answer}


def note_running(
    connection: sqlite3.Connection, device: Device, running: int | None, at: str
) -> None:
    """Note that a device runs a release, where it has reported nothing about that release."""
    release = None if running is None else _release(connection, device, running)
    if release is not None:
        connection.execute(
            "INSERT INTO device_updates (device_id, release_id, state, reason, since) "
            "VALUES (?, ?, 'running', 'it ran when it connected', ?) ON CONFLICT DO NOTHING",
            (device.id, release["id"], at),
        )


def _release(
    connection: sqlite3.Connection, device: Device, number: int
) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = connection.execute(
        "SELECT id, number, state FROM releases WHERE project_id = ? AND number = ?",
        (device.project_id, number),
    ).fetchone()
    return found


def _update(connection: sqlite3.Connection, device: Device, release_id: int) -> str | None:
    found = connection.execute(
        "SELECT state FROM device_updates WHERE device_id = ? AND release_id = ?",
        (device.id, release_id),
    ).fetchone()
    return found["state"] if found else None


def bound_log(connection: sqlite3.Connection, device_id: int) -> None:
    """Keep the newest messages with lines of a device's log, up to :data:`LINES_KEPT` lines."""
    connection.execute(
        "DELETE FROM device_messages WHERE id IN (SELECT id FROM (SELECT id, "
        "sum(lines) OVER (ORDER BY id DESC) AS newer "
        "FROM device_messages WHERE device_id = ? AND kind = 'log') WHERE newer > ?)",
        (device_id, LINES_KEPT),
    )
