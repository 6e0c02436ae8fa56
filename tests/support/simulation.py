"""One machine, one data directory, and controllers that come and go on them, ticked by hand.

Every tick ends with a check of what has to hold whatever happened. Leases and events are read with
SQL of its own: the code under test is not asked about itself.
"""

import contextlib
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

from model_deployment.control.collaborators import Collaborators
from model_deployment.control.effects import BLOCKED_FOR
from model_deployment.control.probes import Prober
from model_deployment.core.actions import Policy
from model_deployment.core.admission import Admission
from model_deployment.core.domain import Deployment, LaunchTraffic, Route, State
from model_deployment.core.errors import Conflict, ModelDeploymentError, NoFreePort
from model_deployment.core.lifecycle import LIVE, TRANSITIONS
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.state.deployments import Deployments
from model_deployment.state.ports import Ports
from tests.support.crash_points import Crash, CrashingDatabase, CrashPoints
from tests.support.fakes import EACH, FakeMachine, FakeProber, FakeRuntime, Life, Process
from tests.support.manual_loop import ManualLoop

FIRST = 8001
QUARANTINE = 5.0
POLICY = Policy()
PLAIN = Options(batch_max_rows=0)
#: A file system without a disk, where there is one: each commit is an fsync.
FAST = Path("/dev/shm")


class Simulation:
    """The machine, and the controller that is alive on it."""

    deployments: Deployments
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
        #: The last lines of logs.
        self.words: dict[str, str] = {}
        self.database = CrashingDatabase(folder / "state.db", self.steps)
        self._last = FIRST + ports - 1
        self._start_concurrency = start_concurrency
        self._ends = contextlib.AsyncExitStack()
        self.machine.on_signal = self._note_if_published
        self._faults: list[str] = []
        #: The newest event that was checked, and the state each row had after it.
        self._event = 0
        self._states: dict[int, str] = {}

    async def start(self) -> None:
        """A new controller, in the order of the composition root, up to its recovery's end."""
        self.database = CrashingDatabase(self.database.path, self.steps)
        await self.database.open()
        self._ends.push_async_callback(self.database.close)
        await self._check_leases()
        serving = await self._serving()
        await self.database.new_boot(self.machine.boot)
        self.deployments = Deployments(self.database)
        self.ports = Ports(self.database, FIRST, self._last)
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
            ports=self.ports,
            world=Collaborators(
                compare=machine.compare,
                runtime=FakeRuntime(machine, self._on_exit, self.steps),
                prober=cast(Prober, self.prober),
                prepare=machine.prepare,
                publish=self._publish,
                traffic=lambda launch_id: self.traffic.get(launch_id, LaunchTraffic()),
                holder=machine.holder,
                ending=lambda launch_id: self.words.get(launch_id, ""),
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
        if any(route.address and route.launch_id == process.launch_id for route in self.routes):
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
        capacity = usage.size - len(usage.blocked)
        with contextlib.suppress(NoFreePort, Conflict):
            row, _ = await self.deployments.want_running(key, options, artifact, capacity)
            if row.state is State.PARKED or row.parking:
                await self.deployments.wake(key)
            return True
        return False

    async def request(self, key: ModelKey) -> None:
        """Somebody asks for a prediction, and waits if that is possible, as in the proxy's lobby."""
        if any(route.key == key and route.waits for route in self.routes):
            self.callers.add(key)
            self.reconciler.request_wake(key)

    async def shut_down(self) -> None:
        """The controller takes its models down, as sim SIGTERM."""
        policy = self.policy
        await self.reconciler.close(keep=False, limit=policy.drain_timeout + policy.stop_grace + 5)
        await self.check()
        assert not self.machine.live
        assert not self.machine.held
        assert not any(route.address for route in self.routes)
        await self.gone()

    async def undeploy(self, key: ModelKey) -> None:
        """Wish it gone."""
        await self.deployments.want_stopped(key)

    async def row(self, key: ModelKey) -> Deployment:
        """A row that is there."""
        row = await self.deployments.get(key)
        assert row is not None
        return row

    async def process(self, key: ModelKey) -> Process:
        """The process of a row's launch."""
        return self.machine.processes[(await self.row(key)).launch_id or ""]

    async def ready(self, *keys: ModelKey) -> None:
        """Deploy, and tick until ready."""
        for key in keys:
            assert await self.deploy(key)
        for _ in range(5 * len(keys)):
            await self.tick(0.1)
            for process in self.machine.live:
                if process.key in keys:
                    self.machine.load(process)
            if all([(await self.row(key)).state is State.READY for key in keys]):
                return
        raise AssertionError(f"not ready: {[await self.row(key) for key in keys]}")

    async def settle(self, wanted: Collection[ModelKey], unwanted: Collection[ModelKey]) -> None:
        """Remove all trouble; then what is wished has to come about in bounded time."""
        self.machine.heal()
        self.traffic.clear()
        for _ in range(40):
            for key in unwanted:
                await self.undeploy(key)
            for key in wanted:  # failed ones are armed again; for others this changes nothing
                await self.deploy(key)
            await self.tick(5.0)
            if await self._settled(wanted):
                break
        else:
            raise AssertionError(f"did not settle: {await self.deployments.all()}")
        await self.tick(BLOCKED_FOR + QUARANTINE)
        assert await self._settled(wanted)
        assert {process.key for process in self.machine.live} == set(wanted)
        assert {route.key for route in self.routes if route.address} == set(wanted)
        usage = await self.ports.usage(self.machine.now)
        assert usage.free == usage.size - len(wanted)
        assert self.machine.held <= {process.port for process in self.machine.live}

    async def _settled(self, wanted: Collection[ModelKey]) -> bool:
        rows = await self.deployments.all()
        ready = {row.key for row in rows if row.state is State.READY}
        resting = all(row.state is State.STOPPED for row in rows if row.key not in wanted)
        return ready == set(wanted) and resting

    async def check(self) -> None:
        """What holds after every tick and every recovery."""
        assert not self._faults
        await self._check_leases()
        rows = await self.deployments.all()
        launches = {row.launch_id: row for row in rows if row.launch_id is not None}
        by_key = {row.key: row for row in rows}
        for process in self.machine.live:
            assert process.launch_id in launches, f"no row knows {process}"
            self._check_process(process, launches[process.launch_id])
        keys = Counter(process.key for process in self.machine.live)
        assert max(keys.values(), default=0) <= 1, f"two processes of one deployment: {keys}"
        for route in self.routes:
            if route.address is not None:
                row = by_key[route.key]
                assert (route.launch_id, route.address.port) == (row.launch_id, row.port)
                if row.state is not State.READY:  # requests wait for the next launch
                    assert row.state in (State.PENDING, State.STARTING), f"{route} for {row}"
                    assert row.port in self.machine.held
                    assert row.session is not None
        for row in rows:
            self._check_row(row)
        await self._check_events()

    def _check_process(self, process: Process, row: Deployment) -> None:
        assert process.key == row.key
        if row.state is not State.STOPPING:  # then the row may speak of the launch to come
            assert process.spec.options == row.options
            assert process.spec.model_path == f"/artifacts/{row.artifact}"
            assert not process.signals, f"{row.state}, and its process was told to end"

    def _check_row(self, row: Deployment) -> None:
        assert (row.launch_id is not None) == (row.state in LIVE)
        assert (row.port is not None) == (row.state in LIVE) or row.state is State.PENDING
        assert row.session is None or row.port is not None
        assert (row.step is not None) == (row.state is State.STOPPING)
        assert not row.parking or row.state is State.STOPPING
        assert row.state is not State.PARKED or row.options.idle_timeout, row
        assert row.state is not State.READY or row.handle is not None
        if row.state is State.FAILED:
            assert row.reason, row
        elif row.state is State.STOPPING:  # its last try may be the one that is ending
            assert row.tries <= self.policy.tries + 1, row
        else:
            assert row.tries < self.policy.tries, row

    async def _check_leases(self) -> None:
        leases = "SELECT port FROM ports WHERE launch_id IS NOT NULL ORDER BY port"
        rows = "SELECT port FROM deployments WHERE port IS NOT NULL ORDER BY port"
        assert await self._query(leases) == await self._query(rows)
        others = (
            "SELECT * FROM deployments d JOIN ports p ON p.port = d.port "
            "WHERE d.launch_id IS NOT NULL AND d.launch_id IS NOT p.launch_id"
        )
        assert await self._query(others) == []

    async def _check_events(self) -> None:
        news = "SELECT id, deployment_id, previous, state FROM events WHERE id > ? ORDER BY id"
        for event, deployment, previous, state in await self._query(news, self._event):
            assert self._states.get(deployment) == previous, "an event does not follow the last"
            assert previous == state or (previous, state) in TRANSITIONS
            self._states[deployment], self._event = state, event
        rows = await self._query("SELECT id, state FROM deployments")
        assert self._states == dict(rows), "a state changed without an event"

    async def _serving(self) -> set[str]:
        """Launches that are wanted, ready, and in fact healthy."""
        wanted = "SELECT launch_id FROM deployments WHERE state = 'ready' AND desired = 'running'"
        rows = await self._query(wanted)
        found = [self.machine.processes.get(launch_id) for (launch_id,) in rows]
        return {process.launch_id for process in found if process and process.life is Life.HEALTHY}

    async def _query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        def work(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in connection.execute(sql, values)]

        return await self.database.read(work)


@contextlib.contextmanager
def simulation(
    policy: Policy = POLICY, ports: int = 4, start_concurrency: int = 2, *, holding: bool = False
) -> Iterator[Simulation]:
    """A simulation in a folder of its own. Launches are numbered, so that every run is the same."""
    numbers = count(1)
    numbered = SimpleNamespace(token_hex=lambda size: f"launch-{next(numbers)}")
    with (
        tempfile.TemporaryDirectory(dir=FAST if FAST.is_dir() else None) as folder,
        patch("model_deployment.control.effects.secrets", numbered),
    ):
        it = Simulation(Path(folder), policy, ports, start_concurrency)
        it.machine.holding = holding
        try:
            yield it
        finally:
            it.database.discard()
