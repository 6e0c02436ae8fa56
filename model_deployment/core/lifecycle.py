"""The rules of a deployment's life, pure: what may follow what, and what to do next.

Nothing here looks at a clock, a process or a database. ``decide`` is given a row, what was seen of
its launch, and the time; it returns one action. The reconciler carries it out.
"""

import zlib

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
from model_deployment.core.options import EnvManager

#: Every legal move, with what causes it. ``docs/design.md`` draws its diagram from this.
TRANSITIONS: dict[tuple[State | None, State], str] = {
    (None, State.PENDING): "deploy",
    (State.STOPPED, State.PENDING): "deploy",
    (State.FAILED, State.PENDING): "deploy",
    (State.FAILED, State.STOPPED): "undeploy",
    (State.PARKED, State.PENDING): "request / deploy",
    (State.PARKED, State.STOPPED): "undeploy",
    (State.PENDING, State.STOPPED): "undeploy",
    (State.PENDING, State.PENDING): "held up: no artifacts, no free port",
    (State.PENDING, State.FAILED): "artifacts not to be had, tries used up",
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

#: How a process ends that something outside brings to its end, which is no failure of its own: by SIGHUP,
#: SIGINT, SIGQUIT, SIGKILL (also of a system that is out of memory) and SIGTERM, as Python and as shells
#: tell them; 0, since a server ends orderly when it is told to; None, where nobody could see it.
_OUTSIDE = frozenset({None, 0, *(s for n in (1, 2, 3, 9, 15) for s in (-n, 128 + n))})

#: Why a failure is not tried again.
_FOR_EVER = "another start would fail in the same way"

#: States in which a launch exists.
LIVE = frozenset({State.STARTING, State.READY, State.STOPPING})


def check(source: State | None, target: State) -> bool:
    """Whether the state machine has this move."""
    return (source, target) in TRANSITIONS


def decide(row: Deployment, seen: Observation, now: float, policy: Policy) -> Action:
    """What to do about one deployment.

    Args:
        row: the deployment as the state database has it.
        seen: what was observed of it since.
        now: the monotonic clock, in seconds.
        policy: the figures to go by.
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
            woken = Release(State.PENDING, "a request woke it")
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
        return _wake_up(row, now, policy)
    if seen.health.healthy:
        return _healthy(row, seen, until, policy)
    # A new controller may find the deadline passed, and has to ask at least once.
    asked = seen.health.failures > 0
    if asked and row.deadline is not None and now >= row.deadline:
        reason = f"not ready within {_time_to_start(row, policy):g} s"
        return Stop(reason, Step.TERMINATE, until, row.tries + 1)
    return Nothing()


def _healthy(row: Deployment, seen: Observation, until: float, policy: Policy) -> Action:
    """What follows the first good health check."""
    if not row.options.batch_max_rows:
        return Promote()
    match seen.row_independence:
        case RowIndependence.UNTRIED:
            return CheckBatching()
        case RowIndependence.WORKING:
            return Nothing()
        case RowIndependence.KEPT:
            return Promote()
        case RowIndependence.BROKEN:
            # More tries than there are: another start would be the same model.
            return Stop(seen.row_independence_error, Step.TERMINATE, until, policy.tries + 1)
        case RowIndependence.FAILED:
            return Stop(seen.row_independence_error, Step.TERMINATE, until, row.tries + 1)


def _ready(row: Deployment, seen: Observation, now: float, policy: Policy) -> Action:
    if row.desired is Desired.STOPPED:
        return Stop("undeployed", Step.DRAIN, now + policy.drain_timeout)
    if seen.closing:
        return Stop("the controller is stopping", Step.DRAIN, now + policy.drain_timeout)
    if seen.suspended:
        return _wake_up(row, now, policy)
    if sickness := diagnose(seen, policy):
        # Nothing to drain: what is in flight is what hangs.
        tries, kills = _earlier(row, now, policy)
        return Stop(sickness, Step.TERMINATE, now + policy.stop_grace, tries=tries + 1, kills=kills)
    if leisure := _leisure(row, seen):
        return Stop(leisure, Step.DRAIN, now + policy.drain_timeout, parking=True)
    return Nothing()


def _wake_up(row: Deployment, now: float, policy: Policy) -> Stop:
    """End a launch that something has stopped: it would get no signal but the last one."""
    tries, kills = _earlier(row, now, policy)
    return Stop("its process is stopped (SIGSTOP)", Step.KILL, now + 1.0, tries, kills=kills + 1)


def _leisure(row: Deployment, seen: Observation) -> str:
    """Why a ready launch may be parked, or an empty text."""
    limit, traffic = row.options.idle_timeout, seen.traffic
    if not limit or traffic.in_flight or traffic.reading:
        return ""
    if traffic.idle >= limit:
        return f"nobody asked for {limit:g} s"
    return "idle, and another model needs its place" if seen.evict else ""


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
    """Why a ready launch serves nobody, or an empty text.

    ``/ping`` alone proves nothing: MLflow answers it with 200 while every worker thread hangs. So the
    age of the oldest request and the time-outs in a row count too.
    """
    if seen.health.failures >= policy.probe_failures:
        return f"did not answer {seen.health.failures} health checks in a row"
    if seen.traffic.oldest > policy.request_timeout + policy.request_grace:
        return f"left a request unanswered for {seen.traffic.oldest:.0f} s"
    if seen.traffic.timeouts_in_row >= policy.timeouts_in_row:
        return f"timed out on {seen.traffic.timeouts_in_row} requests in a row"
    return ""


def after_exit(row: Deployment, exit: Exit, closing: bool, now: float, policy: Policy) -> Release:
    """The one rule for every death: not wanted, tries left, or used up."""
    if row.desired is Desired.STOPPED:
        return Release(State.STOPPED, "undeployed")
    if row.parking:
        return Release(State.PARKED, row.reason)
    if closing:
        return _closed(row, policy)
    if row.state is State.STOPPING:
        # It died of the reason it was stopped for, and was judged then. Without one it was an
        # undeploy that was taken back, or an earlier controller that went down.
        if row.tries or row.kills:
            return _rest(row, row.reason, (row.tries, row.kills), now, policy)
        return Release(State.PENDING, "stopped, and wanted again")
    tries, kills = _earlier(row, now, policy)
    worked = row.state is State.READY or row.proven
    if worked and exit.code in _OUTSIDE:
        return _rest(row, exit.reason, (tries, kills + 1), now, policy)
    if exit.permanent and not worked:
        return Release(State.FAILED, f"{exit.reason} ({_FOR_EVER})", tries + 1)
    return _rest(row, exit.reason, (tries + 1, kills), now, policy)


def _closed(row: Deployment, policy: Policy) -> Release:
    # Even one that is out of tries has one with the next controller.
    tries = min(row.tries, policy.tries - 1)
    return Release(State.PENDING, "the controller stopped it", tries)


def _earlier(row: Deployment, now: float, policy: Policy) -> tuple[int, int]:
    """Failures, and ends from outside, in a row before this one.

    A launch that was up for a while starts a new row, and less is enough to forget ends from outside.
    """
    up = 0.0 if row.ready_since is None else max(0.0, now - row.ready_since)
    if up >= policy.stable_after:
        return 0, 0
    return row.tries, max(0, row.kills - int(up / policy.forgets_after))


def after_failure(row: Deployment, cause: str, now: float, policy: Policy) -> Release:
    """The same for a launch that could not even be tried."""
    if row.desired is Desired.STOPPED:
        return Release(State.STOPPED, "undeployed")
    return _rest(row, cause, (row.tries + 1, row.kills), now, policy)


def _rest(
    row: Deployment, cause: str, ends: tuple[int, int], now: float, policy: Policy
) -> Release:
    """Try again, at once or after a while, or give up.

    Args:
        ends: failures, and ends from outside, in a row with this one. Of the latter the first ones cost no
            time, and none of them a try: what works is not given up because something kills it.
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
    """Seconds before try number ``tries + 1``: doubling, with up to a tenth of jitter on top.

    The jitter is a hash of the launch, so that the rule stays pure and a machine full of models
    that died together does not start them together.
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
