"""The calls of devices with their real use cases and a real state database, without loop and sockets.

The registry, and which endpoints serve what, are values of the test.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Collection, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from fastapi import Depends, FastAPI

from model_deployment.api import device_projects, device_registration, problems, releases
from model_deployment.api import devices as device_calls
from model_deployment.api.attempts import Attempts
from model_deployment.api.audit import Audit
from model_deployment.api.device_projects import DeviceProjectCalls
from model_deployment.api.device_registration import DeviceRegistrationCalls
from model_deployment.api.devices import DeviceCalls
from model_deployment.api.releases import ReleaseCalls
from model_deployment.api.unknown_parameters import known_parameters_only
from model_deployment.core.device_messages import ReceivedBatch
from model_deployment.core.devices import Device, DeviceMessage, DeviceProject, MessageKind
from model_deployment.core.domain import State
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import UnknownModel
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import Release, ReleaseState
from model_deployment.devices.collaborators import DeviceParts
from model_deployment.devices.service import Devices
from model_deployment.devices.signing import ReleaseKey
from model_deployment.devices.views import PlaceStats, VersionStats
from model_deployment.registry.values import RegisteredModel, RegisteredVersion
from model_deployment.state.database import Database
from model_deployment.state.device_commands import CommandStore
from model_deployment.state.device_messages import MessageStore
from model_deployment.state.device_projects import DeviceProjectStore
from model_deployment.state.devices import DeviceStore
from model_deployment.state.releases import ReleaseStore

T = TypeVar("T")

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
STREAM = "stream"


class RegisteredModels:
    """A registry with some versions of ``diabetes`` and ``heart``."""

    def __init__(self) -> None:
        self.found = {
            key: RegisteredVersion(key, "READY", AT, metrics={"rmse": 50.0 + key.version})
            for key in (ModelKey("diabetes", 1), ModelKey("diabetes", 2), ModelKey("heart", 1))
        }

    async def models(self) -> list[RegisteredModel]:
        return [RegisteredModel(name, 1) for name in sorted({key.model for key in self.found})]

    async def version(self, key: ModelKey) -> RegisteredVersion:
        if key not in self.found:
            raise UnknownModel(f"cannot find {key}: the registry has no such version")
        return self.found[key]

    async def versions(self, name: str, *, limit: int | None = None) -> list[RegisteredVersion]:
        found = [one for key, one in self.found.items() if key.model == name]
        return sorted(found, key=lambda one: -one.key.version)[:limit]


class NoSockets:
    """Notes what connections are told."""

    def __init__(self) -> None:
        self.told: list[list[int] | None] = []
        #: Ids of devices whose connections had to end.
        self.dropped: list[int] = []

    def tell(self, device_ids: Collection[int] | None) -> None:
        self.told.append(None if device_ids is None else sorted(device_ids))

    def drop(self, device_id: int) -> None:
        self.dropped.append(device_id)

    def online(self) -> set[int]:
        return set()


@dataclass
class DeviceWorld:
    """The use cases, what they work with, and what devices do."""

    database: Database
    registry: RegisteredModels = field(default_factory=RegisteredModels)
    connections: NoSockets = field(default_factory=NoSockets)
    champions: dict[EndpointName, ModelKey | None] = field(default_factory=dict)
    #: Seconds of the clock of the limit of attempts.
    clock: float = 0.0
    key: ReleaseKey = field(default_factory=lambda: ReleaseKey.from_seed(b"k" * 32))

    def __post_init__(self) -> None:
        self.projects = DeviceProjectStore(self.database)
        self.rows = DeviceStore(self.database)
        self.releases = ReleaseStore(self.database)
        self.commands = CommandStore(self.database)
        self.devices = Devices(
            DeviceParts(
                projects=self.projects,
                devices=self.rows,
                releases=self.releases,
                commands=self.commands,
                logs=MessageStore(self.database),
                connections=self.connections,
                key=self._key,
                forget_tokens=lambda: None,
                wake=lambda: None,
                champions=self._champions,
                registry=self.registry,
                deployed=self._deployed,
                measure=self._measure,
                now=lambda: datetime.now(UTC),
            )
        )

    async def _key(self) -> ReleaseKey:
        return self.key

    async def _champions(self) -> Mapping[EndpointName, ModelKey | None]:
        return self.champions

    async def _deployed(self) -> Mapping[ModelKey, State]:
        return {ModelKey("diabetes", 1): State.READY}

    async def _measure(
        self,
        project: DeviceProject,
        running: Mapping[ModelKey, int],
        since: datetime,
        until: datetime,
    ) -> Sequence[VersionStats]:
        place = PlaceStats(10, 12, {"invalid": 1}, 1.0, 2.0, 3.0, {"count": 5, "mean": 150.5})
        key = ModelKey("diabetes", 1)
        told = "predictions differ"
        return [VersionStats(key, running.get(key, 0), place, place, 0.25, told)]

    def application(self) -> FastAPI:
        """An application that has only the calls of devices."""
        app = FastAPI(dependencies=[Depends(known_parameters_only)])
        problems.install(app)
        app.add_middleware(Audit)
        attempts = Attempts(lambda: self.clock)
        for router in (
            device_projects.router(DeviceProjectCalls(self.devices)),
            releases.router(ReleaseCalls(self.devices)),
            device_calls.router(DeviceCalls(self.devices)),
            device_registration.router(DeviceRegistrationCalls(self.devices, attempts)),
        ):
            app.include_router(router)
        return app

    # What the loop and devices do.

    async def registered(self, name: str, *groups: str, project: str = "warehouse") -> Device:
        """A device, as it registers."""
        code = (await self.devices.enrol(project, groups, None, "")).code
        return (await self.devices.register(project, code, name, {"place": "hall 3"})).device

    async def rolled(self, number: int, stage: int, project: str = "warehouse") -> Release:
        """Have a release prepared, and its first stages open, as the loop does."""
        release = (await self.devices.release(project, number)).release
        if release.state is ReleaseState.PREPARING:
            manifest = f'{{"format":1,"number":{number}}}'
            release = await self.releases.move(
                release, ReleaseState.ROLLING, "prepared",
                stage=0, manifest=manifest, signature=self.key.sign(manifest),
            )  # fmt: skip
        if stage > release.stage:
            release = await self.releases.move(
                release, ReleaseState.ROLLING, "next stage", stage=stage
            )
        return release

    async def connected(self, device: Device, running: int | None = None) -> Device:
        return await self.rows.connect(device, stream=STREAM, agent="0.1.0", running=running)

    async def says(self, device: Device, *said: tuple[MessageKind, Mapping[str, Any]]) -> None:
        """Messages of a device that has connected, in order."""
        row = await self.rows.get(device.id)
        assert row is not None
        messages = [
            DeviceMessage(row.received + place, kind, AT, data)
            for place, (kind, data) in enumerate(said, 1)
        ]
        batch = ReceivedBatch(row.id, row.generation, STREAM, messages, datetime.now(UTC))
        assert await self.rows.receive([batch]) == {row.id: row.received + len(said)}


@asynccontextmanager
async def device_world(folder: Path) -> AsyncIterator[DeviceWorld]:
    """A world whose database is in a folder."""
    database = Database(folder / "state.db")
    await database.open()
    # No test of this kind loses power; waiting for the disk is most of its time.
    await database.read(lambda connection: connection.execute("PRAGMA synchronous = OFF"))
    try:
        yield DeviceWorld(database)
    finally:
        await database.close()


class LoopThread:
    """An event loop in a thread, for programs that do not await."""

    def __enter__(self) -> "LoopThread":
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop")
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)
