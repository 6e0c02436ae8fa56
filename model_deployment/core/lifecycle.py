"""The lifecycle of a deployment, pure: the legal transitions, and the decision what to do next.

Nothing here reads a clock, a process or a database. ``decide`` is given a row, an observation and the
time, and returns one action, which the control loop applies.
"""

import zlib

from model_deployment.core import merging
from model_deployment.core.actions import (
    Action,
    Artifact,
    CheckBatching,
    Launch,
    Nothing,
    Observation,
    Policy,
    Prepare,
    Promote,
    RefuseWake,
    Release,
    RowIndependence,
    Stop,
)
from model_deployment.core.domain import Deployment, Desired, Exit, State, Step
from model_deployment.core.merging import Merging
from model_deployment.core.options import AUTO, EnvManager

#: Every legal transition, with its cause. ``docs/design.md`` draws its diagram from this.
TRANSITIONS: dict[tuple[State | None, State], str] = {
    (None, State.PENDING): "deploy",
    (State.STOPPED, State.PENDING): "deploy",
    (State.FAILED, State.PENDING): "deploy",
    (State.FAILED, State.STOPPED): "undeploy",
    (State.PARKED, State.PENDING): "request / deploy",
    (State.PARKED, State.STOPPED): "undeploy",
    (State.PENDING, State.STOPPED): "undeploy",
    (State.PENDING, State.PENDING): "held up: no artifacts, no free port",
    (State.PENDING, State.FAILED): "artifacts unavailable, tries used up",
    (State.PENDING, State.STARTING): "launch",
    (State.STARTING, State.READY): "healthy",
    (State.STARTING, State.STOPPING): "undeploy / deadline / stopped by a signal",
    (State.READY, State.STOPPING): "undeploy / unhealthy / idle",
    (State.STOPPING, State.STOPPING): "drained / deadline",
    (State.STARTING, State.PENDING): "gone, tries left",
    (State.READY, State.PENDING): "gone, tries left / killed from outside",
    (State.STOPPING, State.PENDING): "gone, still wanted",
    (State.STARTING, State.FAILED): "gone, tries used up / another try cannot differ",
    (State.READY, State.FAILED): "gone, tries used up",
    (State.STOPPING, State.FAILED): "gone, tries used up",
    (State.STOPPING, State.PARKED): "gone, idle",
    (State.STARTING, State.STOPPED): "gone, not wanted",
    (State.READY, State.STOPPED): "gone, not wanted",
    (State.STOPPING, State.STOPPED): "gone, not wanted",
}

#: Exit statuses whose cause is outside the model, so that they are no failures: SIGHUP, SIGINT, SIGQUIT,
#: SIGKILL (also from the kernel when memory runs out) and SIGTERM, as Python and as shells write them; 0,
#: since a server ends orderly when it is told to; None, where the status could not be collected.
_OUTSIDE = frozenset({None, 0, *(s for n in (1, 2, 3, 9, 15) for s in (-n, 128 + n))})

#: Why a launch is not repeated.
_PERMANENT = "another start would fail the same way"

#: States in which a launch exists.
LIVE = frozenset({State.STARTING, State.READY, State.STOPPING})


def check(source: State | None, target: State) -> bool:
    """Whether a transition is legal."""
    return (source, target) in TRANSITIONS


def decide(row: Deployment, seen: Observation, now: float, policy: Policy) -> Action:
    """What to do about one deployment.

    Args:
        row: the deployment as the state database has it.
        seen: the observation of this tick.
        now: the monotonic clock, in seconds.
        policy: the limits.
    """
    match row.state:
        case State.PENDING:
            return _pending(row, seen, now, policy)
        case State.STARTING | State.READY | State.STOPPING if seen.exit:
            return after_exit(row, seen.exit, seen.closing, now, policy)
        case State.STARTING:
            return _starting(row, seen, now, policy)
        case State.READY:
            return _ready(row, seen, now, policy)
        case State.STOPPING:
            return _stopping(row, seen, now, policy)
        case State.FAILED | State.PARKED if row.desired is Desired.STOPPED:
            return Release(State.STOPPED, "undeployed")
        case State.PARKED if seen.wake_requested and not seen.closing:
            woken = Release(State.PENDING, "started by a request")
            return RefuseWake(seen.memory_shortage) if seen.memory_shortage else woken
        case _:
            return Nothing()


def _pending(row: Deployment, seen: Observation, now: float, policy: Policy) -> Action:
    if row.desired is Desired.STOPPED:
        return Release(State.STOPPED, "undeployed")
    if seen.closing and row.port is not None:
        return _closed(row, policy)
    if seen.closing or now < row.not_before:
        return Nothing()
    match seen.artifact:
        case Artifact.FAILED:
            return after_failure(row, seen.artifact_error, now, policy)
        case Artifact.MISSING:
            return Prepare()
        case Artifact.READY if seen.may_start and not seen.memory_pressure:
            return Launch(deadline=now + _time_to_start(row, policy))
        case _:
            return Nothing()


def _time_to_start(row: Deployment, policy: Policy) -> float:
    local = row.options.env_manager is EnvManager.LOCAL
    return policy.start_timeout if local else policy.build_timeout


def _starting(row: Deployment, seen: Observation, now: float, policy: Policy) -> Action:
    until = now + policy.cancel_grace
    if row.desired is Desired.STOPPED:
        return Stop("undeployed while starting", Step.TERMINATE, until)
    if seen.closing:
        return Stop("the controller is stopping", Step.TERMINATE, until)
    if seen.suspended:
        return _kill_suspended(row, now, policy)
    if seen.health.healthy:
        return _healthy(row, seen, until, policy)
    # A new controller may find the deadline passed, and has to check health at least once.
    asked = seen.health.failures > 0
    if asked and row.deadline is not None and now >= row.deadline:
        reason = f"not ready within {_time_to_start(row, policy):g} s"
        return Stop(reason, Step.TERMINATE, until, row.tries + 1)
    return Nothing()


def _healthy(row: Deployment, seen: Observation, until: float, policy: Policy) -> Action:
    """What follows the first good health check."""
    limit = row.options.batch_max_rows
    if limit == 0:
        return Promote()
    match seen.row_independence:
        case RowIndependence.UNTRIED:
            return CheckBatching()
        case RowIndependence.WORKING:
            return Nothing()
        case RowIndependence.KEPT:
            return Promote(merging.chosen(limit, seen.row_independence_reason))
        case _ if limit == AUTO:
            return Promote(Merging(0, seen.row_independence_reason))
        case RowIndependence.BROKEN:
            # More tries than there are: another start would load the same model.
            return Stop(seen.row_independence_reason, Step.TERMINATE, until, policy.tries + 1)
        case RowIndependence.FAILED:
            return Stop(seen.row_independence_reason, Step.TERMINATE, until, row.tries + 1)


def _ready(row: Deployment, seen: Observation, now: float, policy: Policy) -> Action:
    if row.desired is Desired.STOPPED:
        return Stop("undeployed", Step.DRAIN, now + policy.drain_timeout)
    if seen.closing:
        return Stop("the controller is stopping", Step.DRAIN, now + policy.drain_timeout)
    if seen.suspended:
        return _kill_suspended(row, now, policy)
    if failure := diagnose(seen, policy):
        # No drain: the requests in flight are the ones that hang.
        tries, kills = _earlier(row, now, policy)
        return Stop(failure, Step.TERMINATE, now + policy.stop_grace, tries=tries + 1, kills=kills)
    if idle_reason := _idle_reason(row, seen):
        return Stop(idle_reason, Step.DRAIN, now + policy.drain_timeout, parking=True)
    return Nothing()


def _kill_suspended(row: Deployment, now: float, policy: Policy) -> Stop:
    """End a suspended launch: the only signal that reaches it is SIGKILL."""
    tries, kills = _earlier(row, now, policy)
    return Stop("its process is stopped (SIGSTOP)", Step.KILL, now + 1.0, tries, kills=kills + 1)


def _idle_reason(row: Deployment, seen: Observation) -> str:
    """Why a ready launch may be parked, or an empty text."""
    limit, traffic = row.options.idle_timeout, seen.traffic
    if not limit or traffic.in_flight or traffic.reading:
        return ""
    if traffic.idle >= limit:
        return f"no request for {limit:g} s"
    return "idle, and another model needs its port or memory" if seen.evict else ""


def _stopping(row: Deployment, seen: Observation, now: float, policy: Policy) -> Action:
    due = row.deadline is None or now >= row.deadline
    # Of an undeployed model nothing is promised to those who are not done asking.
    drained = not (seen.traffic.in_flight or (row.parking and seen.traffic.reading))
    match row.step:
        case Step.DRAIN | Step.TERMINATE if seen.suspended:
            return Stop(row.reason, Step.KILL, now + 1.0, row.tries, row.parking, row.kills)
        case Step.DRAIN if due or drained:
            until = now + policy.stop_grace
            return Stop(row.reason, Step.TERMINATE, until, row.tries, row.parking, row.kills)
        case Step.TERMINATE | Step.KILL if due:
            # Killed again each second: a group may have forked on while the first signal went round.
            return Stop(row.reason, Step.KILL, now + 1.0, row.tries, row.parking, row.kills)
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


def after_exit(row: Deployment, exit: Exit, closing: bool, now: float, policy: Policy) -> Release:
    """The one rule for every exit: not wanted, tries left, or tries used up."""
    if row.desired is Desired.STOPPED:
        return Release(State.STOPPED, "undeployed")
    if row.parking:
        return Release(State.PARKED, row.reason)
    if closing:
        return _closed(row, policy)
    if row.state is State.STOPPING:
        # The failure was counted when the launch was stopped. Without a count it was an undeploy that
        # was revoked, or an earlier controller that shut down.
        if row.tries or row.kills:
            return _rest(row, row.reason, (row.tries, row.kills), now, policy)
        return Release(State.PENDING, "stopped, and deployed again")
    tries, kills = _earlier(row, now, policy)
    worked = row.state is State.READY or row.proven
    if worked and exit.code in _OUTSIDE:
        return _rest(row, exit.reason, (tries, kills + 1), now, policy)
    if exit.permanent and not worked:
        return Release(State.FAILED, f"{exit.reason} ({_PERMANENT})", tries + 1)
    return _rest(row, exit.reason, (tries + 1, kills), now, policy)


def _closed(row: Deployment, policy: Policy) -> Release:
    # A deployment without tries left gets one with the next controller.
    tries = min(row.tries, policy.tries - 1)
    return Release(State.PENDING, "stopped by the controller", tries)


def _earlier(row: Deployment, now: float, policy: Policy) -> tuple[int, int]:
    """Consecutive failures, and consecutive ends with an outside cause, before this one.

    A launch that served for a while resets both; a shorter time is enough to forget outside causes.
    """
    up = 0.0 if row.ready_since is None else max(0.0, now - row.ready_since)
    if up >= policy.stable_after:
        return 0, 0
    return row.tries, max(0, row.kills - int(up / policy.forgets_after))


def after_failure(row: Deployment, cause: str, now: float, policy: Policy) -> Release:
    """The same rule for a launch that could not be started."""
    if row.desired is Desired.STOPPED:
        return Release(State.STOPPED, "undeployed")
    return _rest(row, cause, (row.tries + 1, row.kills), now, policy)


def _rest(
    row: Deployment, cause: str, ends: tuple[int, int], now: float, policy: Policy
) -> Release:
    """Try again, now or after a back-off, or give up.

    Args:
        ends: consecutive failures and ends with an outside cause, with this one. The first ends with an
            outside cause cost no time, and none of them costs a try: a working model is not given up
            because something kills it.
    """
    tries, kills = ends
    if tries > policy.tries:
        return Release(State.FAILED, cause, tries)
    if tries == policy.tries:
        return Release(State.FAILED, f"{cause} (gave up after {tries} tries)", tries)
    counted = max(tries, kills - policy.free_restarts)
    not_before = now + backoff(row, counted, policy) if counted > 0 else 0.0
    return Release(State.PENDING, cause, tries, not_before, keeps_port=True, kills=kills)


def backoff(row: Deployment, tries: int, policy: Policy) -> float:
    """Seconds before try number ``tries + 1``: doubling, with up to 10 % of jitter on top.

    The jitter is a hash of the launch, so that the rule stays pure, and models that ended together do
    not start together.
    """
    delay = min(policy.backoff_limit, policy.backoff_first * 2.0 ** min(tries - 1, 60))
    jitter = zlib.crc32(f"{row.key}/{row.launch_id}".encode()) / 2**32
    return float(delay * (1 + jitter / 10))


def diagram() -> str:
    """The state machine in Mermaid's notation."""
    lines = ["stateDiagram-v2"]
    for (source, target), cause in TRANSITIONS.items():
        lines.append(f"  {source or '[*]'} --> {target}: {cause}")
    return "\n".join(lines)
