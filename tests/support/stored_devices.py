"""A state database with projects, devices and releases."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from model_deployment.core.device_messages import BrokenMessage, ReceivedBatch
from model_deployment.core.devices import Device, DeviceMessage, DeviceProject, MessageKind
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import Release, ReleasePolicy, ReleaseState
from model_deployment.state.database import Database
from model_deployment.state.device_commands import CommandStore
from model_deployment.state.device_messages import MessageStore
from model_deployment.state.device_projects import DeviceProjectStore
from model_deployment.state.devices import DeviceStore
from model_deployment.state.releases import ReleaseStore

#: The tables of devices, each with its order.
TABLES = {
    "device_projects": "id", "enrolments": "id", "devices": "id", "releases": "id",
    "release_events": "id", "device_updates": "device_id, release_id", "device_commands": "id",
    "device_messages": "id",
}  # fmt: skip
WHEN = datetime(2026, 1, 31, 12, tzinfo=UTC)
SHORT = timedelta(minutes=15)


class DeviceStores:
    """The open database, and what works on it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.projects, self.devices = DeviceProjectStore(database), DeviceStore(database)
        self.releases, self.commands = ReleaseStore(database), CommandStore(database)
        self.messages = MessageStore(database)

    async def execute(self, statement: str, *values: object) -> list[sqlite3.Row]:
        """One statement, past all rules of the package."""
        return await self.database.write(lambda c: c.execute(statement, values).fetchall())

    async def dump(self) -> dict[str, list[tuple[object, ...]]]:
        """All there is of devices, to see whether anything has changed."""

        def work(connection: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
            return {
                table: [
                    tuple(row)
                    for row in connection.execute(f"SELECT * FROM {table} ORDER BY {order}")
                ]
                for table, order in TABLES.items()
            }

        return await self.database.read(work)

    async def project(self, name: str = "hall") -> DeviceProject:
        """The project of a name, which is made if it is not there."""
        return await self.projects.find(name) or await self.projects.create(name, ["m"])

    async def device(
        self, name: str = "camera", project: str = "hall", groups: Sequence[str] = ()
    ) -> Device:
        """A new device, whose token has the hash ``token of <name>``."""
        found, code = await self.project(project), f"code of {name} in {project}"
        await self.devices.enrol(found, code, groups, None, SHORT)
        token = f"token of {name}" if project == "hall" else f"token of {name} in {project}"
        return await self.devices.register(found, code, name, token, {})

    async def connected(self, name: str = "camera", project: str = "hall") -> Device:
        """A new device with a connection; its stream is ``s``."""
        device = await self.device(name, project)
        return await self.devices.connect(device, stream="s", agent="1.0.0", running=None)

    async def release(
        self, state: ReleaseState = ReleaseState.ROLLING, project: str = "hall", version: int = 1
    ) -> Release:
        """A new release, brought to a state by legal moves."""
        found = await self.project(project)
        key = ModelKey("m", version)
        release = await self.releases.begin(found, key, ReleasePolicy(), by="ann", reason="asked")
        if state in (ReleaseState.PREPARING, ReleaseState.FAILED):
            if state is not ReleaseState.PREPARING:
                release = await self.releases.move(release, state, "it cannot be loaded")
            return release
        release = await self.releases.move(
            release, ReleaseState.ROLLING, "signed",
            manifest=f'{{"number":{release.number}}}', signature="s",
        )  # fmt: skip
        if state is ReleaseState.SUPERSEDED:
            await self.release(ReleaseState.PREPARING, project)
            (release,) = (one for one in await self.releases.all(found, 9) if one.id == release.id)
        elif state is not ReleaseState.ROLLING:
            release = await self.releases.move(release, state, "so it is")
        return release

    async def receive(
        self, device: Device, *messages: DeviceMessage | BrokenMessage, stream: str = "s"
    ) -> int | None:
        """What is acknowledged of messages that come over a connection, the newest one of ``device``."""
        batch = ReceivedBatch(device.id, device.generation, stream, messages, WHEN)
        return (await self.devices.receive([batch])).get(device.id)

    async def receive_polled(
        self, device: Device, *messages: DeviceMessage | BrokenMessage, stream: str = "s"
    ) -> int | None:
        """As :meth:`receive`, without a connection."""
        batch = ReceivedBatch(device.id, None, stream, messages, WHEN)
        return (await self.devices.receive([batch])).get(device.id)

    async def reread(self, device: Device) -> Device:
        """The device as it is now."""
        found = await self.devices.get(device.id)
        assert found is not None
        return found


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[DeviceStores]:
    """The stores of a folder."""
    database = Database(folder / "state.db")
    await database.open()
    try:
        yield DeviceStores(database)
    finally:
        await database.close()


def progress(seq: int, release: int, state: str, reason: str = "", **more: int) -> DeviceMessage:
    data = {"release": release, "state": state, "reason": reason, "bytes": 0, "of": 0}
    return DeviceMessage(seq, MessageKind.PROGRESS, WHEN, data | more)


def metrics(seq: int, minute: int = 0) -> DeviceMessage:
    return DeviceMessage(seq, MessageKind.METRICS, WHEN, {"minute": minute})


def log(seq: int, *texts: str, at: int = 0) -> DeviceMessage:
    lines = [{"at": at, "level": "info", "text": text} for text in texts]
    return DeviceMessage(seq, MessageKind.LOG, WHEN, {"lines": lines})


def answer(seq: int, command: int, ok: bool = True, detail: str = "") -> DeviceMessage:
    return DeviceMessage(seq, MessageKind.ANSWER, WHEN, {"id": command, "ok": ok, "detail": detail})
