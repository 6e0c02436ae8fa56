"""A fleet of devices on a real state database: controllers come and go, and time goes by as a test says.

The stores, the loop and the use cases are the real ones. Devices, the files and the webhook are made up.
What has to hold whatever happened is checked after every step (``fleet_checks.py``).
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from model_deployment.core.device_messages import ReceivedBatch
from model_deployment.core.devices import DeviceProject, UpdateState
from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.releases import Release, ReleaseState
from model_deployment.devices.collaborators import DeviceParts, ReleaseCollaborators
from model_deployment.devices.decide import wish
from model_deployment.devices.loop import DeviceLoop
from model_deployment.devices.news import ReleaseNews
from model_deployment.devices.service import Devices
from model_deployment.state.device_commands import CommandStore
from model_deployment.state.device_messages import MessageStore
from model_deployment.state.device_projects import DeviceProjectStore
from model_deployment.state.devices import DeviceStore
from model_deployment.state.releases import ReleaseStore
from tests.support.crash_points import Crash, CrashingDatabase
from tests.support.database_query import query
from tests.support.fast_folder import fast_folder
from tests.support.fleet_agents import Agent
from tests.support.fleet_checks import FleetChecks, check_settled
from tests.support.fleet_world import FleetWorld

PROJECT, MODEL = "halls", "m"
#: How long a manifest lasts.
LIFE = timedelta(days=90)
#: Longer than any pause between two tries, in seconds.
LONG = 700.0


class Fleet(FleetWorld):
    """Devices, the rest of the world, and the controller that is alive in it."""

    projects: DeviceProjectStore
    devices: DeviceStore
    releases: ReleaseStore
    loop: DeviceLoop
    service: Devices
    news: ReleaseNews

    def __init__(self, folder: Path) -> None:
        super().__init__(MODEL, LIFE)
        self.database = CrashingDatabase(folder / "state.db", self.steps)
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
        if killed := await self.steps.kill(work, at):
            await self.gone()
        return killed

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
                by_id[device_id].go_on(wanted, self.now, self.bad)
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

    async def fails_later(self, agent: Agent, number: int) -> None:
        """A device goes back by itself."""
        found = await self.releases.find(await self.project(), number)
        assert found is not None
        agent.say(found, self.now, UpdateState.FAILED, "it died three times")
        await self._send([agent])

    async def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return await query(self.database, sql, *values)

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


@contextlib.contextmanager
def fleet() -> Iterator[Fleet]:
    """A fleet in a folder of its own, with a clock of its own."""
    with fast_folder() as folder, contextlib.ExitStack() as patched:
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
