"""A state database in a file of its own, and rows of it in any state."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

from model_deployment.core.actions import Stop, Vacate
from model_deployment.core.domain import Address, Deployment, Desired, Handle, Launch, State, Step
from model_deployment.core.endpoints import EndpointName, Rollout, RolloutKind, RolloutState
from model_deployment.core.merging import Merging
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.core.rollout_counts import StageCounts
from model_deployment.core.rollout_policy import RolloutPolicy
from model_deployment.state.database import Database
from model_deployment.state.deployments import Deployments
from model_deployment.state.endpoints import EndpointStore
from model_deployment.state.launches import Launches
from model_deployment.state.ports import Ports
from model_deployment.state.replacements import Replacements
from model_deployment.state.rollouts import RolloutStore

FIRST, LAST = 8001, 8005
#: The tables of endpoints.
ENDPOINTS = ("endpoints", "rollouts", "rollout_events", "endpoint_deployments")
NOW = 1000.0
#: What :meth:`Store.deploy` deploys if it is not told anything else.
KEY = ModelKey("m", 1)


def leader(row: Deployment) -> Launch:
    """The launch that stands for a deployment, which has one."""
    assert row.leader is not None, row
    return row.leader


def by_id(row: Deployment, id: int) -> Launch:
    """A launch as it is now."""
    return next(one for one in row.launches if one.id == id)


def by_number(row: Deployment, replica: int) -> Launch:
    """A replica."""
    return next(one for one in row.serving if one.replica == replica)


class Store:
    """The open database, and what works on it."""

    def __init__(self, database: Database, numbers: Iterator[int] | None = None) -> None:
        """Launches are numbered with ``numbers``."""
        self.database = database
        self.deployments = Deployments(database)
        self.launches, self.replacements = Launches(database), Replacements(database)
        self.ports = Ports(database, FIRST, LAST)
        self.endpoints, self.rollouts = EndpointStore(database), RolloutStore(database)
        self._numbers = numbers or count(1)

    async def execute(self, statement: str, *values: object) -> list[sqlite3.Row]:
        """One statement, past all rules of the package."""
        return await self.database.write(lambda c: c.execute(statement, values).fetchall())

    async def dump(self) -> list[list[tuple[object, ...]]]:
        """All there is, to see whether anything has changed."""
        tables = (
            "deployments", "launches", "replacements", "ports", "events", "meta", *ENDPOINTS,
        )  # fmt: skip

        def work(connection: sqlite3.Connection) -> list[list[tuple[object, ...]]]:
            queries = (f"SELECT * FROM {table} ORDER BY 1" for table in tables)
            return [[tuple(row) for row in connection.execute(query)] for query in queries]

        return await self.database.read(work)

    async def deploy(self, model: str = "m", version: int = 1) -> Deployment:
        """A row that is wanted."""
        key = ModelKey(model, version)
        row, _ = await self.deployments.want_running(key, Options(), f"{key}-0", 100)
        return row

    async def follow(self, policy: RolloutPolicy | None = None) -> Rollout:
        """An endpoint that version 1 serves, and a rollout of version 2 in its canary."""
        name = EndpointName("m", "live")
        await self.endpoints.put(name, policy or RolloutPolicy(), "policy set")
        for version in (1, 2):
            await self.endpoints.claim(ModelKey("m", version))
            await self.deploy("m", version)
            (endpoint, _), *_ = await self.endpoints.all()
            rollout = await self.rollouts.begin(endpoint, version, RolloutKind.FORWARD, "it moved")
            state = RolloutState.PROMOTED if version == 1 else RolloutState.CANARY
            rollout = await self.rollouts.move(rollout, state, "passed")
        await self.rollouts.record(
            rollout, {"counts": {"p": {"canary-0": StageCounts().as_dict()}}}
        )
        return rollout

    async def launch(
        self, row: Deployment, port: int | None = None, launch: Launch | None = None
    ) -> Deployment:
        """The row with a launch that has processes (its leader's), on the lowest free port."""
        launch = launch or leader(row)
        launch_id = f"launch{next(self._numbers)}"
        port = port or await self.ports.next_free(NOW)
        assert port is not None
        row = await self.launches.start(row, launch, launch_id, port, NOW + 120, NOW)
        handle = Handle(launch_id, Address("127.0.0.1", port), {"pid": 7})
        await self.launches.record_handle(handle)
        return await self.reread(row)

    async def serve(self, row: Deployment, launch: Launch | None = None) -> Deployment:
        """The row with a launch that is ready: one that is pending, its leader if none is given."""
        id = (launch or leader(row)).id
        row = await self.launch(row, launch=launch)
        return await self.launches.promote(row, by_id(row, id), Merging(), NOW)

    async def grow(self, row: Deployment, replicas: int) -> Deployment:
        """The row with so many replicas that are ready."""
        while len(row.serving) < replicas:
            row = await self.launches.add(row, "wanted")
            row = await self.serve(row, row.serving[-1])
        return row

    async def end(
        self,
        row: Deployment,
        state: State,
        tries: int = 0,
        rests: float = 0.0,
        launch: Launch | None = None,
    ) -> Deployment:
        """The row after the end of a launch (its leader); its port, if it had one, rests for seconds."""
        return await self.launches.release(
            row, launch or leader(row), Vacate(state, "gone", tries=tries),
            keeps_port=False, quarantined_until=NOW + rests,
        )  # fmt: skip

    async def park(self, row: Deployment) -> Deployment:
        """The row of a deployment that is ready, parked."""
        row = await self.deployments.park(row, "idle")
        row = await self.launches.stop(row, leader(row), Stop("idle", Step.DRAIN, NOW))
        return await self.end(row, State.PARKED)

    async def bring(self, state: State, desired: Desired = Desired.RUNNING) -> Deployment:
        """A new row, brought to a state by legal moves."""
        row = await self.deploy()
        if state in (State.STARTING, State.READY, State.STOPPING, State.PARKED):
            row = await self.launch(row)
        if state in (State.READY, State.PARKED):
            row = await self.launches.promote(row, leader(row), Merging(), NOW)
        if state is State.STOPPING:
            row = await self.launches.stop(row, leader(row), Stop("sick", Step.KILL, NOW))
        if state is State.PARKED:
            row = await self.park(row)
        if state in (State.STOPPED, State.FAILED):
            row = await self.end(row, state, tries=5 if state is State.FAILED else 0)
        if desired is Desired.STOPPED:
            await self.deployments.want_stopped(row.key)
        return await self.reread(row)

    async def reread(self, row: Deployment) -> Deployment:
        """The row as it is now."""
        found = await self.deployments.get(row.key)
        assert found is not None
        return found


async def moves(store: Store, *more: str) -> list[tuple[object, ...]]:
    """The events of :data:`KEY`, oldest first: previous state, state, reason, and these other members."""
    members = ("previous", "state", "reason", *more)
    events = reversed(await store.deployments.events(KEY))
    return [tuple(getattr(event, name) for name in members) for event in events]


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Store]:
    """The store of a folder; its ports are filled in."""
    database = Database(folder / "state.db")
    await database.open()
    try:
        store = Store(database)
        await store.ports.fill()
        yield store
    finally:
        await database.close()
