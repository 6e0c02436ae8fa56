"""The launches of deployments. Every change is one compare-and-set, and tells of itself in one event.

What happens to launches that do not serve (one that is to prove a change, and those that retire) is told
only where it matters to the deployment.
"""

import sqlite3
from typing import Any

from model_deployment.core.actions import Stop, Vacate
from model_deployment.core.domain import Deployment, Handle, Launch, LaunchRole, LaunchState, State
from model_deployment.core.errors import IllegalTransition
from model_deployment.core.merging import Merging
from model_deployment.state import launch_ends, launch_rows, ports, replacement_rows, rows
from model_deployment.state.database import Database

#: Columns :meth:`Launches.move` may set besides the state.
_CHANGEABLE = frozenset({"step", "deadline", "not_before", "tries", "kills"})


class Launches:
    """Changes the launches; :class:`~model_deployment.state.deployments.Deployments` reads them.

    Each method returns the deployment as it is afterwards, and raises :class:`IllegalTransition` when the
    launch, or what is wanted of the deployment, has changed since it was read, or the change is not legal.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def start(
        self,
        row: Deployment,
        launch: Launch,
        launch_id: str,
        port: int | None,
        deadline: float,
        now: float,
    ) -> Deployment:
        """Lease the port and enter ``starting``, in one transaction, before any process exists.

        A port that the launch has kept stays leased; for another port, or none, it is released.

        Args:
            port: None where the runtime needs none.
            deadline: until when it may take to answer; monotonic clock, in seconds.
            now: the monotonic clock, in seconds.

        Raises:
            IllegalTransition: the launch or the port has changed since it was read.
        """
        return await self._database.write(
            lambda c: _start(c, row, launch, launch_id, port, deadline, now)
        )

    async def record_handle(self, handle: Handle) -> None:
        """Write the runtime's handle of a launch."""
        await self._database.change(
            "UPDATE launches SET handle = ? WHERE launch_id = ?",
            (rows.handle_text(handle), handle.launch_id),
        )

    async def record_memory(self, launch_id: str, size: int) -> None:
        """Write the memory of a launch's processes, in bytes, if it has what the next ones will have."""
        await self._database.change(
            "UPDATE deployments SET memory = :size WHERE (id, generation) IN (SELECT deployment_id, "
            "generation FROM launches WHERE launch_id = :launch AND role = 'serving')",
            {"size": size, "launch": launch_id},
        )

    async def move(
        self, row: Deployment, launch: Launch, state: LaunchState, reason: str, **changes: Any
    ) -> Deployment:
        """Change the state of a launch, or its reason, and keep its processes if it has some.

        Args:
            changes: ``step``, ``deadline``, ``not_before``, ``tries``, ``kills``.
        """
        if not changes.keys() <= _CHANGEABLE:
            raise IllegalTransition(
                f"cannot set {sorted(changes.keys() - _CHANGEABLE)} with a move"
            )
        return await self._database.write(lambda c: _move(c, row, launch, state, reason, **changes))

    async def promote(
        self, row: Deployment, launch: Launch, merging: Merging, now: float
    ) -> Deployment:
        """A replica is healthy: it answers requests from now on.

        Args:
            merging: whether requests to it are merged.
            now: the monotonic clock, in seconds.
        """

        def work(connection: sqlite3.Connection) -> Deployment:
            launch_rows.check_role(row, launch, LaunchRole.SERVING)
            _move(
                connection, row, launch, LaunchState.READY, "healthy",
                deadline=None, ready_since=now, ready_at=rows.now(),
                session=launch.session or launch.launch_id,
            )  # fmt: skip
            return rows.update(connection, row.key, proven=True, merging=rows.merging_text(merging))

        return await self._database.write(work)

    async def stop(self, row: Deployment, launch: Launch, stop: Stop) -> Deployment:
        """Begin to end a launch, or go to the next step."""
        counts = {"tries": stop.tries, "kills": stop.kills}
        return await self._database.write(
            lambda c: _move(
                c, row, launch, LaunchState.STOPPING, stop.reason,
                step=stop.step, deadline=stop.deadline, **counts,
            )
        )  # fmt: skip

    async def release(
        self,
        row: Deployment,
        launch: Launch,
        release: Vacate,
        *,
        keeps_port: bool,
        quarantined_until: float,
    ) -> Deployment:
        """A replica is gone: the next launch in its place is pending, or the place is given up.

        The next launch has what the deployment has by now. With the last place, the deployment rests in the
        state of the release.

        Args:
            keeps_port: whether the port stays with the place.
            quarantined_until: for another launch; monotonic clock, in seconds.
        """
        return await self._database.write(
            lambda c: launch_ends.release(c, row, launch, release, keeps_port, quarantined_until)
        )

    async def add(self, row: Deployment, reason: str) -> Deployment:
        """Want one more replica, with the lowest free number.

        Raises:
            IllegalTransition: the deployment has changed since it was read, or rests.
        """

        def work(connection: sqlite3.Connection) -> Deployment:
            now = rows.fresh(connection, row)
            if now.rest is not None:
                raise IllegalTransition(f"cannot add a replica to {row.key}: it is {now.state}")
            number = launch_rows.free_number(now)
            launch_rows.insert(connection, now, LaunchRole.SERVING, reason, replica=number)
            rows.write_event(connection, row.key, None, State.PENDING, reason, replica=number)
            return rows.current(connection, row.key)

        return await self._database.write(work)

    async def retire(
        self, row: Deployment, launch: Launch, reason: str, until: float
    ) -> Deployment:
        """Send a replica no more requests, and end it.

        A pending one is gone at once. One that starts has nothing to finish, and is to be told to end.

        Args:
            until: until when its requests, or its end, may take; monotonic clock, in seconds.

        Raises:
            IllegalTransition: the deployment has changed since it was read, or has no other replica.
        """
        return await self._database.write(
            lambda c: launch_ends.retire(c, row, launch, reason, until)
        )

    async def forget(self, row: Deployment, launch: Launch, quarantined_until: float) -> Deployment:
        """A launch that retired is gone, or one that was to prove a change which nobody wants any more.

        Args:
            quarantined_until: until when no other launch gets its port; monotonic clock, in seconds.
        """

        return await self._database.write(
            lambda c: launch_ends.forget(c, row, launch, quarantined_until)
        )


def _start(
    connection: sqlite3.Connection,
    row: Deployment,
    launch: Launch,
    launch_id: str,
    port: int | None,
    deadline: float,
    now: float,
) -> Deployment:
    launch_rows.check_move(row, launch, LaunchState.STARTING)
    now_row = launch_rows.fresh(connection, row, launch)
    if port is not None and port == launch.port:
        ports.pass_on(connection, port, launch_id)
    else:
        if launch.port is not None:
            ports.release(connection, launch.port, 0.0)
        if port is not None:
            ports.lease(connection, port, launch_id, now)
    _count_start(connection, launch)
    return _change(
        connection, now_row, launch, LaunchState.STARTING,
        "launch" if port is None else f"launch on port {port}",
        launch_id=launch_id, port=port, handle=None, deadline=deadline, step=None,
        session=launch.session if port == launch.port else None, ready_since=None, ready_at=None,
    )  # fmt: skip


def _count_start(connection: sqlite3.Connection, launch: Launch) -> None:
    """Count the first start of a deployment, and each that takes the place of a launch that ended."""
    if launch.role is LaunchRole.SERVING:
        connection.execute(
            "UPDATE deployments SET starts = starts + 1 FROM launches l WHERE l.id = ? "
            "AND deployments.id = l.deployment_id AND (l.started OR starts = 0)",
            (launch.id,),
        )
    launch_rows.update(connection, launch, started=True)


def _move(
    connection: sqlite3.Connection,
    row: Deployment,
    launch: Launch,
    state: LaunchState,
    reason: str,
    **changes: Any,
) -> Deployment:
    """One compare-and-set update with its event.

    Raises:
        IllegalTransition: the transition is not legal, or the launch has changed since it was read.
    """
    launch_rows.check_move(row, launch, state)
    if launch.is_live == (state is LaunchState.PENDING):
        raise IllegalTransition(
            f"cannot move replica {launch.replica} of {row.key} from {launch.state} to {state}: its "
            "processes neither begin nor end with a move"
        )
    now = launch_rows.fresh(connection, row, launch)
    return _change(connection, now, launch, state, reason, **changes)


def _change(
    connection: sqlite3.Connection,
    row: Deployment,
    launch: Launch,
    state: LaunchState,
    reason: str,
    **changes: Any,
) -> Deployment:
    launch_rows.update(connection, launch, state=state, reason=reason, **changes)
    launch_id = changes.get("launch_id") or launch.launch_id
    if launch.role is LaunchRole.SERVING:
        launch_rows.write_event(connection, row, launch, state, reason, launch_id)
    elif launch.role is LaunchRole.COMING:
        replacement_rows.tell(connection, row, reason)
        if state is LaunchState.STARTING:
            text = f"{replacement_rows.it_of(row).purpose}: {reason}"
            rows.write_event(
                connection, row.key, row.state, row.state, text,
                launch_id=launch_id, replica=launch.replica,
            )  # fmt: skip
    return rows.current(connection, row.key)
