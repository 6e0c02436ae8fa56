"""Devices: their enrolment, their tokens, their connections, and what has come of them."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from model_deployment.core.device_messages import ReceivedBatch
from model_deployment.core.devices import Device, DeviceProject, Enrolment
from model_deployment.core.errors import Conflict, Forbidden, UnknownDevice
from model_deployment.state import device_rows as rows
from model_deployment.state import enrolling, received
from model_deployment.state.database import Database
from model_deployment.state.device_projects import require
from model_deployment.state.rows import now


class DeviceStore:
    """Reads and changes the rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def enrol(
        self,
        project: DeviceProject,
        code_hash: str,
        groups: Sequence[str],
        device: str | None,
        lifetime: timedelta,
    ) -> Enrolment:
        """Let one device register with a code, of which the SHA-256 is given.

        Args:
            device: the only name that it may take; None: any new one.

        Raises:
            UnknownProject: the project was removed meanwhile.
        """

        def work(connection: sqlite3.Connection) -> Enrolment:
            require(connection, project)
            until = datetime.now(UTC) + lifetime
            return enrolling.add(connection, project.id, code_hash, groups, device, until)

        return await self._database.write(work)

    async def register(
        self,
        project: DeviceProject,
        code_hash: str,
        name: str,
        token_hash: str,
        attributes: Mapping[str, Any],
    ) -> Device:
        """Use a code up, and give the device that sent it a token.

        A device that there was before gets the token in place of its own, and begins a new stream: one that
        was revoked, or that the code names.

        Raises:
            Forbidden: the code is unknown, used or expired (the message does not tell which), or is for
                another name.
            Conflict: another device has the name. The code stays good.
        """

        def work(connection: sqlite3.Connection) -> Device:
            return enrolling.register(
                connection, project.id, code_hash, name, token_hash, json.dumps(attributes)
            )

        return await self._database.write(work)

    async def by_token(self, token_hash: str) -> Device | None:
        """The device with a token that is good."""
        return await self._one(
            "SELECT * FROM devices WHERE token_hash = ? AND revoked_at IS NULL", token_hash
        )

    async def all(self, project: DeviceProject | None = None) -> list[Device]:
        """Every device, or those of a project, by name; with those that are revoked."""

        def work(connection: sqlite3.Connection) -> list[Device]:
            found = connection.execute(
                "SELECT * FROM devices WHERE :project IS NULL OR project_id = :project "
                "ORDER BY name, id",
                {"project": project.id if project else None},
            )
            return [rows.device_of(row) for row in found]

        return await self._database.read(work)

    async def find(self, project: DeviceProject, name: str) -> Device | None:
        """By its name, in which capitals do not matter."""
        return await self._one(
            "SELECT * FROM devices WHERE project_id = ? AND name = ?", project.id, name
        )

    async def get(self, id: int) -> Device | None:
        """As it is now."""
        return await self._one("SELECT * FROM devices WHERE id = ?", id)

    async def change(
        self,
        device: Device,
        *,
        groups: Sequence[str] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Device:
        """Change what an operator may; None leaves as it is.

        Raises:
            UnknownDevice: it was removed meanwhile.
        """
        return await self._change(
            device,
            "groups = coalesce(?, groups), attributes = coalesce(?, attributes)",
            None if groups is None else rows.names_text(groups),
            None if attributes is None else json.dumps(attributes),
        )

    async def revoke(self, device: Device) -> Device:
        """Let its token be good no longer. What its connection sends counts no more.

        Raises:
            UnknownDevice: it was removed meanwhile.
        """
        change = (
            "generation = generation + (revoked_at IS NULL), revoked_at = coalesce(revoked_at, ?)"
        )
        return await self._change(device, change, now())

    async def rotate(self, device: Device, token_hash: str) -> Device:
        """Give it another token. What a connection with the one before sends counts no more.

        Raises:
            UnknownDevice: it was removed meanwhile.
            Conflict: it is revoked.
        """

        def work(connection: sqlite3.Connection) -> Device:
            found = _get(connection, device)
            if found.revoked_at is not None:
                raise Conflict(
                    f"cannot give the device {found.name} another token: it is revoked; let it enrol "
                    f"again with a code"
                )
            change = "token_hash = ?, generation = generation + 1"
            return _set(connection, found, change, token_hash)

        return await self._database.write(work)

    async def remove(self, device: Device) -> None:
        """Remove a device with its updates, commands and messages."""
        await self._database.change("DELETE FROM devices WHERE id = ?", (device.id,))

    async def connect(
        self, device: Device, *, stream: str, agent: str, running: int | None
    ) -> Device:
        """Begin a connection, which takes the place of the one before.

        Args:
            stream: names the device's store of unsent messages; another one than before begins at 1.
            agent: version of the agent.
            running: number of the release that the device runs.

        Raises:
            UnknownDevice: it was removed meanwhile.
            Forbidden: it was revoked meanwhile.
        """

        def work(connection: sqlite3.Connection) -> Device:
            found = _get(connection, device)
            if found.revoked_at is not None:
                raise Forbidden(f"cannot connect the device {found.name}: its token was revoked")
            moment = now()
            received.note_running(connection, found, running, moment)
            change = (
                "generation = generation + 1, received = iif(stream = ?, received, 0), stream = ?, "
                "agent = ?, running = ?, last_seen_at = ?"
            )
            return _set(connection, found, change, stream, stream, agent, running, moment)

        return await self._database.write(work)

    async def poll(
        self,
        device: Device,
        *,
        agent: str,
        running: int | None,
        health: Mapping[str, Any] | None = None,
    ) -> Device:
        """Write what a device without a connection says of itself: it is there.

        Raises:
            UnknownDevice: it was removed meanwhile.
        """

        def work(connection: sqlite3.Connection) -> Device:
            moment = now()
            received.note_running(connection, _get(connection, device), running, moment)
            text = None if health is None else json.dumps(health)
            change = "agent = ?, running = ?, health = coalesce(?, health), last_seen_at = ?"
            return _set(connection, device, change, agent, running, text, moment)

        return await self._database.write(work)

    async def seen(self, signs: Mapping[int, tuple[datetime, Mapping[str, Any] | None]]) -> None:
        """Write when something last came of devices, by id, and what they said of their health.

        Takes thousands in one transaction; a time before the one that is written changes nothing.
        """
        values = [
            (rows.text_of(at), None if health is None else json.dumps(health), id)
            for id, (at, health) in signs.items()
        ]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "UPDATE devices SET last_seen_at = max(coalesce(last_seen_at, ''), ?), "
                "health = coalesce(?, health) WHERE id = ? AND revoked_at IS NULL",
                values,
            )

        await self._database.write(work)

    async def receive(self, batches: Sequence[ReceivedBatch]) -> dict[int, int]:
        """Store messages of many devices in one transaction, each exactly once and in order.

        A message is stored if its number is the one after the last stored of its stream. A lower one was
        stored before; a higher one waits until the device sends those before it. What comes of a revoked
        device, or over an older connection, is ignored.

        Returns:
            The number of the last stored message by id of the device. Without devices of which a batch was
            ignored, or batches were of several streams: they send again.
        """
        return await self._database.write(lambda connection: received.store(connection, batches))

    async def _one(self, query: str, *values: object) -> Device | None:
        def work(connection: sqlite3.Connection) -> Device | None:
            row = connection.execute(query, values).fetchone()
            return rows.device_of(row) if row else None

        return await self._database.read(work)

    async def _change(self, device: Device, change: str, *values: object) -> Device:
        return await self._database.write(lambda c: _set(c, device, change, *values))


def _get(connection: sqlite3.Connection, device: Device) -> Device:
    row = connection.execute("SELECT * FROM devices WHERE id = ?", (device.id,)).fetchone()
    if row is None:
        raise UnknownDevice(f"cannot find the device {device.name}: it was removed meanwhile")
    return rows.device_of(row)


def _set(connection: sqlite3.Connection, device: Device, change: str, *values: object) -> Device:
    connection.execute(f"UPDATE devices SET {change} WHERE id = ?", (*values, device.id))  # noqa: S608
    return _get(connection, device)
