"""One machine, one data directory, and controllers that come and go on them, ticked by hand.

Every tick ends with a check of what has to hold whatever happened: ``tests/support/invariants.py``.
"""

import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from unittest.mock import patch

from model_deployment.control.collaborators import Collaborators
from model_deployment.control.places import BLOCKED_FOR
from model_deployment.control.probes import Prober
from model_deployment.core.actions import Policy
from model_deployment.core.admission import Admission
from model_deployment.core.domain import Deployment, Desired, Launch, State
from model_deployment.core.errors import (
    Conflict,
    IllegalTransition,
    ModelDeploymentError,
    NoFreePort,
)
from model_deployment.core.measures import LaunchTraffic
from model_deployment.core.names import ModelKey
from model_deployment.core.option_changes import merging_after, needs_launch
from model_deployment.core.options import Options
from model_deployment.core.replacement import Strategy
from model_deployment.core.routes import Route
from model_deployment.state.deployments import Deployments
from model_deployment.state.launches import Launches
from model_deployment.state.ports import Ports
from model_deployment.state.replacements import Replacements
from tests.support.crash_points import Crash, CrashingDatabase, CrashPoints
from tests.support.database_query import query
from tests.support.fake_collaborators import FakeProber, FakeRuntime
from tests.support.fake_machine import EACH, FakeMachine, Life, Process
from tests.support.fast_folder import fast_folder
from tests.support.invariants import Invariants
from tests.support.manual_loop import ManualLoop
from tests.support.settling import is_complete, settle
from tests.support.stored import leader

FIRST = 8001
QUARANTINE = 5.0
POLICY = Policy()
PLAIN = Options(batch_max_rows=0)


class Simulation:
    """The machine, and the controller that is alive on it."""

    deployments: Deployments
    launches: Launches
    replacements: Replacements
    ports: Ports
    reconciler: ManualLoop
    prober: FakeProber

    def __init__(self, folder: Path, policy: Policy, ports: int, start_concurrency: int) -> None:
        self.machine = FakeMachine()
        self.steps = CrashPoints()
        self.policy = policy
        #: What was published, and what the proxy has seen; both end with their controller.
        self.routes: list[Route] = []
        #: How often something was, and whether all of it could serve.
        self.published = 0
        self.whole = True
        #: Errors of the next times.
        self.unpublishable: list[Exception] = []
        self.traffic: dict[str, LaunchTraffic] = {}
        #: Deployments that requests wait for.
        self.callers: set[ModelKey] = set()
        #: What requests were told that it does not start.
        self.refused: list[tuple[ModelKey, str]] = []
        self.database = CrashingDatabase(folder / "state.db", self.steps)
        self.size = ports
        self._start_concurrency = start_concurrency
        self._ends = contextlib.AsyncExitStack()
        self.machine.on_signal = self._note_if_published
        self._faults: list[str] = []
        self._invariants = Invariants(self.machine, policy)

    async def start(self) -> None:
        """A new controller, in the order of the composition root, up to its recovery's end."""
        self.database = CrashingDatabase(self.database.path, self.steps)
        await self.database.open()
        self._ends.push_async_callback(self.database.close)
        await self._invariants.check_leases(self.database)
        serving = await self._serving()
        await self.database.new_boot(self.machine.boot)
        self.deployments = Deployments(self.database)
        self.launches = Launches(self.database)
        self.replacements = Replacements(self.database)
        self.ports = Ports(self.database, FIRST, FIRST + self.size - 1)
        await self.ports.fill()
        self.reconciler = self._reconciler()
        # Only lets go of its downloads: the end of a process does no more.
        self._ends.push_async_callback(self.reconciler.close, keep=True, limit=0)
        await self.reconciler.recover()
        assert await self._serving() == serving, "a new controller took a good launch down"
        await self.check()

    def _reconciler(self) -> ManualLoop:
        machine = self.machine
        self.prober = FakeProber(machine)
        return ManualLoop(
            machine,
            deployments=self.deployments,
            launches=self.launches,
            replacements=self.replacements,
            ports=self.ports,
            world=Collaborators(
                compare=machine.compare,
                runtime=FakeRuntime(machine, self._on_exit, self.steps),
                prober=cast(Prober, self.prober),
                prepare=machine.prepare,
                publish=self._publish,
                traffic=lambda launch_id: self.traffic.get(launch_id, LaunchTraffic()),
                refuse=self._refuse,
                admission=Admission(machine.free, guess=EACH, guess_of_fork=EACH, margin=1),
                clock=machine.clock,
            ),
            policy=self.policy,
            quarantine=QUARANTINE,
            start_concurrency=self._start_concurrency,
        )

    def _refuse(self, key: ModelKey, error: ModelDeploymentError) -> None:
        self.callers.discard(key)
        self.refused.append((key, error.detail))

    def _on_exit(self) -> None:
        self.reconciler.wake()

    def _publish(self, routes: Sequence[Route]) -> bool:
        self.published += 1
        if self.unpublishable:
            raise self.unpublishable.pop()
        self.routes = [*routes]
        waits = {route.key for route in routes if route.waits}
        self.callers &= waits
        for route in routes:
            if route.key in self.callers and route.state is State.PARKED:
                self.reconciler.request_wake(route.key)
        return self.whole

    def _note_if_published(self, process: Process) -> None:
        # Not asserted here: the reconciler may take it for an error of the runtime.
        published = {one.launch_id for route in self.routes for one in route.targets if one.address}
        if process.launch_id in published:
            self._faults.append(f"{process} was signalled while requests were sent to it")

    async def gone(self) -> None:
        """The controller is killed: what it held in memory is lost."""
        await self._ends.aclose()
        self.routes, self.traffic, self.callers = [], {}, set()

    async def crashes(self, work: Callable[[], Awaitable[object]], at: int | str) -> bool:
        """Kill the controller at some point of the work. False if the work has no such point."""
        self.steps.arm(at)
        try:
            await work()
        except Crash:
            await self.gone()
            return True
        finally:
            self.steps.disarm()
        return False

    async def tick(self, seconds: float = 0.0) -> None:
        """Let time pass, look once, and check."""
        self.machine.advance(seconds)
        await self.reconciler.tick()
        await self.check()

    async def deploy(
        self, key: ModelKey, options: Options = PLAIN, artifact: str = "registered"
    ) -> bool:
        """Wish, with the capacity the use case would name. False if it is refused for now."""
        usage = await self.ports.usage(self.machine.now)
        capacity = usage.usable
        with contextlib.suppress(NoFreePort, Conflict):
            row, _ = await self.deployments.want_running(key, options, artifact, capacity)
            if row.state is State.PARKED or row.parking:
                await self.deployments.wake(key)
            return True
        return False

    async def change(
        self, key: ModelKey, options: Options, strategy: Strategy = Strategy.BESIDE
    ) -> bool:
        """Have other options, as the use case does. False if it is refused for now."""
        row = await self.deployments.get(key)
        if row is None or row.desired is Desired.STOPPED:
            return False
        with contextlib.suppress(Conflict, IllegalTransition):
            at_once = row.state is State.READY and not needs_launch(row, options)
            if at_once and options != row.options:
                merging = merging_after(row, options)
                await self.replacements.change_options(row, options, merging, "change")
            elif row.state in (State.READY, State.STARTING):
                deadline = self.machine.now + self.policy.start_timeout
                await self.replacements.ask(row, options, strategy, "change", deadline)
            else:
                await self.replacements.change_options(row, options, None, "change")
            return True
        return False

    async def scale(self, key: ModelKey, replicas: int) -> bool:
        """Want another number of replicas, as the scaler does. False if its options do not allow it."""
        row = await self.deployments.get(key)
        if row is None:
            return False
        with contextlib.suppress(IllegalTransition):
            await self.deployments.scale(row, replicas, "scaled")
            return True
        return False

    async def park(self, key: ModelKey) -> None:
        """An operator has it parked."""
        self.reconciler.request_park(key, "parked by an operator")

    async def request(self, key: ModelKey) -> None:
        """Somebody asks for a prediction, and waits if that is possible, as in the proxy's lobby."""
        if any(route.key == key and route.waits for route in self.routes):
            self.callers.add(key)
            self.reconciler.request_wake(key)

    async def shut_down(self) -> None:
        """The controller takes its models down, as with SIGTERM."""
        policy = self.policy
        await self.reconciler.close(keep=False, limit=policy.drain_timeout + policy.stop_grace + 5)
        await self.check()
        assert not self.machine.live
        assert not self.machine.held
        assert not any(route.serves for route in self.routes)
        await self.gone()

    async def undeploy(self, key: ModelKey) -> None:
        """Wish it gone."""
        await self.deployments.want_stopped(key)

    async def row(self, key: ModelKey) -> Deployment:
        """A row that is there."""
        row = await self.deployments.get(key)
        assert row is not None
        return row

    async def launch(self, key: ModelKey) -> Launch:
        """The launch that stands for a deployment."""
        return leader(await self.row(key))

    async def process(self, key: ModelKey) -> Process:
        """Its process."""
        return self.machine.processes[(await self.row(key)).launch_id or ""]

    async def ready(self, *keys: ModelKey) -> None:
        """Deploy, and tick until ready."""
        for key in keys:
            assert await self.deploy(key)
        for _ in range(15 * len(keys)):
            await self.tick(0.1)
            for process in self.machine.live:
                if process.key in keys:
                    self.machine.load(process)
            if all([is_complete(await self.row(key)) for key in keys]):
                return
        raise AssertionError(f"not ready: {[await self.row(key) for key in keys]}")

    async def settle(self, wanted: Collection[ModelKey], unwanted: Collection[ModelKey]) -> None:
        """Remove all trouble; then what is wished has to come about in bounded time."""
        await settle(self, wanted, unwanted, BLOCKED_FOR + QUARANTINE)

    async def check(self) -> None:
        """What holds after every tick and every recovery."""
        assert not self._faults
        await self._invariants.check(self.database, await self.deployments.all(), self.routes)

    async def _serving(self) -> set[str]:
        """Launches that are wanted, ready, and in fact healthy."""
        wanted = (
            "SELECT l.launch_id FROM launches l JOIN deployments d ON d.id = l.deployment_id "
            "WHERE l.role = 'serving' AND l.state = 'ready' AND d.desired = 'running'"
        )
        rows = await query(self.database, wanted)
        found = [self.machine.processes.get(launch_id) for (launch_id,) in rows]
        return {process.launch_id for process in found if process and process.life is Life.HEALTHY}


@contextlib.contextmanager
def simulation(
    policy: Policy = POLICY, ports: int = 4, start_concurrency: int = 2, *, holding: bool = False
) -> Iterator[Simulation]:
    """A simulation in a folder of its own. Launches are numbered, so that every run is the same."""
    numbers = count(1)
    numbered = SimpleNamespace(token_hex=lambda size: f"launch-{next(numbers)}")
    with (
        fast_folder() as folder,
        patch("model_deployment.control.effects.secrets", numbered),
    ):
        it = Simulation(Path(folder), policy, ports, start_concurrency)
        it.machine.holding = holding
        try:
            yield it
        finally:
            it.database.discard()
