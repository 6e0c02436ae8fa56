"""What follows the end of a launch: another try, at once or after a back-off, or none. Pure."""

import zlib

from model_deployment.core.actions import Forget, GiveUp, Policy, Vacate
from model_deployment.core.domain import (
    Deployment,
    Desired,
    Exit,
    Launch,
    LaunchRole,
    LaunchState,
    State,
)

#: Exit statuses whose cause is outside the model, so that they are no failures: SIGHUP, SIGINT, SIGQUIT,
#: SIGKILL (also from the kernel when memory runs out) and SIGTERM, as Python and as shells write them; 0,
#: since a server ends orderly when it is told to; None, where the status could not be collected.
_OUTSIDE = frozenset({None, 0, *(s for n in (1, 2, 3, 9, 15) for s in (-n, 128 + n))})
_PERMANENT = "another start would fail the same way"


def is_wanted(row: Deployment, launch: Launch) -> bool:
    """Whether a launch is to serve once it is ready."""
    if launch.role is LaunchRole.COMING:
        under_way = row.replacement is not None and row.replacement.under_way
        return under_way and row.desired is Desired.RUNNING
    return launch.role is LaunchRole.SERVING and row.desired is Desired.RUNNING


def after_exit(
    row: Deployment, launch: Launch, exit: Exit, closing: bool, now: float, policy: Policy
) -> Vacate | GiveUp | Forget:
    """The one rule for every exit: not wanted, tries left, or tries used up."""
    if launch.role is not LaunchRole.SERVING:
        return _after_other_exit(row, launch, exit, closing)
    return _after_replica_exit(row, launch, exit, closing, now, policy)


def _after_replica_exit(
    row: Deployment, launch: Launch, exit: Exit, closing: bool, now: float, policy: Policy
) -> Vacate:
    if row.desired is Desired.STOPPED:
        return Vacate(State.STOPPED, "undeployed")
    if row.parking:
        return Vacate(State.PARKED, row.parking)
    if closing:
        return closed(launch, policy)
    if launch.state is LaunchState.STOPPING:
        # The failure was counted when the launch was stopped. Without a count it was an undeploy that
        # was revoked, or an earlier controller that shut down.
        if launch.tries or launch.kills:
            return rest(row, launch, launch.reason, (launch.tries, launch.kills), now, policy)
        return Vacate(State.PENDING, "stopped, and deployed again")
    tries, kills = earlier(launch, now, policy)
    worked = launch.state is LaunchState.READY or row.proven
    if worked and exit.code in _OUTSIDE:
        return rest(row, launch, exit.reason, (tries, kills + 1), now, policy)
    if exit.permanent and not worked:
        return Vacate(State.FAILED, f"{exit.reason} ({_PERMANENT})", tries + 1)
    return rest(row, launch, exit.reason, (tries + 1, kills), now, policy)


def _after_other_exit(
    row: Deployment, launch: Launch, exit: Exit, closing: bool
) -> GiveUp | Forget:
    """The same for a launch that is not a replica: it is not tried again."""
    if not is_wanted(row, launch):
        return Forget()
    if launch.state is LaunchState.STOPPING:
        return GiveUp(launch.reason)
    if closing:
        return GiveUp("stopped by the controller")
    return GiveUp(f"{exit.reason} ({_PERMANENT})" if exit.permanent else exit.reason)


def closed(launch: Launch, policy: Policy) -> Vacate:
    # A launch without tries left gets one with the next controller.
    tries = min(launch.tries, policy.tries - 1)
    return Vacate(State.PENDING, "stopped by the controller", tries)


def earlier(launch: Launch, now: float, policy: Policy) -> tuple[int, int]:
    """Consecutive failures, and consecutive ends with an outside cause, before this one.

    A launch that served for a while resets both; a shorter time is enough to forget outside causes.
    """
    up = 0.0 if launch.ready_since is None else max(0.0, now - launch.ready_since)
    if up >= policy.stable_after:
        return 0, 0
    return launch.tries, max(0, launch.kills - int(up / policy.forgets_after))


def rest(
    row: Deployment,
    launch: Launch,
    cause: str,
    ends: tuple[int, int],
    now: float,
    policy: Policy,
) -> Vacate:
    """Try again, now or after a back-off, or give up.

    Args:
        ends: consecutive failures and ends with an outside cause, with this one. The first ends with an
            outside cause cost no time, and none of them costs a try: a working model is not given up
            because something kills it.
    """
    tries, kills = ends
    if tries >= policy.tries and any(one.id != launch.id for one in row.ready):
        # The model works elsewhere: the place is kept, and the last try is repeated now and then.
        delay = _jittered(row, launch, policy.backoff_limit)
        tries = policy.tries - 1
        return Vacate(State.PENDING, cause, tries, now + delay, keeps_port=True, kills=kills)
    if tries > policy.tries:
        return Vacate(State.FAILED, cause, tries)
    if tries == policy.tries:
        return Vacate(State.FAILED, f"{cause} (gave up after {tries} tries)", tries)
    counted = max(tries, kills - policy.free_restarts)
    not_before = now + backoff(row, launch, counted, policy) if counted > 0 else 0.0
    return Vacate(State.PENDING, cause, tries, not_before, keeps_port=True, kills=kills)


def without_another_try(
    row: Deployment, launch: Launch, cause: str, now: float, policy: Policy
) -> Vacate:
    """Give up, since another try would fail the same way.

    Where the model works elsewhere, its place is kept, and the last try is repeated now and then.
    """
    if any(one.id != launch.id for one in row.ready):
        return rest(row, launch, cause, (policy.tries, launch.kills), now, policy)
    return Vacate(State.FAILED, f"{cause} ({_PERMANENT})", launch.tries + 1)


def backoff(row: Deployment, launch: Launch, tries: int, policy: Policy) -> float:
    """Seconds before try number ``tries + 1``: doubling, with up to 10 % of jitter on top."""
    delay = min(policy.backoff_limit, policy.backoff_first * 2.0 ** min(tries - 1, 60))
    return _jittered(row, launch, delay)


def _jittered(row: Deployment, launch: Launch, delay: float) -> float:
    """The jitter is a hash of the launch, so that the rule stays pure, and models that ended together do
    not start together.
    """
    name = launch.launch_id or f"{launch.replica}"
    return float(delay * (1 + zlib.crc32(f"{row.key}/{name}".encode()) / 2**32 / 10))
