"""Deployments with launches by hand, as the dashboard, metrics and answers see them."""

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from model_deployment.core.domain import (
    Address,
    Deployment,
    Desired,
    Handle,
    Launch,
    LaunchRole,
    LaunchState,
    Rest,
    State,
    Step,
)
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options

FIRST_PORT = 18500
#: What a test says of launches when it names a deployment's state.
_OF_LAUNCHES = {one.name for one in fields(Launch)} - {
    "id",
    "options",
    "artifact",
    "generation",
    "state",
}
_OF_REST = {"reason", "tries"}


def launch(
    state: LaunchState = LaunchState.READY,
    replica: int = 0,
    role: LaunchRole = LaunchRole.SERVING,
    **changes: Any,
) -> Launch:
    """A launch as the schema allows it, with an id that tells role and replica."""
    now = datetime.now(UTC)
    plain = Launch(
        id=replica + 100 * [*LaunchRole].index(role),
        role=role,
        state=state,
        options=Options(),
        artifact="a-1",
        generation=1,
        replica=replica,
        since=now - timedelta(hours=2),
    )
    if state is not LaunchState.PENDING:
        id, port = f"{role}-{replica}", FIRST_PORT + plain.id
        handle = Handle(id, Address("127.0.0.1", port), {"pid": 4000 + plain.id})
        plain = replace(plain, launch_id=id, port=port, handle=handle)
    if state is LaunchState.STOPPING:
        plain = replace(plain, step=Step.DRAIN)
    if state is LaunchState.READY:
        plain = replace(plain, reason="healthy", ready_at=now - timedelta(hours=2))
    return replace(plain, **changes)


def deployed(
    name: str = "a-1",
    state: State = State.READY,
    *,
    launches: Sequence[Launch] | None = None,
    **changes: Any,
) -> Deployment:
    """A deployment in a state: with one launch, with those that are given, or at rest.

    Args:
        changes: members of the deployment, or of its one launch or its rest.
    """
    of_launch = {key: changes.pop(key) for key in _OF_LAUNCHES & changes.keys()}
    given: dict[str, Any] = {
        "options": Options(),
        "artifact": f"{name}-1",
        "created_at": datetime.now(UTC) - timedelta(hours=3),
        "starts": 1,
    }
    if launches is not None:
        serving = [one for one in launches if one.role is LaunchRole.SERVING]
        given |= {"launches": tuple(launches), "replicas": len(serving) or 1}
    elif state in (State.PARKED, State.STOPPED, State.FAILED):
        given["rest"] = Rest(state, **{key: of_launch[key] for key in _OF_REST & of_launch.keys()})
    else:
        one = launch(LaunchState(state), **{"port": FIRST_PORT, **of_launch})
        given["launches"] = (one,)
    desired = Desired.STOPPED if state is State.STOPPED else Desired.RUNNING
    return Deployment(ModelKey.parse(name), **{"desired": desired, **given, **changes})
