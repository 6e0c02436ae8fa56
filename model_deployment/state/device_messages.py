"""Messages of devices that wait for the document store, and the last lines of devices' logs."""

import json
import sqlite3
from collections.abc import Collection, Iterable
from datetime import UTC, datetime

from model_deployment.core.device_messages import (
    LINES_OF_MESSAGE,
    DeviceLogLine,
    StoredMessage,
)
from model_deployment.core.devices import Device, MessageKind
from model_deployment.state import device_rows as rows
from model_deployment.state.database import Database


class MessageStore:
    """Reads and removes the rows; :meth:`DeviceStore.receive` adds them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pending(self, kinds: Collection[MessageKind], limit: int) -> list[StoredMessage]:
        """The oldest messages of some kinds."""

        def work(connection: sqlite3.Connection) -> list[StoredMessage]:
            # Kind by kind: SQLite would read and sort all that waits.
            oldest = "SELECT id FROM device_messages WHERE kind = ? ORDER BY id LIMIT ?"
            ids = [id for kind in kinds for (id,) in connection.execute(oldest, (kind, limit))]
            found = connection.execute(
                "SELECT m.*, d.name AS device, d.project_id, p.name AS project FROM device_messages m "
                "JOIN devices d ON d.id = m.device_id JOIN device_projects p ON p.id = d.project_id "
                "WHERE m.id IN (SELECT value FROM json_each(?)) ORDER BY m.id",
                (json.dumps(sorted(ids)[:limit]),),
            )
            return [rows.message_of(row) for row in found]

        return await self._database.read(work)

    async def remove(self, ids: Iterable[int]) -> None:
        """Remove messages, which are elsewhere by now."""
        values = [(id,) for id in ids]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM device_messages WHERE id = ?", values)

        await self._database.write(work)

    async def waiting_bytes(self) -> int:
        """Characters of the data of messages that are to go to the document store; reads all of them."""

        def work(connection: sqlite3.Connection) -> int:
            (size,) = connection.execute(
                "SELECT coalesce(sum(length(data)), 0) FROM device_messages "
                "WHERE kind IN ('metrics', 'captures')"
            ).fetchone()
            return int(size)

        return await self._database.read(work)

    async def log(
        self, device: Device, limit: int, before: int | None = None
    ) -> list[DeviceLogLine]:
        """The last lines of a device's log, newest first.

        Args:
            limit: of lines.
            before: id of a line: only older ones.
        """

        def work(connection: sqlite3.Connection) -> list[DeviceLogLine]:
            found = connection.execute(
                "SELECT m.id * :lines + line.key AS id, m.at, line.value AS line "
                "FROM device_messages m, json_each(m.data, '$.lines') AS line "
                "WHERE m.device_id = :device AND m.kind = 'log' "
                "AND (:before IS NULL OR m.id * :lines + line.key < :before) "
                "ORDER BY m.id DESC, line.key DESC LIMIT :limit",
                {"device": device.id, "before": before, "lines": LINES_OF_MESSAGE, "limit": limit},
            )
            return [_line(row) for row in found]

        return await self._database.read(work)


def _line(row: sqlite3.Row) -> DeviceLogLine:
    line = json.loads(row["line"])
    try:
        at = datetime.fromtimestamp(line["at"] / 1000, UTC)
    except (ValueError, OverflowError, OSError):  # the clock of a device may say anything
        at = datetime.fromisoformat(row["at"])
    return DeviceLogLine(id=row["id"], at=at, level=line["level"], text=line["text"])
