"""Statements about rows of launches, within the transaction of the caller."""

import sqlite3
from dataclasses import replace
from typing import Any

from model_deployment.core.domain import Deployment, Launch, LaunchRole, LaunchState, State, Step
from model_deployment.core.errors import IllegalTransition
from model_deployment.core.launch_lifecycle import check
from model_deployment.core.options import Options
from model_deployment.state import ports, rows

#: Columns of a launch without processes that keeps no port.
GONE: dict[str, Any] = {
    "launch_id": None, "handle": None, "step": None, "deadline": None, "port": None, "session": None,
    "ready_since": None, "ready_at": None,
}  # fmt: skip


def insert(
    connection: sqlite3.Connection,
    row: Deployment,
    role: LaunchRole,
    reason: str,
    *,
    replica: int = 0,
    options: Options | None = None,
    generation: int | None = None,
) -> None:
    """Want one more launch, with what the deployment has unless other options are given."""
    connection.execute(
        "INSERT INTO launches (deployment_id, role, state, replica, options, artifact, generation, since, "
        "reason) SELECT id, ?, 'pending', ?, ?, artifact, ?, ?, ? FROM deployments "
        "WHERE model = ? AND version = ?",
        (
            role, replica, rows.options_text(options or row.options), generation or row.generation,
            rows.now(), reason, row.key.model, row.key.version,
        ),
    )  # fmt: skip


def update(connection: sqlite3.Connection, launch: Launch, **values: Any) -> None:
    """Set columns of a launch; ``since`` follows its state."""
    if values.get("state", launch.state) is not launch.state:
        values["since"] = rows.now()
    columns = ", ".join(f"{name} = :{name}" for name in values)
    connection.execute(
        f"UPDATE launches SET {columns} WHERE id = :row",  # noqa: S608
        values | {"row": launch.id},
    )


def delete(connection: sqlite3.Connection, launch: Launch, quarantined_until: float) -> None:
    """Delete a launch, and release its port."""
    if launch.port is not None:
        ports.release(connection, launch.port, quarantined_until)
    connection.execute("DELETE FROM launches WHERE id = ?", (launch.id,))


def fresh(connection: sqlite3.Connection, row: Deployment, launch: Launch) -> Deployment:
    """The deployment as it is now, if the launch, and what is wanted of the deployment, have not changed.

    Raises:
        IllegalTransition: they have changed since they were read.
    """
    now = rows.current(connection, row.key)
    found = next((one for one in now.launches if one.id == launch.id), None)
    same = found is not None and replace(found, handle=None) == replace(launch, handle=None)
    if not same or _wanted(now) != _wanted(row):
        state = found.state if found else "gone"
        raise IllegalTransition(
            f"cannot change replica {launch.replica} of {row.key}: it was {launch.state} and has just "
            f"changed (it is {state}, {row.key} is wanted {now.desired})"
        )
    return now


def _wanted(row: Deployment) -> tuple[object, ...]:
    it = row.replacement
    return row.desired, row.parking, it and (it.id, it.state)


def check_move(row: Deployment, launch: Launch, state: LaunchState | None) -> None:
    """Check that a transition is legal.

    Raises:
        IllegalTransition: it is not.
    """
    if not check(launch.state, state):
        raise IllegalTransition(
            f"cannot move replica {launch.replica} of {row.key} from {launch.state} to {state}"
        )


def check_role(row: Deployment, launch: Launch, role: LaunchRole) -> None:
    """Check that a launch is what only such launches are changed as.

    Raises:
        IllegalTransition: it is something else.
    """
    if launch.role is not role:
        raise IllegalTransition(
            f"cannot change replica {launch.replica} of {row.key} as {role}: it is {launch.role}"
        )


def write_event(
    connection: sqlite3.Connection,
    row: Deployment,
    launch: Launch,
    state: State | LaunchState,
    reason: str,
    launch_id: str | None = None,
) -> None:
    """Write what happened to a launch that serves."""
    rows.write_event(
        connection, row.key, launch.state, state, reason,
        launch_id=launch_id or launch.launch_id, replica=launch.replica,
    )  # fmt: skip


def free_number(row: Deployment) -> int:
    """The lowest number that no replica has."""
    taken = {one.replica for one in row.serving}
    return next(number for number in range(len(taken) + 1) if number not in taken)


def retire(
    connection: sqlite3.Connection,
    launch: Launch,
    reason: str,
    step: Step,
    deadline: float | None,
) -> None:
    """Have a live launch end, and get no more requests. One that ends already stays at its step."""
    if launch.state is LaunchState.STOPPING and launch.step is not None:
        step, deadline = launch.step, launch.deadline
    update(
        connection, launch,
        role=LaunchRole.RETIRING, state=LaunchState.STOPPING, step=step, deadline=deadline,
        reason=reason,
    )  # fmt: skip


def renew(connection: sqlite3.Connection, row: Deployment, launch: Launch, **values: Any) -> None:
    """Give a launch without processes what the deployment has by now."""
    update(
        connection, launch,
        options=rows.options_text(row.options), artifact=row.artifact, generation=row.generation,
        **values,
    )  # fmt: skip
