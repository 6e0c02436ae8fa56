"""A fleet of devices on a real state database: controllers come and go, and time goes by as a test says.

The stores, the loop and the use cases are the real ones. Devices, the files and the webhook are made up.
What has to hold whatever happened is checked after every step (``fleet_checks.py``).
"""

import asyncio
import contextlib
import hashlib
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from model_deployment.alerts.alert import Alert
from model_deployment.core.device_messages import ReceivedBatch
from model_deployment.core.devices import (
    DeviceMessage,
    DeviceProject,
    MessageKind,
    UpdateState,
)
from model_deployment.core.domain import State
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import (
    ModelDeploymentError,
    RegistryUnavailable,
    UnknownModel,
)
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import (
    Release,
    ReleaseState,
)
from model_deployment.devices.collaborators import DeviceParts, ReleaseCollaborators
from model_deployment.devices.decide import wish
from model_deployment.devices.loop import DeviceLoop
from model_deployment.devices.manifest import (
    NoOnnxForm,
    ReleaseFile,
    ReleaseManifest,
    UnfitRelease,
    wanted_blobs,
)
from model_deployment.devices.news import ReleaseNews
from model_deployment.devices.service import Devices
from model_deployment.devices.signing import ReleaseKey
from model_deployment.devices.views import VersionStats
from model_deployment.registry.values import RegisteredModel, RegisteredVersion
from model_deployment.state.device_commands import CommandStore
from model_deployment.state.device_messages import MessageStore
from model_deployment.state.device_projects import DeviceProjectStore
from model_deployment.state.devices import DeviceStore
from model_deployment.state.releases import ReleaseStore
from tests.support.crash_points import Crash, CrashingDatabase
from tests.support.fleet_checks import FleetChecks, check_settled
from tests.support.rollout_simulation import FatalPoints
from tests.support.simulation import FAST

PROJECT, MODEL = "halls", "m"
#: How long a manifest lasts.
LIFE = timedelta(days=90)
#: Longer than any pause between two tries, in seconds.
LONG = 700.0
_KEY = ReleaseKey.from_seed(bytes(32))


@dataclass(slots=True)
class Agent:
    """A device, as it is by itself."""

    name: str
    id: int
    online: bool = True
    #: It takes so many looks for an update.
    looks: int = 1
    #: It never says what came of an update.
    mute: bool = False
    sent: int = 0
    unsent: list[DeviceMessage] = field(default_factory=list)
    #: Highest number that it has accepted.
    accepted: int = 0
    #: Version that it runs, and every number that it ran.
    version: int | None = None
    ran: set[int] = field(default_factory=set)
    #: By number: looks so far. Negative: it is done with it.
    busy: dict[int, int] = field(default_factory=dict)


class Fleet:
    """The world, and the controller that is alive in it."""

    projects: DeviceProjectStore
    devices: DeviceStore
    releases: ReleaseStore
    loop: DeviceLoop
    service: Devices
    news: ReleaseNews

    def __init__(self, folder: Path) -> None:
        self.steps = FatalPoints()
        self.database = CrashingDatabase(folder / "state.db", self.steps)
        self.now = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
        self.agents: dict[str, Agent] = {}
        #: Versions that fail on devices, that cannot be released, and whose files are away for now.
        self.bad: set[int] = set()
        self.unfit: set[int] = set()
        self.away: set[int] = set()
        self.champions: dict[EndpointName, ModelKey | None] = {}
        #: The blobs that there are.
        self.files: set[str] = set()
        self.alerts: list[Alert] = []
        self.told: list[Collection[int] | None] = []
        self.dropped: list[int] = []
        self.tokens_forgotten = 0
        self._ids = count(1)
        self._checks = FleetChecks()

    # The controller.

    async def start(self) -> None:
        """A new controller on the same files."""
        self.steps.dead = False
        self.database = CrashingDatabase(self.database.path, self.steps)
        await self.database.open()
        self.projects = DeviceProjectStore(self.database)
        self.devices = DeviceStore(self.database)
        self.releases = ReleaseStore(self.database)
        self.news = ReleaseNews(self._webhook, self.releases.note_told)
        self.loop = DeviceLoop(
            ReleaseCollaborators(
                projects=self.projects,
                devices=self.devices,
                releases=self.releases,
                publisher=self,
                tell=self.told.append,
                champions=self._champions,
                ended=self.news.tell,
                now=lambda: self.now,
            )
        )
        self.service = Devices(
            DeviceParts(
                projects=self.projects,
                devices=self.devices,
                releases=self.releases,
                commands=CommandStore(self.database),
                logs=MessageStore(self.database),
                connections=self,
                key=self._key,
                forget_tokens=self._forget_tokens,
                wake=self.loop.wake,
                champions=self._champions,
                registry=self,
                deployed=self._deployed,
                measure=self._measure,
                now=lambda: self.now,
            )
        )

    async def gone(self) -> None:
        """The controller is killed."""
        self.steps.dead = True
        await self.news.close()
        await self.loop.close()
        await self.database.close()

    async def crashes(self, work: Callable[[], Awaitable[object]], at: int) -> bool:
        """Kill the controller at some point of the work. False if the work has no such point."""
        self.steps.arm(at)
        with contextlib.suppress(Crash, ModelDeploymentError):
            await work()
        self.steps.disarm()
        if self.steps.dead:
            await self.gone()
        return self.steps.dead

    async def tick(self, seconds: float = 1.0) -> bool:
        """Time goes by, devices do what they should, the loop ticks; then all is checked."""
        self.now += timedelta(seconds=seconds)
        await self.devices_go_on()
        changed = await self.look()
        await self.check()
        return changed

    async def look(self) -> bool:
        """One tick of the loop, with all that it begins."""
        changed = await self.loop.tick()
        names = ("preparation of", "renewal of", "news of")
        for _ in range(2000):
            if not [one for one in asyncio.all_tasks() if one.get_name().startswith(names)]:
                break
            await asyncio.sleep(0)
        if self.steps.dead:
            raise Crash(self.steps.name)
        return changed

    async def ticks(self, times: int, seconds: float = 1.0) -> None:
        for _ in range(times):
            await self.tick(seconds)

    async def quiet(self, limit: int = 60, seconds: float = 1.0) -> int:
        """Tick until nothing is under way; the number of ticks that it took."""
        for number in range(limit):
            await self.tick(seconds)
            if not await self.releases.undecided() and not await self.tick(seconds):
                return number
        raise AssertionError(f"it does not end: {await self.releases.undecided()}")

    async def project(self) -> DeviceProject:
        found = await self.projects.find(PROJECT)
        assert found is not None
        return found

    async def newest(self) -> Release:
        return (await self.releases.all(await self.project(), 1))[0]

    async def states(self) -> dict[int, str]:
        """State of each release by its number."""
        found = await self.releases.all(await self.project(), 1000)
        return {one.number: str(one.state) for one in reversed(found)}

    # Its collaborators.

    async def prepare(self, project: DeviceProject, release: Release) -> SimpleNamespace:
        version = release.key.version
        await self.steps.step("before the preparation")
        if version in self.away:
            raise RegistryUnavailable("cannot fetch the model: the registry does not answer")
        if version in self.unfit:
            raise UnfitRelease(f"cannot release {release.key}: it has no file")
        self.files.add(_blob(version))
        await self.steps.step("after the preparation")
        return self._signed(project, release)

    async def renew(self, project: DeviceProject, release: Release) -> SimpleNamespace:
        await self.steps.step("during the renewal")
        return self._signed(project, release)

    def _signed(self, project: DeviceProject, release: Release) -> SimpleNamespace:
        text = ReleaseManifest(
            project=project.name,
            number=release.number,
            key=release.key,
            created=self.now,
            expires=self.now + LIFE,
            files=(ReleaseFile("model/MLmodel", 10, _blob(release.key.version)),),
            onnx=NoOnnxForm("not wanted"),
            example=None,
            answer=None,
            reverts=release.reverts,
        ).text()
        return SimpleNamespace(manifest=text, signature=_KEY.sign(text))

    async def tidy(self, manifests: Sequence[str]) -> None:
        self.files &= {*wanted_blobs(manifests)}

    def tell(self, device_ids: Collection[int] | None) -> None:
        self.told.append(device_ids)

    def drop(self, device_id: int) -> None:
        self.dropped.append(device_id)

    def online(self) -> set[int]:
        return {one.id for one in self.agents.values() if one.online}

    async def models(self) -> list[RegisteredModel]:
        return [RegisteredModel(name, 9) for name in (MODEL, "n")]

    async def version(self, key: ModelKey) -> RegisteredVersion:
        if key.version > 9:
            raise UnknownModel(f"cannot find {key}: the registry has no such version")
        status = "PENDING_REGISTRATION" if key.version == 9 else "READY"
        return RegisteredVersion(key, status, self.now, metrics={"rmse": float(key.version)})

    async def versions(self, name: str, *, limit: int | None = None) -> list[RegisteredVersion]:
        if name == "n":
            raise UnknownModel("cannot find n: the registry has no such model")
        return [await self.version(ModelKey(name, number)) for number in (3, 2, 1)]

    async def _champions(self) -> Mapping[EndpointName, ModelKey | None]:
        return dict(self.champions)

    async def _deployed(self) -> Mapping[ModelKey, State]:
        return {ModelKey(MODEL, 1): State.READY}

    async def _key(self) -> ReleaseKey:
        return _KEY

    async def _measure(
        self,
        project: DeviceProject,
        running: Mapping[ModelKey, int],
        since: datetime,
        until: datetime,
    ) -> Sequence[VersionStats]:
        raise NotImplementedError

    def _forget_tokens(self) -> None:
        self.tokens_forgotten += 1

    async def _webhook(self, alert: Alert) -> None:
        await self.steps.step("before the webhook")
        self.alerts.append(alert)
        await self.steps.step("after the webhook")

    # The devices.

    async def join(self, *groups: str, name: str = "", online: bool = True) -> Agent:
        """A device registers."""
        name = name or f"d{next(self._ids)}"
        code = (await self.service.enrol(PROJECT, groups, None, "op")).code
        found = await self.service.register(PROJECT, code, name, {})
        agent = Agent(name, found.device.id, online)
        self.agents[name] = agent
        return agent

    async def joined(self, number: int, *groups: str, online: bool = True) -> list[Agent]:
        return [await self.join(*groups, online=online) for _ in range(number)]

    async def devices_go_on(self) -> None:
        """Each device that is there hears what it should run, and goes on with it."""
        project = await self.project()
        offerable = await self.releases.offerable(project)
        by_id = {one.id: one for one in self.agents.values()}
        rows = [one for one in await self.devices.all(project) if one.id in by_id]
        there = [one for one in rows if by_id[one.id].online and one.revoked_at is None]
        wishes = {one.id: wish(one, offerable) for one in there}
        offers: dict[int, list[int]] = defaultdict(list)
        for device_id, wanted in wishes.items():
            if wanted is not None:
                offers[wanted.number].append(device_id)
                self._goes_on(by_id[device_id], wanted)
        await self.devices.seen({one.id: (self.now, None) for one in there})
        for release in offerable:
            if ids := offers.get(release.number):
                await self.releases.offer(release, ids)
        await self._send([by_id[one.id] for one in there])

    async def _send(self, agents: Sequence[Agent]) -> None:
        """Devices send again what was not acknowledged."""
        batches = [
            ReceivedBatch(one.id, None, "stream", [*one.unsent], self.now)
            for one in agents
            if one.unsent
        ]
        stored = await self.devices.receive(batches)
        for one in agents:
            one.unsent = [each for each in one.unsent if each.seq > stored.get(one.id, 0)]

    def _goes_on(self, agent: Agent, wanted: Release) -> None:
        looks = agent.busy.get(wanted.number, 0)
        if looks < 0 or agent.mute:
            return
        if wanted.number < agent.accepted:
            agent.busy[wanted.number] = -1
            text = f"release {wanted.number} is older than {agent.accepted}"
            self._says(agent, wanted, UpdateState.REFUSED, text)
            return
        agent.accepted = wanted.number
        agent.busy[wanted.number] = looks + 1
        if looks + 1 < agent.looks:
            self._says(agent, wanted, UpdateState.DOWNLOADING)
            return
        agent.busy[wanted.number] = -1
        if wanted.key.version in self.bad:
            self._says(agent, wanted, UpdateState.FAILED, "the model answers NaN")
            return
        agent.version = wanted.key.version
        agent.ran.add(wanted.number)
        self._says(agent, wanted, UpdateState.RUNNING)

    def _says(self, agent: Agent, release: Release, state: UpdateState, reason: str = "") -> None:
        agent.sent += 1
        data = {"release": release.number, "state": str(state), "reason": reason}
        agent.unsent.append(DeviceMessage(agent.sent, MessageKind.PROGRESS, self.now, data))

    async def fails_later(self, agent: Agent, number: int) -> None:
        """A device goes back by itself."""
        found = await self.releases.find(await self.project(), number)
        assert found is not None
        self._says(agent, found, UpdateState.FAILED, "it died three times")
        await self._send([agent])

    async def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        def work(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in connection.execute(sql, values)]

        return await self.database.read(work)

    async def check(self) -> None:
        """What holds after every tick."""
        await self._checks.check(self)

    async def settle(self) -> None:
        """Remove all trouble; then everything has to end in bounded time."""
        self.away.clear()
        for agent in self.agents.values():
            agent.online, agent.mute = True, False
        for release in await self.releases.undecided():
            if release.state is ReleaseState.PAUSED:
                with contextlib.suppress(ModelDeploymentError):
                    await self.service.resume(PROJECT, release.number, "")
        await self.quiet(80, LONG)
        await self.ticks(5, LONG)
        await check_settled(self)


def _blob(version: int) -> str:
    return hashlib.sha256(str(version).encode()).hexdigest()


@contextlib.contextmanager
def fleet() -> Iterator[Fleet]:
    """A fleet in a folder of its own, with a clock of its own."""
    with (
        tempfile.TemporaryDirectory(dir=FAST if FAST.is_dir() else None) as folder,
        contextlib.ExitStack() as patched,
    ):
        it = Fleet(Path(folder))
        clock = SimpleNamespace(monotonic=lambda: 1.0 * it.now.timestamp())
        for name in ("loop", "preparation"):
            patched.enter_context(patch(f"model_deployment.devices.{name}.time", clock))
        for name in ("releases", "devices"):
            spelled = lambda: it.now.isoformat(timespec="milliseconds")  # noqa: E731
            patched.enter_context(patch(f"model_deployment.state.{name}.now", spelled))
        try:
            yield it
        finally:
            it.database.discard()
