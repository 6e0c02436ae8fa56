"""Endpoints on a real state database, with made-up deployments, aliases, findings and proxies.

Controllers come and go; time goes by only when a test says so. What has to hold whatever happened is
checked after every step, with SQL of its own.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

from model_deployment.control.controller import Controller
from model_deployment.core.domain import Deployment, Desired, State
from model_deployment.core.endpoints import (
    Endpoint,
    EndpointName,
    EndpointRoute,
    Rollout,
    RolloutState,
)
from model_deployment.core.errors import (
    Conflict,
    NotDeployed,
    NotEnoughMemory,
    RegistryUnavailable,
    UnknownModel,
)
from model_deployment.core.names import ModelKey
from model_deployment.core.options import OptionOverrides, Options
from model_deployment.core.rollout_counts import ArmCounts, RolloutCounts, StageCounts
from model_deployment.endpoints.aliases import AliasWatch
from model_deployment.endpoints.collaborators import Candidate, RolloutCollaborators
from model_deployment.endpoints.decide import Work
from model_deployment.endpoints.findings import CandidateFinding, Judgement, Outcome
from model_deployment.endpoints.kept_ready import KeptReady
from model_deployment.endpoints.loop import EndpointLoop
from model_deployment.endpoints.service import Endpoints
from model_deployment.endpoints.usage import needed_ready
from model_deployment.state.endpoint_rows import text_of
from model_deployment.state.endpoints import EndpointStore
from model_deployment.state.rollouts import RolloutStore
from tests.support.crash_points import Crash, CrashingDatabase, FatalPoints
from tests.support.database_query import query
from tests.support.deployment_steps import go_on
from tests.support.fast_folder import fast_folder
from tests.support.rollout_checks import check_events, check_rest, check_route
from tests.support.stored import Store

MODEL = "m"
#: Longer than any pause between two tries.
LONG = 100.0


class HastyEndpoints(Endpoints):
    """Writes what operators want, and waits for nothing."""

    async def _until(self, done: Callable[[], Awaitable[bool]], limit: float) -> None:
        await done()

    async def _ticked(self) -> None:
        return


class RolloutSimulation:
    """The world, and the controller that is alive in it."""

    store: EndpointStore
    rollouts: RolloutStore
    loop: EndpointLoop
    service: HastyEndpoints
    deployed: Store

    def __init__(self, folder: Path) -> None:
        self.steps = FatalPoints()
        self.database = CrashingDatabase(folder / "state.db", self.steps)
        #: Of the monotonic clock.
        self.now = 1000.0
        self.aliases: dict[str, int] = {}
        self.registry_error: Exception | None = None
        self.memory_short = False
        self.findings = dict.fromkeys((Work.CHECK, Work.REPLAY), Outcome.PASSED)
        self.judged = Outcome.PASSED
        #: Requests that the candidate answers in each stage.
        self.requests = 1000
        #: Versions that end when they start.
        self.broken: set[int] = set()
        #: What persons have deployed, and what was undeployed.
        self.persons: set[ModelKey] = set()
        #: Ends that the world was told of, in order.
        self.ended: dict[tuple[int, RolloutState], None] = {}
        self.routes: list[EndpointRoute] = []
        self.faults: list[str] = []
        self._served: set[EndpointName] = set()
        self._launches = count(1)

    # The controller.

    async def start(self) -> None:
        """A new controller on the same files."""
        self.steps.dead = False
        self.database = CrashingDatabase(self.database.path, self.steps)
        await self.database.open()
        self.deployed = Store(self.database, self._launches)
        await self.deployed.ports.fill()
        self.store, self.rollouts = EndpointStore(self.database), RolloutStore(self.database)
        watch = AliasWatch(self._ask, 5.0)
        world = RolloutCollaborators(
            store=self.store,
            rollouts=self.rollouts,
            deployments=self.deployed.deployments,
            controller=cast(Controller, self),
            publish=self._publish,
            routed=lambda: self.steps.step("routed"),
            counts=self._counts,
            examine={work: self._examine(work) for work in self.findings},
            judge=lambda *_: ({}, Judgement(self.judged, "so it was counted")),
            memory_short=lambda: False,
            ended=lambda endpoint, rollout: self.ended.setdefault((rollout.id, rollout.state)),
        )
        self.loop = EndpointLoop(world, watch, KeptReady())
        self.service = HastyEndpoints(
            self._ask,
            store=self.store,
            rollouts=self.rollouts,
            deployments=self.deployed.deployments,
            loop=self.loop,
            compare=self._compare,
        )

    async def _compare(self, endpoint: Endpoint, rollout: Rollout) -> dict[str, Any]:
        return {"rollout": rollout.id}

    async def gone(self) -> None:
        """The controller is killed."""
        self.steps.dead = True
        await self.loop.close()
        await self.database.close()

    async def crashes(self, work: Callable[[], Awaitable[object]], at: int) -> bool:
        """Kill the controller at some point of the work. False if the work has no such point."""
        if killed := await self.steps.kill(work, at):
            await self.gone()
        return killed

    async def tick(self, seconds: float = 0.0) -> bool:
        """Let time go by, look once, let what was begun end, and check."""
        changed = await self.look(seconds)
        await self.check()
        return changed

    async def look(self, seconds: float = 0.0) -> bool:
        """:meth:`tick` without a check: something else may have happened meanwhile."""
        self.now += seconds
        changed = await self.loop.tick()
        await self._background()
        return changed

    async def _background(self) -> None:
        """What was begun beside the tick goes on until it ends."""
        names = ("aliases of", *(f"{work} of" for work in Work))
        for _ in range(500):
            if not [t for t in asyncio.all_tasks() if t.get_name().startswith(names)]:
                break
            await asyncio.sleep(0)
        if self.steps.dead:
            raise Crash(self.steps.name)

    # Its collaborators.

    async def _ask(self, model: str) -> dict[str, int]:
        if self.registry_error is not None:
            raise self.registry_error
        return dict(self.aliases)

    def _examine(self, work: Work) -> Callable[[Candidate], Awaitable[CandidateFinding]]:
        async def look(candidate: Candidate) -> CandidateFinding:
            await self.steps.step(f"during the {work}")
            return CandidateFinding(self.findings[work], f"the {work} says so")

        return look

    def _counts(self, rollout: int) -> dict[str, RolloutCounts]:
        stages = ("shadow", "canary-0", "canary-1", "canary-2")
        arm = ArmCounts(requests=self.requests)
        return {"proxy": {stage: StageCounts(candidate=arm) for stage in stages}}

    def _publish(self, routes: Sequence[EndpointRoute]) -> None:
        self.routes = [*routes]
        served = {route.name for route in routes if route.champion is not None}
        if gaps := {route.name for route in routes} & self._served - served:
            self.faults.append(f"{gaps} had a champion, and have none: {routes}")
        self._served |= served

    async def deploy(
        self,
        key: ModelKey,
        overrides: OptionOverrides,
        wait: float,
        *,
        by: str | None = None,
        admit: bool = True,
    ) -> Deployment:
        """As :meth:`Controller.deploy`."""
        row = await self.deployed.deployments.get(key)
        if row is None or row.desired is Desired.STOPPED or row.state is State.FAILED:
            if self.registry_error is not None:
                raise RegistryUnavailable("the registry does not answer")
            if key.version > 8:
                raise UnknownModel("the registry has no such version")
            if admit and self.memory_short:
                raise NotEnoughMemory("memory has no room")
        options = overrides.apply_to(Options())
        row, _ = await self.deployed.deployments.want_running(key, options, f"{key}-0", 100)
        if row.state is State.PARKED:
            await self.deployed.deployments.wake(key)
        if options != row.options:
            raise Conflict("deployed with other options")
        return row

    async def undeploy(self, key: ModelKey, wait: float) -> None:
        """As :meth:`Controller.undeploy`."""
        if key in self.persons:
            self.faults.append(f"{key} was undeployed, though a person wants it")
        if await self.deployed.deployments.want_stopped(key) is None:
            raise NotDeployed("it is not deployed")

    # What happens to deployments.

    async def deployments_go_on(self) -> None:
        """Each deployment comes to its next state."""
        await go_on(self.deployed, self.broken)

    async def idles(self, key: ModelKey) -> None:
        """A deployment is parked, unless an endpoint needs it ready."""
        row = await self.deployed.deployments.get(key)
        if row is None or row.state is not State.READY or row.desired is Desired.STOPPED:
            return
        if key not in needed_ready(await self.store.all()):
            await self.deployed.park(row)

    async def person_deploys(self, key: ModelKey) -> None:
        with contextlib.suppress(Conflict):
            await self.deployed.deployments.want_running(key, Options(), f"{key}-0", 100)
            self.persons.add(key)
            await self.service.disown(key)

    async def person_undeploys(self, key: ModelKey, *, forced: bool = False) -> None:
        """Refused while endpoints use it, unless ``forced``."""
        if self.loop.users_of(key) and not forced:
            return
        self.persons.discard(key)
        await self.deployed.deployments.want_stopped(key)

    async def minutes_pass(self, minutes: float) -> None:
        """The wall clock: all that is written lies further back."""
        self.now += 60 * minutes
        back = timedelta(minutes=minutes)
        for table, column in (("rollouts", "since"), ("endpoints", "previous_until")):
            for row in await self.query(f"SELECT id, {column} FROM {table}"):
                if row[1] is not None:
                    text = text_of(datetime.fromisoformat(row[1]) - back)
                    statement = f"UPDATE {table} SET {column} = ? WHERE id = ?"
                    await self.query(statement, text, row[0])

    async def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return await query(self.database, sql, *values)

    # What has to hold.

    async def check(self) -> None:
        """What holds after every tick."""
        assert not self.faults, self.faults
        rows = {row.key: row for row in await self.deployed.deployments.all()}
        pairs = {one.name: (one, rollout) for one, rollout in await self.store.all()}
        self._served &= pairs.keys()
        routes = {route.name: route for route in self.routes}
        for name, (endpoint, rollout) in pairs.items():
            if endpoint.deleting:
                continue
            check_route(endpoint, rollout, routes[name])
            if endpoint.champion is not None and not (rollout and rollout.evidence.get("recreate")):
                row = rows[endpoint.key(endpoint.champion)]
                assert row.desired is Desired.RUNNING, f"{endpoint} is served by {row}"
        await check_events(self.query)

    async def settle(self) -> None:
        """Remove all trouble; then what the aliases say has to come about in bounded time."""
        self.registry_error, self.memory_short, self.broken = None, False, set()
        self.findings = dict.fromkeys(self.findings, Outcome.PASSED)
        self.judged, self.requests = Outcome.PASSED, 1000
        for name in self.pairs(await self.store.all()):
            self.aliases.setdefault(name.alias, 1)
            with contextlib.suppress(Conflict):
                await self.service.pause(name, "")
                await self.service.resume(name, "")
        for _ in range(30):
            await self.minutes_pass(11)
            await self.deployments_go_on()
            await self.tick(LONG)
        assert not await self.tick(), "it does not come to rest"
        await self.minutes_pass(100)
        await self.tick(LONG)
        await self.tick(LONG)
        await check_rest(self)

    def pairs(self, found: Sequence[tuple[Endpoint, Rollout | None]]) -> list[EndpointName]:
        """The names of those that are not being deleted."""
        return [endpoint.name for endpoint, _ in found if not endpoint.deleting]


@contextlib.contextmanager
def rollout_simulation() -> Iterator[RolloutSimulation]:
    """A simulation in a folder of its own, with a clock of its own."""
    with fast_folder() as folder, contextlib.ExitStack() as patched:
        it = RolloutSimulation(Path(folder))
        clock = SimpleNamespace(monotonic=lambda: it.now)
        for name in ("progress", "aliases", "loop"):
            patched.enter_context(patch(f"model_deployment.endpoints.{name}.time", clock))
        try:
            yield it
        finally:
            it.database.discard()
