"""What holds after every tick of a simulation, whatever happened.

Leases and events are read with SQL of its own: the code under test is not asked about itself.
"""

from collections.abc import Sequence

from model_deployment.core import deployment_lifecycle, launch_lifecycle
from model_deployment.core.actions import Policy
from model_deployment.core.domain import Deployment, Launch, LaunchRole, LaunchState, State
from model_deployment.core.option_changes import changed
from model_deployment.core.options import Options
from model_deployment.core.replacement import ReplacementState
from model_deployment.core.routes import Route
from model_deployment.state.database import Database
from tests.support.database_query import query
from tests.support.fake_machine import FakeMachine, Process

_LIVE = {LaunchState.STARTING, LaunchState.READY, LaunchState.STOPPING}


class Invariants:
    """Checks a machine against the state database of its controller."""

    def __init__(self, machine: FakeMachine, policy: Policy) -> None:
        self._machine = machine
        self._policy = policy
        #: The newest event that was checked, and the state each row had after it.
        self._event = 0
        self._states: dict[int, str] = {}
        #: Deployments that had several replicas, whose events are told of each replica.
        self._several: set[int] = set()

    async def check(
        self, database: Database, rows: Sequence[Deployment], routes: Sequence[Route]
    ) -> None:
        """Check everything."""
        await self.check_leases(database)
        for row in rows:
            self._check_row(row)
            for launch in row.launches:
                self._check_launch(row, launch)
        self._check_processes(rows)
        _check_routes(rows, routes, self._machine.held)
        await self._check_events(database, rows)

    def _check_processes(self, rows: Sequence[Deployment]) -> None:
        known = {one.launch_id: (row, one) for row in rows for one in row.launches}
        for process in self._machine.live:
            assert process.launch_id in known, f"no row knows {process}"
            row, launch = known[process.launch_id]
            assert process.key == row.key
            if launch.state is not LaunchState.STOPPING:
                _check_process(process, launch)

    def _check_row(self, row: Deployment) -> None:
        assert (row.rest is None) == bool(row.serving), row
        assert row.rest is None or row.rest.state in (State.STOPPED, State.PARKED, State.FAILED)
        assert not row.parking or row.rest is None
        limits = row.options.replicas
        assert limits.min <= row.replicas <= limits.max, row
        numbers = [one.replica for one in row.serving]
        assert len(numbers) == len({*numbers}), row
        assert len([one for one in row.launches if one.role is LaunchRole.COMING]) <= 1
        assert len(row.serving) <= max(limits.max, row.replicas + 1) + len(row.retiring) + 3, row
        if row.state is State.FAILED:
            assert row.reason, row
        it = row.replacement
        if it is not None:
            assert it.state is not ReplacementState.FAILED or it.reason
            if not it.under_way:
                assert row.coming is None, row
        else:
            assert row.coming is None, row

    def _check_launch(self, row: Deployment, launch: Launch) -> None:
        live = launch.state in _LIVE
        assert live == launch.is_live == (launch.launch_id is not None)
        needs = not live or launch.options.start_method != "container"
        assert (launch.port is not None) == (live and needs) or not live, launch
        assert launch.session is None or launch.port is not None or live, launch
        assert (launch.step is not None) == (launch.state is LaunchState.STOPPING)
        assert launch.state is not LaunchState.READY or launch.handle is not None
        assert launch.generation <= row.generation + (launch.role is not LaunchRole.SERVING), row
        if launch.role is LaunchRole.SERVING:
            if launch.state is LaunchState.STOPPING:  # its last try may be the one that is ending
                assert launch.tries <= self._policy.tries + 1, launch
            else:
                assert launch.tries < self._policy.tries, launch
        elif launch.role is LaunchRole.COMING:
            assert launch.state is not LaunchState.READY
        else:
            assert launch.state is LaunchState.STOPPING

    async def check_leases(self, database: Database) -> None:
        """Each port of a launch is leased, and no other one."""
        leases = "SELECT port FROM ports WHERE launch_id IS NOT NULL ORDER BY port"
        rows = "SELECT port FROM launches WHERE port IS NOT NULL ORDER BY port"
        assert await query(database, leases) == await query(database, rows)
        others = (
            "SELECT * FROM launches l JOIN ports p ON p.port = l.port "
            "WHERE l.launch_id IS NOT NULL AND l.launch_id IS NOT p.launch_id"
        )
        assert await query(database, others) == []

    async def _check_events(self, database: Database, rows: Sequence[Deployment]) -> None:
        news = "SELECT id, deployment_id, previous, state, replica FROM events WHERE id > ? ORDER BY id"
        ids = dict(await query(database, "SELECT model || '-' || version, id FROM deployments"))
        self._several |= {ids[str(row.key)] for row in rows if row.options.replicas.max > 1}
        for event, deployment, previous, state, replica in await query(database, news, self._event):
            if replica:
                self._several.add(deployment)
            if deployment not in self._several:
                assert self._states.get(deployment) == previous, "an event does not follow the last"
            assert previous == state or _is_legal(previous, state), (previous, state)
            self._states[deployment], self._event = state, event
        for row in rows:
            id = ids[str(row.key)]
            if id not in self._several:
                assert self._states[id] == row.state, f"a state changed without an event: {row}"


def _is_legal(previous: str | None, state: str) -> bool:
    before = None if previous is None else State(previous)
    if (before, State(state)) in deployment_lifecycle.TRANSITIONS:
        return True
    states = {*LaunchState}
    of_launch = (
        LaunchState(previous) if previous is not None and previous in states else None,
        LaunchState(state) if state in states else None,
    )
    return of_launch in launch_lifecycle.TRANSITIONS


def _check_process(process: Process, launch: Launch) -> None:
    assert like(process.spec.options, launch.options), f"{process} for {launch}"
    assert process.spec.model_path == f"/artifacts/{launch.artifact}"
    assert not process.signals, f"{launch.state}, and its process was told to end"


def like(one: Options, other: Options) -> bool:
    """Whether a launch that was started with the one can have the other."""
    declared = Options.declarations()
    return all(
        # Merging can be turned off, or limited, without another launch.
        declared[name].applies_at_once or name == "batch_max_rows"
        for name in changed(one, other)
    )


def _check_routes(rows: Sequence[Deployment], routes: Sequence[Route], held: set[int]) -> None:
    by_key = {row.key: row for row in rows}
    for route in routes:
        row = by_key[route.key]
        serving = {one.launch_id: one for one in row.serving}
        for target in route.targets:
            if target.address is not None:
                launch = serving[target.launch_id]
                assert launch.state is LaunchState.READY, f"{route} for {row}"
                assert launch.handle is not None
                assert target.address == launch.handle.address
                assert target.session == (launch.session or launch.launch_id)
        sessions = [one.session for one in (*route.targets, *route.retiring)]
        assert len(sessions) == len({*sessions}), route
        addresses = [one.address for one in route.targets if one.address]
        assert len(addresses) == len({*addresses}), route
