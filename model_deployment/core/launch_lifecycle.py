"""The lifecycle of a launch, pure: the legal transitions, and the decision what to do next.

Nothing here reads a clock, a process or a database. ``decide_launch`` is given a deployment, one of its
launches, an observation of the launch and the time, and returns one action, which the control loop applies.
"""

from model_deployment.core import merging
from model_deployment.core.actions import (
    Artifact,
    CheckBatching,
    Forget,
    GiveUp,
    LaunchAction,
    Nothing,
    Observation,
    Policy,
    Prepare,
    Promote,
    RowIndependence,
    Start,
    Stop,
    Switch,
    Vacate,
)
from model_deployment.core.domain import (
    Deployment,
    Desired,
    Launch,
    LaunchRole,
    LaunchState,
    State,
    Step,
)
from model_deployment.core.launch_ends import (
    after_exit,
    closed,
    earlier,
    is_wanted,
    rest,
    without_another_try,
)
from model_deployment.core.merging import Merging
from model_deployment.core.options import AUTO, Options

#: Every legal transition, with its cause. ``docs/design.md`` draws its diagram from this. None: there is no
#: row.
TRANSITIONS: dict[tuple[LaunchState | None, LaunchState | None], str] = {
    (None, LaunchState.PENDING): "deploy / wake-up / change / one more replica",
    (LaunchState.PENDING, LaunchState.PENDING): "held up: no artifacts, port, memory",
    (LaunchState.PENDING, LaunchState.STARTING): "launch",
    (LaunchState.PENDING, None): "not wanted / artifacts unavailable, tries used up / replaced",
    (LaunchState.STARTING, LaunchState.READY): "healthy",
    (LaunchState.STARTING, LaunchState.STOPPING): "not wanted / deadline / stopped by a signal",
    (LaunchState.READY, LaunchState.STOPPING): "not wanted / unhealthy / idle / replaced",
    (LaunchState.STOPPING, LaunchState.STOPPING): "drained / deadline / not wanted",
    (LaunchState.STARTING, LaunchState.PENDING): "gone, tries left",
    (LaunchState.READY, LaunchState.PENDING): "gone, tries left / killed from outside",
    (LaunchState.STOPPING, LaunchState.PENDING): "gone, still wanted",
    (LaunchState.STARTING, None): "gone, tries used up / another try cannot differ / not wanted",
    (LaunchState.READY, None): "gone, tries used up / not wanted",
    (LaunchState.STOPPING, None): "gone, tries used up / idle / not wanted",
}


def check(source: LaunchState | None, target: LaunchState | None) -> bool:
    """Whether a transition is legal."""
    return (source, target) in TRANSITIONS


def decide_launch(
    row: Deployment, launch: Launch, seen: Observation, now: float, policy: Policy
) -> LaunchAction:
    """What to do about one launch.

    A launch with the role ``coming`` is never tried again, and one that retires only ends.

    Args:
        row: the deployment as the state database has it.
        launch: one of ``row.launches``.
        seen: the observation of the launch in this tick.
        now: the monotonic clock, in seconds.
        policy: the limits.
    """
    match launch.state:
        case LaunchState.PENDING:
            return _pending(row, launch, seen, now, policy)
        case _ if seen.exit:
            return after_exit(row, launch, seen.exit, seen.closing, now, policy)
        case LaunchState.STARTING:
            return _starting(row, launch, seen, now, policy)
        case LaunchState.READY:
            return _ready(row, launch, seen, now, policy)
        case LaunchState.STOPPING:
            return _stopping(row, launch, seen, now, policy)


def _pending(
    row: Deployment, launch: Launch, seen: Observation, now: float, policy: Policy
) -> LaunchAction:
    if launch.role is LaunchRole.COMING:
        if not is_wanted(row, launch):
            return Forget()
    elif row.desired is Desired.STOPPED:
        return Vacate(State.STOPPED, "undeployed")
    elif row.parking:
        return Vacate(State.PARKED, row.parking)
    elif recreating(row):
        return Nothing()  # its next launch has other options, which the deployment gets first
    elif seen.closing and launch.port is not None:
        return closed(launch, policy)
    # While the controller is stopping, the replacement of a launch that is coming fails.
    if seen.closing or now < launch.not_before:
        return Nothing()
    return _fetched(row, launch, seen, now, policy)


def _fetched(
    row: Deployment, launch: Launch, seen: Observation, now: float, policy: Policy
) -> LaunchAction:
    match seen.artifact:
        case Artifact.FAILED:
            return after_failure(row, launch, seen.artifact_error, now, policy)
        case Artifact.MISSING:
            return Prepare()
        case Artifact.READY if seen.may_start and not seen.memory_pressure:
            return Start(deadline=now + policy.start_timeout)
        case _:
            return Nothing()


def time_to_begin(options: Options, policy: Policy) -> float:
    """Seconds that a launch may be pending which is to prove a change."""
    return policy.start_timeout + (policy.build_timeout if options.builds else 0.0)


def _starting(
    row: Deployment, launch: Launch, seen: Observation, now: float, policy: Policy
) -> LaunchAction:
    until = now + policy.cancel_grace
    if reason := _cancelled(row, launch, seen):
        return Stop(reason, Step.TERMINATE, until)
    if seen.suspended:
        return _kill_suspended(launch, now, policy)
    if seen.health.healthy:
        return _healthy(launch, seen, until, policy)
    # A new controller may find the deadline passed, and has to check health at least once.
    asked = seen.health.failures > 0
    if asked and launch.deadline is not None and now >= launch.deadline:
        reason = f"not ready within {policy.start_timeout:g} s"
        return Stop(reason, Step.TERMINATE, until, launch.tries + 1)
    return Nothing()


def _cancelled(row: Deployment, launch: Launch, seen: Observation) -> str:
    """Why a start is broken off; else empty."""
    if row.desired is Desired.STOPPED:
        return "undeployed while starting"
    if seen.closing:
        return "the controller is stopping"
    if launch.role is LaunchRole.COMING:
        return "" if is_wanted(row, launch) else "not wanted any more"
    return recreating(row) or row.parking


def _healthy(launch: Launch, seen: Observation, until: float, policy: Policy) -> LaunchAction:
    """What follows the first good health check."""
    limit = launch.options.batch_max_rows
    if limit == 0:
        return _serve(launch, Merging())
    match seen.row_independence:
        case RowIndependence.UNTRIED:
            return CheckBatching()
        case RowIndependence.WORKING:
            return Nothing()
        case RowIndependence.KEPT:
            return _serve(launch, merging.chosen(limit, seen.row_independence_reason))
        case _ if limit == AUTO:
            return _serve(launch, Merging(0, seen.row_independence_reason))
        case RowIndependence.BROKEN:
            # More tries than there are: another start would load the same model.
            return Stop(seen.row_independence_reason, Step.TERMINATE, until, policy.tries + 1)
        case RowIndependence.FAILED:
            return Stop(seen.row_independence_reason, Step.TERMINATE, until, launch.tries + 1)


def _serve(launch: Launch, merging: Merging) -> LaunchAction:
    return Switch(merging) if launch.role is LaunchRole.COMING else Promote(merging)


def _ready(
    row: Deployment, launch: Launch, seen: Observation, now: float, policy: Policy
) -> LaunchAction:
    until = now + policy.drain_timeout
    if row.desired is Desired.STOPPED:
        return Stop("undeployed", Step.DRAIN, until)
    if seen.closing:
        return Stop("the controller is stopping", Step.DRAIN, until)
    if purpose := recreating(row):
        return Stop(purpose, Step.DRAIN, until)
    if seen.suspended:
        return _kill_suspended(launch, now, policy)
    if failure := diagnose(seen, policy):
        # No drain: the requests in flight are the ones that hang.
        tries, kills = earlier(launch, now, policy)
        return Stop(failure, Step.TERMINATE, now + policy.stop_grace, tries=tries + 1, kills=kills)
    return Stop(row.parking, Step.DRAIN, until) if row.parking else Nothing()


def recreating(row: Deployment) -> str:
    """Why the launches that serve have to end before the next ones start; else empty."""
    return row.replacement.purpose if row.replacement and row.replacement.waits_for_stop else ""


def _kill_suspended(launch: Launch, now: float, policy: Policy) -> Stop:
    """End a suspended launch: the only signal that reaches it is SIGKILL."""
    tries, kills = earlier(launch, now, policy)
    return Stop("its process is stopped (SIGSTOP)", Step.KILL, now + 1.0, tries, kills=kills + 1)


def _stopping(
    row: Deployment, launch: Launch, seen: Observation, now: float, policy: Policy
) -> LaunchAction:
    due = launch.deadline is None or now >= launch.deadline
    # Of an undeployed model nothing is promised to those who are not done asking.
    promised = bool(row.parking) or launch.role is LaunchRole.RETIRING
    drained = not (seen.traffic.in_flight or (promised and seen.traffic.reading))
    match launch.step:
        case Step.DRAIN | Step.TERMINATE if seen.suspended:
            return Stop(launch.reason, Step.KILL, now + 1.0, launch.tries, launch.kills)
        case Step.DRAIN if due or drained:
            until = now + policy.stop_grace
            return Stop(launch.reason, Step.TERMINATE, until, launch.tries, launch.kills)
        case Step.TERMINATE | Step.KILL if due:
            # Killed again each second: a group may have forked on while the first signal went round.
            return Stop(launch.reason, Step.KILL, now + 1.0, launch.tries, launch.kills)
        case _:
            return Nothing()


def diagnose(seen: Observation, policy: Policy) -> str:
    """Why a ready launch does not serve, or an empty text.

    ``/ping`` alone proves nothing: MLflow answers it with 200 while every worker thread hangs. So the
    age of the oldest request and consecutive time-outs count too.
    """
    if seen.health.failures >= policy.probe_failures:
        return f"did not answer {seen.health.failures} health checks in a row"
    if seen.traffic.oldest > policy.request_timeout + policy.request_grace:
        return f"did not answer a request for {seen.traffic.oldest:.0f} s"
    if seen.traffic.timeouts_in_row >= policy.timeouts_in_row:
        return f"timed out on {seen.traffic.timeouts_in_row} requests in a row"
    return ""


def after_failure(
    row: Deployment,
    launch: Launch,
    cause: str,
    now: float,
    policy: Policy,
    *,
    permanent: bool = False,
) -> Vacate | GiveUp:
    """What follows for a launch that could not be started.

    Args:
        permanent: another try would fail the same way.
    """
    if launch.role is LaunchRole.COMING:
        return GiveUp(cause)
    if row.desired is Desired.STOPPED:
        return Vacate(State.STOPPED, "undeployed")
    if permanent:
        return without_another_try(row, launch, cause, now, policy)
    return rest(row, launch, cause, (launch.tries + 1, launch.kills), now, policy)


def diagram() -> str:
    """The state machine in Mermaid's notation."""
    lines = ["stateDiagram-v2"]
    for (source, target), cause in TRANSITIONS.items():
        lines.append(f"  {source or '[*]'} --> {target or '[*]'}: {cause}")
    return "\n".join(lines)
