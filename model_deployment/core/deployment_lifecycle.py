"""The lifecycle of a deployment, pure: how many launches it has, and what is done while none serves.

``decide_deployment`` is given a row, an observation and the time, and returns one action; what becomes of
each launch is decided by :mod:`model_deployment.core.launch_lifecycle`.
"""

from model_deployment.core.actions import (
    AddReplica,
    DeploymentAction,
    DeploymentObservation,
    EndReplacement,
    FailReplacement,
    HandOver,
    Nothing,
    Park,
    Policy,
    RefuseWake,
    Retire,
    Settle,
    Wake,
)
from model_deployment.core.domain import Deployment, Desired, Launch, LaunchState, State
from model_deployment.core.measures import LaunchTraffic
from model_deployment.core.replacement import Replacement, ReplacementState

#: Every legal change of the state that people see, with its cause: that of the replica that is furthest.
#: ``docs/design.md`` draws its diagram from this. None: there is no row.
TRANSITIONS: dict[tuple[State | None, State], str] = {
    (None, State.PENDING): "deploy",
    (State.STOPPED, State.PENDING): "deploy",
    (State.FAILED, State.PENDING): "deploy / change",
    (State.FAILED, State.STOPPED): "undeploy",
    (State.PARKED, State.PENDING): "request / deploy",
    (State.PARKED, State.STOPPED): "undeploy",
    (State.PENDING, State.STOPPED): "undeploy",
    (State.PENDING, State.FAILED): "artifacts unavailable, tries used up",
    (State.PENDING, State.PARKED): "idle",
    (State.PENDING, State.STARTING): "launch",
    (State.STARTING, State.READY): "healthy / replaced",
    (State.PENDING, State.READY): "replaced",
    (State.STOPPING, State.READY): "replaced",
    (State.PARKED, State.READY): "replaced",
    (State.FAILED, State.READY): "replaced",
    (State.STARTING, State.STOPPING): "undeploy / deadline / stopped by a signal",
    (State.READY, State.STOPPING): "undeploy / unhealthy / idle",
    (State.STARTING, State.PENDING): "gone, tries left",
    (State.READY, State.PENDING): "gone, tries left / killed from outside",
    (State.READY, State.STARTING): "gone or stopping, and another replica starts",
    (State.STOPPING, State.STARTING): "another replica starts",
    (State.STOPPING, State.PENDING): "gone, still wanted",
    (State.STARTING, State.FAILED): "gone, tries used up / another try cannot differ",
    (State.READY, State.FAILED): "gone, tries used up",
    (State.STOPPING, State.FAILED): "gone, tries used up",
    (State.STARTING, State.PARKED): "gone, idle",
    (State.READY, State.PARKED): "gone, idle",
    (State.STOPPING, State.PARKED): "gone, idle",
    (State.STARTING, State.STOPPED): "gone, not wanted",
    (State.READY, State.STOPPED): "gone, not wanted",
    (State.STOPPING, State.STOPPED): "gone, not wanted",
}

#: Of launches that are not ready, those that are missed least are retired first.
_SPARED = {
    LaunchState.PENDING: 0,
    LaunchState.STOPPING: 1,
    LaunchState.STARTING: 2,
    LaunchState.READY: 3,
}


def check(source: State | None, target: State) -> bool:
    """Whether a change is legal. A launch may change, and its deployment's state stay as it is."""
    return source is target or (source, target) in TRANSITIONS


def decide_deployment(
    row: Deployment, seen: DeploymentObservation, now: float, policy: Policy
) -> DeploymentAction:
    """What to do about one deployment, beside what is decided of its launches.

    Args:
        row: the deployment as the state database has it.
        seen: the observation of this tick.
        now: the monotonic clock, in seconds.
        policy: the limits.
    """
    if row.desired is Desired.STOPPED:
        if row.state in (State.FAILED, State.PARKED):
            return Settle(State.STOPPED, "undeployed")
        return EndReplacement() if row.replacement else Nothing()
    if row.replacement is not None and (action := _replace(row, row.replacement, seen, now)):
        return action
    if row.rest is not None:
        return _wake(row.rest.state, seen)
    if seen.closing or row.parking or (row.replacement and row.replacement.waits_for_stop):
        return Nothing()
    if reason := _idle_reason(row, seen):
        return Park(reason)
    return _scale(row, seen)


def _replace(
    row: Deployment, it: Replacement, seen: DeploymentObservation, now: float
) -> DeploymentAction | None:
    """What the replacement needs now; None if nothing."""
    if it.waits_for_stop:
        if any(one.is_live for one in row.launches):
            return None
        # Options with which the model cannot be loaded are to fail once.
        return Retire(_superfluous(row), it.purpose) if len(row.serving) > 1 else HandOver()
    if it.state is ReplacementState.ROLLING:
        before = any(one.generation < row.generation for one in row.launches)
        return None if before or row.retiring else EndReplacement()
    coming = row.coming
    if it.state is not ReplacementState.COMING or (coming and coming.is_live):
        return None
    if seen.closing:
        return FailReplacement("the controller was stopped")
    # That of the launch counts if it has one: the replacement's ends with a boot of the machine.
    deadline = it.deadline if coming is None or coming.deadline is None else coming.deadline
    if deadline is None or now < deadline:
        return None
    why = coming.reason if coming else it.reason
    return FailReplacement(f"it could not be started in time: {why}")


def _wake(state: State, seen: DeploymentObservation) -> DeploymentAction:
    if state is not State.PARKED or not seen.wake_requested or seen.closing:
        return Nothing()
    return (
        RefuseWake(seen.memory_shortage) if seen.memory_shortage else Wake("started by a request")
    )


def _idle_reason(row: Deployment, seen: DeploymentObservation) -> str:
    """Why a deployment may be parked, or an empty text."""
    replaced = row.replacement is not None and row.replacement.under_way
    if replaced or not row.ready:
        return ""
    if seen.park_requested:
        return seen.park_requested
    limit = row.options.idle_timeout
    if not limit:
        return ""
    live = [_traffic(one, seen) for one in row.launches if one.is_live]
    if any(one.in_flight or one.reading for one in live):
        return ""
    if min(_traffic(one, seen).idle for one in row.ready) >= limit:
        return f"no request for {limit:g} s"
    return "idle, and another model needs its port or memory" if seen.evict else ""


def _traffic(launch: Launch, seen: DeploymentObservation) -> LaunchTraffic:
    return seen.traffic.get(launch.launch_id or "", LaunchTraffic())


def _scale(row: Deployment, seen: DeploymentObservation) -> DeploymentAction:
    """One more replica, or one fewer; those of an earlier generation are replaced one after another.

    A replica that is ready is retired only if enough others are. Without one that is ready none is added: a
    model that cannot be loaded is to fail once, and not as often as it has replicas.
    """
    spare = len(row.serving) - row.replicas
    rolling = any(one.generation < row.generation for one in row.ready)
    if spare > int(rolling):
        return Retire(_superfluous(row), f"{_shown(row.replicas)} wanted")
    if rolling:
        current = [one for one in row.serving if one.generation >= row.generation]
        if spare >= 0 and any(one.state is not LaunchState.READY for one in current):
            return Nothing()  # one after another
        if spare == 0 and row.retiring:
            return Nothing()  # what ends still needs its memory and its port
        if spare > 0:
            return Retire(_superfluous(row), f"replaced: {_purpose(row)}")
        return _add(row, seen, _purpose(row) if spare == 0 else f"{_shown(row.replicas)} wanted")
    return _add(row, seen, f"{_shown(row.replicas)} wanted") if spare < 0 else Nothing()


def _add(row: Deployment, seen: DeploymentObservation, reason: str) -> DeploymentAction:
    return AddReplica(reason) if row.ready and not seen.memory_shortage else Nothing()


def _superfluous(row: Deployment) -> Launch:
    """The replica that is missed least."""
    enough = len(row.ready) > row.replicas
    return min(
        row.serving,
        key=lambda one: (
            one.state is LaunchState.READY and not enough,
            one.generation,
            # Requests may wait at the port of a launch that has served.
            one.state is not LaunchState.READY and one.session is not None,
            _SPARED[one.state],
            -one.replica,
        ),
    )


def _purpose(row: Deployment) -> str:
    return row.replacement.purpose if row.replacement else "change of options"


def _shown(replicas: int) -> str:
    return "1 replica is" if replicas == 1 else f"{replicas} replicas are"


def diagram() -> str:
    """The state machine in Mermaid's notation."""
    lines = ["stateDiagram-v2"]
    for (source, target), cause in TRANSITIONS.items():
        lines.append(f"  {source or '[*]'} --> {target}: {cause}")
    return "\n".join(lines)
