"""The deployments and their events. Every change of a row is one compare-and-set and one event."""

import sqlite3
from collections.abc import Iterable

from model_deployment.core.deployment_lifecycle import check
from model_deployment.core.domain import Deployment, Desired, Launch, LaunchState, State
from model_deployment.core.errors import IllegalTransition
from model_deployment.core.events import Event
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.state import launch_rows, replacement_rows, rows, wanting
from model_deployment.state.database import Database


class Deployments:
    """Reads and changes the rows."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: The rows as they were read last, by id, and what was made of them.
        self._known: dict[int, tuple[rows.Raw, Deployment]] = {}

    async def all(self) -> list[Deployment]:
        """Every row, oldest first. What has not changed is the same object as before."""
        return await self._database.read(self._read_all)

    def _read_all(self, connection: sqlite3.Connection) -> list[Deployment]:
        known, self._known = self._known, {}
        for raw in rows.each(connection):
            id = raw[0]["id"]
            before = known.get(id)
            same = before is not None and before[0] == raw
            self._known[id] = before if before and same else (raw, rows.read(raw))
        return [deployment for _, deployment in self._known.values()]

    async def get(self, key: ModelKey) -> Deployment | None:
        """One row."""
        return await self._database.read(lambda c: rows.get(c, key))

    async def want_running(
        self,
        key: ModelKey,
        options: Options,
        artifact: str,
        capacity: int,
        by: str | None = None,
    ) -> tuple[Deployment, bool]:
        """Want a deployment to run. One that is stopped, failed or parked gets a pending launch.

        Args:
            capacity: number of usable ports.
            by: who asks.

        Returns:
            The row, and whether this call changed it.

        Raises:
            NoFreePort: other rows need all ports.
            Conflict: a launch with other options or artifacts has not begun to stop yet.
        """
        return await self._database.write(
            lambda c: wanting.want_running(c, key, options, artifact, capacity, by)
        )

    async def wake(self, key: ModelKey) -> Deployment | None:
        """Want a deployment that is parked, or being parked, to run. None if there is no such row.

        A change that failed earlier is forgotten, as wherever the deployment starts anew.
        """
        return await self._database.write(lambda c: wanting.wake(c, key))

    async def want_stopped(self, key: ModelKey) -> Deployment | None:
        """Want a deployment to be stopped. None if there is no such row."""
        return await self._database.write(lambda c: wanting.want_stopped(c, key))

    async def rouse(self, row: Deployment, reason: str) -> Deployment:
        """Want a launch of a parked deployment again.

        Raises:
            IllegalTransition: it has changed since it was read, or is not parked.
        """

        def work(connection: sqlite3.Connection) -> Deployment:
            now = rows.fresh(connection, row)
            if now.state is not State.PARKED:
                raise IllegalTransition(f"cannot wake {row.key}: it is {now.state}")
            replacement_rows.forget_failure(connection, now)
            return wanting.begin(connection, now, reason)

        return await self._database.write(work)

    async def settle(self, row: Deployment, state: State, reason: str) -> Deployment:
        """Rest in another state.

        Raises:
            IllegalTransition: it has changed since it was read, or does not rest.
        """

        def work(connection: sqlite3.Connection) -> Deployment:
            now = rows.fresh(connection, row)
            if now.rest is None or not check(now.state, state):
                raise IllegalTransition(f"cannot move {row.key} from {now.state} to {state}")
            rows.write_event(connection, row.key, now.state, state, reason)
            return rows.update(connection, row.key, rest=state, rest_reason=reason, rest_tries=0)

        return await self._database.write(work)

    async def park(self, row: Deployment, reason: str) -> Deployment:
        """Have all launches stop in order to be parked.

        Those that are pending are gone at once; the stops of the others tell the reason in their events.

        Raises:
            IllegalTransition: it has changed since it was read, none of its launches is ready, it is
                not wanted, or a change is under way.
        """

        def work(connection: sqlite3.Connection) -> Deployment:
            now = rows.fresh(connection, row)
            changing = now.replacement is not None and now.replacement.under_way
            if not now.ready or now.desired is Desired.STOPPED or changing:
                raise IllegalTransition(f"cannot park {row.key}: it is {now.state}")
            for launch in now.serving:
                if launch.state is LaunchState.PENDING:
                    launch_rows.write_event(connection, now, launch, State.PARKED, reason)
                    launch_rows.delete(connection, launch, 0.0)
            return rows.update(connection, row.key, parking=reason)

        return await self._database.write(work)

    async def scale(self, row: Deployment, replicas: int, reason: str) -> Deployment:
        """Want another number of replicas.

        Raises:
            IllegalTransition: it has changed since it was read, or its options do not allow the number.
        """

        def work(connection: sqlite3.Connection) -> Deployment:
            now, limits = rows.fresh(connection, row), row.options.replicas
            if not limits.min <= replicas <= limits.max:
                raise IllegalTransition(
                    f"cannot have {replicas} replicas of {row.key}: its options say {limits.min} to "
                    f"{limits.max}"
                )
            rows.note(connection, now, reason)
            return rows.update(connection, row.key, replicas=replicas)

        return await self._database.write(work)

    async def forget_failure(self, key: ModelKey) -> None:
        """No longer tell of a change that failed."""

        def work(connection: sqlite3.Connection) -> None:
            if (row := rows.get(connection, key)) is not None:
                replacement_rows.forget_failure(connection, row)

        await self._database.write(work)

    async def note(self, row: Deployment, reason: str, launch: Launch | None = None) -> None:
        """Write an event without a change of state, of a launch if one is given."""
        await self._database.write(lambda c: rows.note(c, row, reason, launch))

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
        newest = await self.launch_ids(key, 1)
        return newest[0] if newest else None

    async def launch_ids(self, key: ModelKey, limit: int) -> list[str]:
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


def live_launches(deployments: Iterable[Deployment]) -> set[str]:
    """The ids of the launches that deployments account for, of every role."""
    return {
        one.launch_id for row in deployments for one in row.launches if one.launch_id is not None
    }
