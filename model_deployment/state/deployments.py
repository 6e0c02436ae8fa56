"""The deployments and their events. Every change of a row is one compare-and-set and one event."""

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from model_deployment.core.domain import Deployment, Desired, Event, Handle, State
from model_deployment.core.errors import Conflict, IllegalTransition
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.state import ports, rows
from model_deployment.state.database import Database

#: Columns :meth:`Deployments.move` may set besides the state.
_CHANGEABLE = frozenset({
    "step", "deadline", "not_before", "tries", "ready_since", "ready_at", "launches", "parking",
    "session", "proven", "kills", "merging",
})  # fmt: skip


class Deployments:
    """Reads and changes the rows."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: The rows as they were read last, by id, and what was made of them.
        self._known: dict[int, tuple[tuple[Any, ...], Deployment]] = {}

    async def all(self) -> list[Deployment]:
        """Every row, oldest first. What has not changed is the same object as before."""
        return await self._database.read(self._read_all)

    def _read_all(self, connection: sqlite3.Connection) -> list[Deployment]:
        known, self._known = self._known, {}
        for row in connection.execute("SELECT * FROM deployments ORDER BY id"):
            id, values = row["id"], tuple(row)
            before = known.get(id)
            same = before is not None and before[0] == values
            self._known[id] = before if before and same else (values, rows.read(row))
        return [deployment for _, deployment in self._known.values()]

    async def get(self, key: ModelKey) -> Deployment | None:
        """One row."""
        return await self._database.read(lambda c: rows.get(c, key))

    async def want_running(
        self, key: ModelKey, options: Options, artifact: str, capacity: int
    ) -> tuple[Deployment, bool]:
        """Want a deployment to run. A stopped, failed or parked row becomes pending.

        Args:
            capacity: number of usable ports.

        Returns:
            The row, and whether this call changed it.

        Raises:
            NoFreePort: other rows need all ports.
            Conflict: a launch with other options or artifacts has not begun to stop yet.
        """
        return await self._database.write(
            lambda c: _want_running(c, key, options, artifact, capacity)
        )

    async def wake(self, key: ModelKey) -> Deployment | None:
        """Want a deployment that is parked, or being parked, to run. None if there is no such row."""
        return await self._database.write(lambda c: _wake(c, key))

    async def want_stopped(self, key: ModelKey) -> Deployment | None:
        """Want a deployment to be stopped. None if there is no such row."""

        def work(connection: sqlite3.Connection) -> Deployment | None:
            row = rows.get(connection, key)
            if row is None or row.desired is Desired.STOPPED:
                return row
            connection.execute(
                "UPDATE deployments SET desired = 'stopped' WHERE model = ? AND version = ?",
                (key.model, key.version),
            )
            rows.write_event(
                connection, key, row.state, row.state, row.launch_id, "undeploy asked for"
            )
            return rows.get(connection, key)

        return await self._database.write(work)

    async def launch(
        self, row: Deployment, launch_id: str, port: int, deadline: float, now: float
    ) -> Deployment:
        """Lease the port and enter ``starting``, in one transaction, before any process exists.

        A port that the row has kept stays leased; for another port it is released.

        Raises:
            IllegalTransition: the row or the port has changed since it was read.
        """

        def work(connection: sqlite3.Connection) -> Deployment:
            if port == row.port:
                ports.pass_on(connection, port, launch_id)
            else:
                if row.port is not None:
                    ports.release(connection, row.port, 0.0)
                ports.lease(connection, port, launch_id, now)
            return rows.move(
                connection, row, State.STARTING, f"launch on port {port}",
                launch_id=launch_id, port=port, handle=None, deadline=deadline,
                launches=row.launches + 1, ready_since=None, ready_at=None, step=None,
            )  # fmt: skip

        return await self._database.write(work)

    async def record_handle(self, handle: Handle) -> None:
        """Write the runtime's handle of a launch."""
        text = json.dumps(
            {"host": handle.address.host, "port": handle.address.port, "ref": dict(handle.ref)}
        )
        await self._database.change(
            "UPDATE deployments SET handle = ? WHERE launch_id = ?", (text, handle.launch_id)
        )

    async def record_memory(self, launch_id: str, size: int) -> None:
        """Write the memory of a launch's processes, in bytes."""
        await self._database.change(
            "UPDATE deployments SET memory = ? WHERE launch_id = ?", (size, launch_id)
        )

    async def move(self, row: Deployment, state: State, reason: str, **changes: Any) -> Deployment:
        """Change the state of a row, and keep its launch if it has one.

        Raises:
            IllegalTransition: the transition is not legal, or the row has changed since it was read.
        """
        if not changes.keys() <= _CHANGEABLE:
            raise IllegalTransition(
                f"cannot set {sorted(changes.keys() - _CHANGEABLE)} with a move"
            )
        return await self._database.write(lambda c: rows.move(c, row, state, reason, **changes))

    async def release(
        self,
        row: Deployment,
        state: State,
        reason: str,
        *,
        tries: int,
        not_before: float,
        quarantined_until: float,
        keeps_port: bool = False,
        kills: int = 0,
    ) -> Deployment:
        """Enter a state without a launch. The port is released, or kept for the next launch."""

        def work(connection: sqlite3.Connection) -> Deployment:
            if row.port is not None and not keeps_port:
                ports.release(connection, row.port, quarantined_until)
            return rows.move(
                connection, row, state, reason,
                launch_id=None, handle=None, step=None, deadline=None, parking=False,
                port=row.port if keeps_port else None,
                session=row.session if keeps_port else None,
                ready_since=None, ready_at=None, tries=tries, not_before=not_before, kills=kills,
                proven=row.proven or row.state is State.READY,
                # A wake-up is not a restart.
                launches=0 if state is State.PARKED else row.launches,
            )  # fmt: skip

        return await self._database.write(work)

    async def note(self, row: Deployment, reason: str) -> None:
        """Write an event without a change of state."""
        await self._database.write(
            lambda c: rows.write_event(c, row.key, row.state, row.state, row.launch_id, reason)
        )

    async def events(self, key: ModelKey, limit: int = 200) -> list[Event]:
        """What happened to a deployment, newest first."""

        def work(connection: sqlite3.Connection) -> list[Event]:
            found = connection.execute(
                "SELECT e.* FROM events e JOIN deployments d ON d.id = e.deployment_id "
                "WHERE d.model = ? AND d.version = ? ORDER BY e.id DESC LIMIT ?",
                (key.model, key.version, limit),
            )
            return [rows.read_event(row) for row in found]

        return await self._database.read(work)

    async def last_launch(self, key: ModelKey) -> str | None:
        """Id of the newest launch."""
        launches = await self.launches(key, 1)
        return launches[0] if launches else None

    async def launches(self, key: ModelKey, limit: int) -> list[str]:
        """Ids of the newest launches, newest first."""

        def work(connection: sqlite3.Connection) -> list[str]:
            found = connection.execute(
                "SELECT e.launch_id FROM events e JOIN deployments d ON d.id = e.deployment_id "
                "WHERE d.model = ? AND d.version = ? AND e.launch_id IS NOT NULL "
                "GROUP BY e.launch_id ORDER BY max(e.id) DESC LIMIT ?",
                (key.model, key.version, limit),
            )
            return [row["launch_id"] for row in found]

        return await self._database.read(work)

    async def prune_events(self, keep: int) -> None:
        """Keep the newest events of each deployment, so that a crash loop does not fill the disk."""
        await self._database.change(
            "DELETE FROM events WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER "
            "(PARTITION BY deployment_id ORDER BY id DESC) AS place FROM events) WHERE place > ?)",
            (keep,),
        )


def _want_running(
    connection: sqlite3.Connection, key: ModelKey, options: Options, artifact: str, capacity: int
) -> tuple[Deployment, bool]:
    row = rows.get(connection, key)
    now = rows.now()
    if row is not None and row.desired is Desired.RUNNING and row.state is not State.FAILED:
        return row, False
    goes_on = row is not None and row.state in (State.STARTING, State.READY)
    if row is not None and goes_on and (row.options, row.artifact) != (options, artifact):
        # Undeployed a moment ago, and its stop has not begun.
        raise Conflict(
            f"cannot deploy {key} with other options: its processes are still being stopped; try again",
            retry_after=1,
        )
    ports.check_capacity(connection, capacity, but=key, options=options)
    if row is None:
        connection.execute(
            "INSERT INTO deployments (model, version, desired, state, options, artifact, created_at) "
            "VALUES (?, ?, 'running', 'pending', ?, ?, ?)",
            (key.model, key.version, json.dumps(options.as_dict()), artifact, now),
        )
        rows.write_event(connection, key, None, State.PENDING, None, "deploy asked for")
    else:
        connection.execute(
            "UPDATE deployments SET desired = 'running', options = ?, artifact = ?, tries = 0, "
            "parking = 0, not_before = 0, launches = 0, kills = 0, created_at = ?, "
            "proven = (state = 'ready'), "
            "merging = CASE state WHEN 'ready' THEN merging END, "
            "memory = ?, renewed_at = CASE artifact WHEN ? THEN renewed_at ELSE ? END, "
            # Requests that wait at the port of an earlier launch wait for what may be another model now.
            "session = CASE state WHEN 'pending' THEN NULL ELSE session END "
            "WHERE model = ? AND version = ?",
            (
                json.dumps(options.as_dict()),
                artifact,
                now,
                row.memory if measured_alike(row, options, artifact) else None,
                artifact,
                now,
                key.model,
                key.version,
            ),
        )
        if row.state in (State.STOPPED, State.FAILED, State.PARKED):
            armed = rows.get(connection, key)
            assert armed is not None  # noqa: S101 - it was updated in this transaction
            rows.move(connection, armed, State.PENDING, "deploy asked for")
        else:  # stopping, and wanted again: it is started once it has stopped
            rows.write_event(
                connection, key, row.state, row.state, row.launch_id, "deploy asked for"
            )
    changed = rows.get(connection, key)
    assert changed is not None  # noqa: S101
    return changed, True


def _wake(connection: sqlite3.Connection, key: ModelKey) -> Deployment | None:
    row = rows.get(connection, key)
    if row is None or row.desired is Desired.STOPPED:
        return row
    if row.state is State.PARKED:
        return rows.move(connection, row, State.PENDING, "deploy asked for")
    if row.parking:  # it is started once it has stopped
        connection.execute(
            "UPDATE deployments SET parking = 0 WHERE model = ? AND version = ?",
            (key.model, key.version),
        )
        rows.write_event(connection, key, row.state, row.state, row.launch_id, "deploy asked for")
    return rows.get(connection, key)


def measured_alike(row: Deployment, options: Options, artifact: str) -> bool:
    """Whether the memory measured of a row holds for these options and artifacts."""
    now, then = options, row.options
    same = (now.workers, now.env_manager, now.forks) == (then.workers, then.env_manager, then.forks)
    return same and row.artifact == artifact


def live_launches(deployments: Iterable[Deployment]) -> set[str]:
    """The launches that deployments account for."""
    return {row.launch_id for row in deployments if row.launch_id is not None}
