"""Rows of devices in a real state database, and what connections read and write."""

import json
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from model_deployment.core.devices import Device, DeviceProject
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import Release, ReleasePolicy, ReleaseState
from model_deployment.devices.rows import DeviceRows
from model_deployment.state.database import Database
from model_deployment.state.device_commands import CommandStore
from model_deployment.state.device_messages import MessageStore
from model_deployment.state.device_projects import DeviceProjectStore
from model_deployment.state.devices import DeviceStore
from model_deployment.state.releases import ReleaseStore

KEY_ID = "0123456789abcdef"
#: To all devices at once.
AT_ONCE = ReleasePolicy(groups=(), percent=())


@dataclass
class DeviceBase:
    """A state database with one project."""

    database: Database
    rows: DeviceRows
    messages: MessageStore
    project: DeviceProject

    async def enrol(self, name: str, groups: Sequence[str] = ()) -> Device:
        """A registered device, whose token is ``token-<name>``."""
        devices = self.rows.devices
        await devices.enrol(self.project, f"code-{name}", groups, None, timedelta(minutes=15))
        return await devices.register(self.project, f"code-{name}", name, f"token-{name}", {})

    async def release(self, version: int, policy: ReleasePolicy = AT_ONCE) -> Release:
        """A release whose first stage is open."""
        releases = self.rows.releases
        key = ModelKey("diabetes", version)
        begun = await releases.begin(self.project, key, policy, by="ada", reason="test")
        return await releases.move(
            begun, ReleaseState.ROLLING, "signed", stage=0,
            manifest=json.dumps({"number": begun.number}), signature=f"signature {begun.number}",
        )  # fmt: skip

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Another program holds the database: every write fails, after 20 ms."""
        await self.database.read(lambda it: it.execute("PRAGMA busy_timeout = 20").fetchall())
        with closing(sqlite3.connect(self.database.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield

    async def now(self, device: Device) -> Device:
        """The row as it is now."""
        found = await self.rows.devices.get(device.id)
        assert found is not None
        return found


@asynccontextmanager
async def device_base(folder: Path) -> AsyncIterator[DeviceBase]:
    """A new database in a folder, or the one that is there."""
    database = Database(folder / "state.db")
    await database.open()
    rows = DeviceRows(
        DeviceProjectStore(database),
        DeviceStore(database),
        ReleaseStore(database),
        CommandStore(database),
        lambda: KEY_ID,
    )
    try:
        project = await rows.projects.find("hall")
        if project is None:
            project = await rows.projects.create("hall", ["diabetes"])
        yield DeviceBase(database, rows, MessageStore(database), replace(project))
    finally:
        await database.close()
