"""Ends of launches, within the transaction of the caller; as :class:`Launches` describes them."""

import sqlite3
from typing import Any

from model_deployment.core.actions import Vacate
from model_deployment.core.deployment_lifecycle import check
from model_deployment.core.domain import Deployment, Launch, LaunchRole, LaunchState, State, Step
from model_deployment.core.errors import IllegalTransition
from model_deployment.state import launch_rows, ports, rows

#: What may follow a replica: the next launch, or one of the states in which a deployment rests.
_AFTER = (State.PENDING, State.STOPPED, State.FAILED, State.PARKED)


def release(
    connection: sqlite3.Connection,
    row: Deployment,
    launch: Launch,
    action: Vacate,
    keeps_port: bool,
    quarantined_until: float,
) -> Deployment:
    now = launch_rows.fresh(connection, row, launch)
    launch_rows.check_role(row, launch, LaunchRole.SERVING)
    if action.state not in _AFTER or not check(State(launch.state), action.state):
        raise IllegalTransition(
            f"cannot move replica {launch.replica} of {row.key} from {launch.state} to {action.state}"
        )
    launch_rows.write_event(connection, now, launch, action.state, action.reason)
    if launch.state is LaunchState.READY:
        rows.update(connection, row.key, proven=True)
    if action.state is State.PENDING:
        kept: dict[str, Any] = {}
        if keeps_port:
            kept = {"port": launch.port, "session": launch.session}
        elif launch.port is not None:
            ports.release(connection, launch.port, quarantined_until)
        launch_rows.update(
            connection, launch,
            **launch_rows.GONE | kept,
            state=LaunchState.PENDING, reason=action.reason, tries=action.tries,
            kills=action.kills, not_before=action.not_before,
            options=rows.options_text(now.options), artifact=now.artifact,
            generation=now.generation,
        )  # fmt: skip
        return rows.current(connection, row.key)
    launch_rows.delete(connection, launch, quarantined_until)
    if len(now.serving) > 1:
        return rows.current(connection, row.key)
    # A wake-up is not a restart.
    counted = {"starts": 0} if action.state is State.PARKED else {}
    return rows.update(
        connection, row.key,
        rest=action.state, rest_reason=action.reason, rest_tries=action.tries, parking="",
        **counted,
    )  # fmt: skip


def retire(
    connection: sqlite3.Connection, row: Deployment, launch: Launch, reason: str, until: float
) -> Deployment:
    now = launch_rows.fresh(connection, rows.fresh(connection, row), launch)
    launch_rows.check_role(row, launch, LaunchRole.SERVING)
    if len(now.serving) < 2:
        raise IllegalTransition(f"cannot retire the last replica of {row.key}")
    if launch.state is LaunchState.PENDING:
        launch_rows.write_event(connection, now, launch, State.STOPPED, reason)
        launch_rows.delete(connection, launch, 0.0)
        return rows.current(connection, row.key)
    launch_rows.write_event(connection, now, launch, LaunchState.STOPPING, reason)
    match launch.state:
        case LaunchState.STARTING:  # it has nothing to finish
            launch_rows.retire(connection, launch, reason, Step.TERMINATE, until)
        case _:
            launch_rows.retire(connection, launch, reason, Step.DRAIN, until)
    return rows.current(connection, row.key)


def forget(
    connection: sqlite3.Connection, row: Deployment, launch: Launch, quarantined_until: float
) -> Deployment:
    launch_rows.fresh(connection, row, launch)
    if launch.role is LaunchRole.SERVING:
        raise IllegalTransition(f"cannot forget replica {launch.replica} of {row.key}: it serves")
    launch_rows.check_move(row, launch, None)
    if _told(connection, launch):
        launch_rows.write_event(connection, row, launch, State.STOPPED, launch.reason)
    launch_rows.delete(connection, launch, quarantined_until)
    return rows.current(connection, row.key)


def _told(connection: sqlite3.Connection, launch: Launch) -> bool:
    """Whether its events say that it was stopped, and not that another launch took its place."""
    found = connection.execute(
        "SELECT 1 FROM events WHERE launch_id = ? AND state = 'stopping' AND reason = ?",
        (launch.launch_id, launch.reason),
    )
    return found.fetchone() is not None
