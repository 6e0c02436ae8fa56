"""Statements about rows of replacements, within the transaction of the caller."""

import sqlite3
from typing import Any

from model_deployment.core.domain import Deployment, Desired, LaunchState, Step
from model_deployment.core.errors import Conflict, IllegalTransition
from model_deployment.core.replacement import Replacement, ReplacementState, check
from model_deployment.state import launch_rows, rows

#: Why a launch ends that was to prove a change which nobody wants any more.
_NOT_WANTED = "not wanted any more"


def forget_failure(connection: sqlite3.Connection, row: Deployment) -> None:
    """No longer tell of a replacement that failed."""
    if row.replacement is not None and row.replacement.is_over:
        delete(connection, row)


def cancel(connection: sqlite3.Connection, row: Deployment) -> None:
    """The deployment is wanted otherwise now. Nothing is left of a replacement but launches that end."""
    if row.replacement is not None:
        delete(connection, row)
    drop_coming(connection, row, _NOT_WANTED, 0.0)


def drop_coming(
    connection: sqlite3.Connection, row: Deployment, reason: str, deadline: float
) -> None:
    """Have the launch end that was to prove a change; it never served, so it has nothing to finish."""
    if (coming := row.coming) is None:
        return
    if coming.state is LaunchState.PENDING:
        launch_rows.delete(connection, coming, 0.0)
    else:
        launch_rows.update(
            connection, coming,
            role="retiring", state=LaunchState.STOPPING, step=Step.TERMINATE, deadline=deadline,
            reason=reason,
        )  # fmt: skip


def it_of(row: Deployment) -> Replacement:
    if row.replacement is None:
        raise IllegalTransition(f"cannot go on with the replacement of {row.key}: it has none")
    return row.replacement


def check_move(row: Deployment, state: ReplacementState | None) -> None:
    if not check(it_of(row).state, state):
        raise IllegalTransition(
            f"cannot move the replacement of {row.key} from {it_of(row).state} to {state}"
        )


def move(
    connection: sqlite3.Connection, row: Deployment, state: ReplacementState, reason: str
) -> None:
    """Change the state of the replacement of a deployment as it is now.

    Raises:
        IllegalTransition: the transition is not legal.
    """
    check_move(row, state)
    connection.execute(
        "UPDATE replacements SET state = ?, reason = ?, since = ?, deadline = NULL WHERE id = ?",
        (state, reason, rows.now(), it_of(row).id),
    )


def tell(connection: sqlite3.Connection, row: Deployment, reason: str, **changes: Any) -> None:
    """Say how far its launch is."""
    values = {"reason": reason, **changes}
    columns = ", ".join(f"{name} = :{name}" for name in values)
    connection.execute(
        f"UPDATE replacements SET {columns} WHERE id = :id",  # noqa: S608
        values | {"id": it_of(row).id},
    )


def delete(connection: sqlite3.Connection, row: Deployment) -> None:
    """Nothing is left of the replacement of a deployment as it is now."""
    check_move(row, None)
    connection.execute("DELETE FROM replacements WHERE id = ?", (it_of(row).id,))


def changeable(connection: sqlite3.Connection, row: Deployment) -> Deployment:
    """The deployment as it is now, if nothing has changed and no change is under way.

    Raises:
        IllegalTransition: the deployment has changed since it was read.
        Conflict: another change is under way.
    """
    now = rows.fresh(connection, row)
    if now.desired is Desired.STOPPED:
        raise IllegalTransition(f"cannot change {row.key}: it is undeployed")
    if now.replacement is not None and now.replacement.under_way:
        raise Conflict(
            f"cannot change {row.key}: another change is under way ({now.replacement.purpose}); try "
            "again once it has ended",
            retry_after=1,
        )
    return now
