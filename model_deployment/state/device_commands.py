"""Commands to devices, and their answers."""

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from model_deployment.core.devices import Device, DeviceCommand, DeviceProject
from model_deployment.state import device_rows as rows
from model_deployment.state.database import Database
from model_deployment.state.rows import now

#: Commands that are kept of a device.
COMMANDS_KEPT = 100


class CommandStore:
    """Reads and changes the rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def order(
        self, device_ids: Iterable[int], name: str, value: Any, by: str
    ) -> list[DeviceCommand]:
        """Give devices a command, in place of one of the same name that they have not answered.

        Args:
            value: JSON.

        Returns:
            A command for each device; none for one that was revoked or removed.
        """
        text, wanted = json.dumps(value), [*dict.fromkeys(device_ids)]

        def work(connection: sqlite3.Connection) -> list[DeviceCommand]:
            moment = now()
            return [
                command
                for id in wanted
                for command in _order(connection, id, name, text, moment, by)
            ]

        return await self._database.write(work)

    async def open(self, device: Device) -> list[DeviceCommand]:
        """The commands without an answer, oldest first. Some may have been delivered."""
        return await self._many(
            "SELECT * FROM device_commands WHERE device_id = ? AND answered_at IS NULL ORDER BY id",
            device.id,
        )

    async def open_of(self, device_ids: Iterable[int]) -> dict[int, list[DeviceCommand]]:
        """As :meth:`open`, of many devices, by the id of the device; those without any are missing."""
        found = await self._many(
            "SELECT * FROM device_commands WHERE device_id IN (SELECT value FROM json_each(?)) "
            "AND answered_at IS NULL ORDER BY id",
            json.dumps([*device_ids]),
        )
        by_device: dict[int, list[DeviceCommand]] = {}
        for one in found:
            by_device.setdefault(one.device_id, []).append(one)
        return by_device

    async def deliver(self, ids: Iterable[int]) -> None:
        """Write that commands were sent to their devices."""
        values = [*ids]

        def work(connection: sqlite3.Connection) -> None:
            moment = now()
            connection.executemany(
                "UPDATE device_commands SET delivered_at = ? WHERE id = ? AND delivered_at IS NULL",
                [(moment, id) for id in values],
            )

        await self._database.write(work)

    async def of(self, device: Device, limit: int) -> list[DeviceCommand]:
        """Newest first."""
        return await self._many(
            "SELECT * FROM device_commands WHERE device_id = ? ORDER BY id DESC LIMIT ?",
            device.id, limit,
        )  # fmt: skip

    async def of_project(self, project: DeviceProject, limit: int) -> list[DeviceCommand]:
        """Those of all its devices, newest first."""
        return await self._many(
            "SELECT * FROM device_commands WHERE device_id IN "
            "(SELECT id FROM devices WHERE project_id = ?) ORDER BY id DESC LIMIT ?",
            project.id, limit,
        )  # fmt: skip

    async def _many(self, query: str, *values: object) -> list[DeviceCommand]:
        def work(connection: sqlite3.Connection) -> list[DeviceCommand]:
            return [rows.command_of(row) for row in connection.execute(query, values)]

        return await self._database.read(work)


def _order(
    connection: sqlite3.Connection, device_id: int, name: str, value: str, moment: str, by: str
) -> list[DeviceCommand]:
    connection.execute(
        "DELETE FROM device_commands WHERE device_id = ? AND name = ? AND answered_at IS NULL",
        (device_id, name),
    )
    added = connection.execute(
        "INSERT INTO device_commands (device_id, name, value, created_at, created_by) "
        "SELECT id, ?, ?, ?, ? FROM devices WHERE id = ? AND revoked_at IS NULL RETURNING *",
        (name, value, moment, by, device_id),
    ).fetchall()
    connection.execute(
        "DELETE FROM device_commands WHERE device_id = :device AND id <= (SELECT id FROM "
        "device_commands WHERE device_id = :device ORDER BY id DESC LIMIT 1 OFFSET :kept)",
        {"device": device_id, "kept": COMMANDS_KEPT},
    )
    return [rows.command_of(row) for row in added]
