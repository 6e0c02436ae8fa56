"""What the API asks of deployments: to run, to stop, to wake; within the transaction of the caller."""

import sqlite3

from model_deployment.core.domain import Deployment, Desired, LaunchRole, LaunchState, State
from model_deployment.core.errors import Conflict
from model_deployment.core.names import ModelKey
from model_deployment.core.option_changes import measured_alike
from model_deployment.core.options import Options
from model_deployment.state import launch_rows, ports, replacement_rows, rows

_ASKED = "deploy asked for"


def begin(connection: sqlite3.Connection, row: Deployment, reason: str) -> Deployment:
    """Give a deployment that rests its first launch, which is pending."""
    rows.write_event(connection, row.key, row.state, State.PENDING, reason)
    launch_rows.insert(connection, row, LaunchRole.SERVING, reason)
    return rows.update(connection, row.key, rest=None, rest_reason="", rest_tries=0)


def want_running(
    connection: sqlite3.Connection,
    key: ModelKey,
    options: Options,
    artifact: str,
    capacity: int,
    by: str | None,
) -> tuple[Deployment, bool]:
    row = rows.get(connection, key)
    if row is not None and row.desired is Desired.RUNNING and row.state is not State.FAILED:
        return row, False
    if row is not None and _goes_on(row) and (row.options, row.artifact) != (options, artifact):
        # Undeployed a moment ago, and its stop has not begun.
        raise Conflict(
            f"cannot deploy {key} with other options: its processes are still being stopped; try again",
            retry_after=1,
        )
    ports.check_capacity(connection, capacity, but=key, options=options)
    if row is not None:
        return _want_again(connection, row, options, artifact, by), True
    connection.execute(
        "INSERT INTO deployments (model, version, desired, options, artifact, replicas, created_at, "
        "deployed_by) VALUES (?, ?, 'running', ?, ?, ?, ?, ?)",
        (
            key.model, key.version, rows.options_text(options), artifact, options.replicas.min,
            rows.now(), by,
        ),
    )  # fmt: skip
    rows.write_event(connection, key, None, State.PENDING, _ASKED)
    launch_rows.insert(connection, rows.current(connection, key), LaunchRole.SERVING, _ASKED)
    return rows.current(connection, key), True


def _goes_on(row: Deployment) -> bool:
    return any(one.state in (LaunchState.STARTING, LaunchState.READY) for one in row.serving)


def _want_again(
    connection: sqlite3.Connection,
    row: Deployment,
    options: Options,
    artifact: str,
    by: str | None,
) -> Deployment:
    """Count from nothing for a deployment that has failed, or is not wanted."""
    replacement_rows.cancel(connection, row)
    now = rows.now()
    other = (row.options, row.artifact) != (options, artifact)
    changed = rows.update(
        connection, row.key,
        desired=Desired.RUNNING, deployed_by=by, options=rows.options_text(options), artifact=artifact,
        generation=row.generation + other, replicas=options.replicas.min, starts=0, parking="",
        created_at=now, proven=bool(row.ready),
        merging=rows.merging_text(row.merging) if row.ready else None,
        memory=row.memory if measured_alike(row, options, artifact) else None,
        **({} if row.artifact == artifact else {"renewed_at": now}),
    )  # fmt: skip
    if changed.rest is not None:
        return begin(connection, changed, _ASKED)
    for launch in changed.serving:
        launch_rows.update(connection, launch, tries=0, kills=0, not_before=0.0)
        if launch.state is LaunchState.PENDING:
            # Requests that wait at the port of an earlier launch wait for what may be another model now.
            launch_rows.renew(connection, changed, launch, session=None)
    # One that stops is started once it has stopped.
    rows.note(connection, changed, _ASKED)
    return rows.current(connection, row.key)


def want_stopped(connection: sqlite3.Connection, key: ModelKey) -> Deployment | None:
    row = rows.get(connection, key)
    if row is None or row.desired is Desired.STOPPED:
        return row
    replacement_rows.cancel(connection, row)
    rows.note(connection, row, "undeploy asked for")
    return rows.update(connection, key, desired=Desired.STOPPED)


def wake(connection: sqlite3.Connection, key: ModelKey) -> Deployment | None:
    row = rows.get(connection, key)
    if row is None or row.desired is Desired.STOPPED:
        return row
    replacement_rows.forget_failure(connection, row)
    if row.state is State.PARKED:
        return begin(connection, rows.current(connection, key), _ASKED)
    if row.parking:  # it is started once it has stopped
        rows.note(connection, row, _ASKED)
        return rows.update(connection, key, parking="")
    return rows.current(connection, key)
