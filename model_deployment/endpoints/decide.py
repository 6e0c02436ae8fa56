"""What to do next about an endpoint, pure: nothing here reads a clock, a registry or a database.

``follow`` compares the alias with what serves; ``decide`` takes a rollout one step on. Each is given rows
and an observation and returns one action, which the loop applies.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from model_deployment.core.domain import Deployment, Desired, State
from model_deployment.core.endpoints import Endpoint, Order, Rollout, RolloutKind, RolloutState
from model_deployment.core.rollouts import following, plan
from model_deployment.endpoints.findings import CandidateFinding, Judgement, Outcome

_PAUSED = "paused by hand; resume lets it go on"
#: Restarts of a candidate after which it is rolled back.
_RESTARTS = 3


# What was seen of the alias.


@dataclass(frozen=True, slots=True)
class AliasAt:
    """The alias names a version."""

    version: int


@dataclass(frozen=True, slots=True)
class NoAlias:
    """The alias or its model is gone, or the registry does not answer; in words."""

    reason: str


AliasSeen = AliasAt | NoAlias


# What to do about the alias.


@dataclass(frozen=True, slots=True)
class Unmoved:
    """Nothing has changed."""


@dataclass(frozen=True, slots=True)
class Notice:
    """The alias says nothing new; only what is wrong with it has changed."""

    text: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """The alias names what serves, or what is on its way already."""

    version: int


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin a rollout, in place of one that is under way."""

    version: int
    kind: RolloutKind
    reason: str


@dataclass(frozen=True, slots=True)
class GoBack:
    """The alias moved back to what serves: roll the candidate back."""

    version: int
    reason: str


Follow = Unmoved | Notice | Arrived | Begin | GoBack


def follow(endpoint: Endpoint, rollout: Rollout | None, seen: AliasSeen) -> Follow:
    """What the alias asks for.

    Args:
        rollout: the newest one of the endpoint.
    """
    if isinstance(seen, NoAlias):
        return Unmoved() if seen.reason == endpoint.notice else Notice(seen.reason)
    version, alias = seen.version, endpoint.name.alias
    if version == endpoint.alias_version:
        return Notice("") if endpoint.notice else Unmoved()
    active = rollout is not None and rollout.active
    if version == endpoint.champion:
        reason = f"the alias {alias} moved back to version {version}, which serves"
        return GoBack(version, reason) if active else Arrived(version)
    if active and rollout is not None and version == rollout.candidate:
        return Arrived(version)
    if version == endpoint.previous:
        return Begin(
            version, RolloutKind.BACK, f"the alias {alias} moved back to version {version}"
        )
    return Begin(version, RolloutKind.FORWARD, f"the alias {alias} names version {version}")


# What was seen of a rollout.


class Work(StrEnum):
    """What the loop does beside its ticks."""

    DEPLOY = "deployment"
    CHECK = "check"
    REPLAY = "replay"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the candidate could not be deployed."""

    reason: str
    #: Another attempt would be refused as well.
    permanent: bool = False
    #: Memory has no room for it.
    memory: bool = False


@dataclass(frozen=True, slots=True)
class RolloutSeen:
    """The observation of one tick."""

    now: datetime
    #: The deployment of the candidate; None if there is none.
    candidate: Deployment | None
    #: The rollout has had it deployed.
    deployed: bool = False
    refusal: Refusal | None = None
    #: What the loop is at.
    working: Work | None = None
    check: CandidateFinding | None = None
    replay: CandidateFinding | None = None
    #: The candidate was replayed or checked, and it is time to try what was inconclusive again.
    retry: bool = False
    judgement: Judgement | None = None
    #: Requests that the candidate answered in the stage it is in.
    requests: int = 0
    #: Restarts of the candidate since the rollout began.
    restarts: int = 0
    #: The candidate grows while memory is short: in words; else empty.
    leak: str = ""
    #: Why the champion must not be stopped to make room: others need it. Empty if nobody does.
    champion_stays: str = ""


# What to do about a rollout.


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do but to say why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Deploy:
    """Deploy the candidate."""


@dataclass(frozen=True, slots=True)
class Recreate:
    """Stop the champion first, and let callers wait for the candidate."""

    reason: str


@dataclass(frozen=True, slots=True)
class Do:
    """Begin a piece of work."""

    work: Work
    reason: str


@dataclass(frozen=True, slots=True)
class Enter:
    """Go on to a state or canary step."""

    state: RolloutState
    step: int
    reason: str


Action = Wait | Deploy | Recreate | Do | Enter


def decide(endpoint: Endpoint, rollout: Rollout, seen: RolloutSeen) -> Action:
    """The next action for a rollout that is under way."""
    if rollout.order is Order.ROLL_BACK:
        return Enter(RolloutState.ROLLED_BACK, 0, "rolled back by hand")
    if stop := _stop(rollout, seen):
        return Enter(RolloutState.ROLLED_BACK, 0, stop)
    candidate = seen.candidate
    if candidate is None or _is_down(candidate, seen):
        return _deploy(endpoint, rollout, seen)
    if candidate.state is not State.READY:
        return Wait(f"its deployment is {candidate.state}{_because(candidate.reason)}")
    if rollout.order is Order.PROMOTE:
        return Enter(RolloutState.PROMOTED, 0, "promoted by hand")
    return _go_on(endpoint, rollout, seen)


def _is_down(candidate: Deployment, seen: RolloutSeen) -> bool:
    """Whether the candidate has to be deployed: it failed earlier, was stopped, or is parked."""
    if candidate.desired is Desired.STOPPED or candidate.state is State.PARKED:
        return True
    return candidate.state is State.FAILED and not seen.deployed


def _go_on(endpoint: Endpoint, rollout: Rollout, seen: RolloutSeen) -> Action:
    """The next action for a candidate that is ready."""
    match rollout.state:
        case RolloutState.DEPLOYING:
            return _next(endpoint, rollout, "it is ready")
        case RolloutState.CHECKING:
            return _work(endpoint, rollout, seen, Work.CHECK, seen.check)
        case RolloutState.REPLAYING:
            return _work(endpoint, rollout, seen, Work.REPLAY, seen.replay)
        case RolloutState.SHADOWING:
            shadow = endpoint.policy.checks.shadow
            limits = (shadow.minutes, shadow.requests) if shadow else (0.0, 0)
            return _stage(endpoint, rollout, seen, *limits)
        case _:
            canary = endpoint.policy.canary
            return _stage(endpoint, rollout, seen, canary.minutes, canary.requests)


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _stop(rollout: Rollout, seen: RolloutSeen) -> str:
    """Why the candidate is rolled back; empty if nothing speaks against it."""
    version, candidate = rollout.candidate, seen.candidate
    if seen.refusal is not None and seen.refusal.permanent:
        return seen.refusal.reason
    if candidate is not None and candidate.state is State.FAILED and seen.deployed:
        return f"version {version} failed{_because(candidate.reason)}"
    if seen.restarts >= _RESTARTS:
        why = _because(candidate.reason if candidate else "")
        return f"version {version} ended {seen.restarts} times{why}"
    if seen.leak:
        return seen.leak
    for finding in (seen.check, seen.replay, seen.judgement):
        if finding is not None and finding.outcome is Outcome.FAILED:
            return finding.reason
    return ""


def _deploy(endpoint: Endpoint, rollout: Rollout, seen: RolloutSeen) -> Action:
    refusal = seen.refusal
    if seen.working is Work.DEPLOY:
        return Wait("it is about to be deployed")
    if refusal is None:
        return Deploy()
    if refusal.memory and rollout.champion is not None:
        if not endpoint.policy.recreate:
            return Wait(
                f"{refusal.reason}. Both versions are needed at once, unless the policy says "
                "recreate: true, which stops the champion first and lets callers wait"
            )
        if seen.champion_stays:
            return Wait(f"{refusal.reason}. The champion is not stopped: {seen.champion_stays}")
        if rollout.order is Order.PAUSE:
            return Wait(_PAUSED)
        return Recreate("memory has no room for both versions: the champion is stopped first")
    return Wait(refusal.reason)


def _next(endpoint: Endpoint, rollout: Rollout, reason: str) -> Action:
    if rollout.order is Order.PAUSE:
        return Wait(_PAUSED)
    state, step = following(endpoint.policy, rollout)
    if state is RolloutState.CANARY:
        reason = f"{reason}; it gets {endpoint.policy.canary.steps[step]:g} % of the requests"
    return Enter(state, step, reason)


def _work(
    endpoint: Endpoint,
    rollout: Rollout,
    seen: RolloutSeen,
    work: Work,
    finding: CandidateFinding | None,
) -> Action:
    if rollout.state not in plan(endpoint.policy, rollout):  # the policy has changed meanwhile
        return _next(endpoint, rollout, "the policy leaves this step out")
    if finding is not None and finding.outcome is Outcome.PASSED:
        return _next(endpoint, rollout, finding.reason)
    if seen.working is work:
        return Wait(finding.reason if finding else f"the {work} is under way")
    if finding is not None and not seen.retry:
        return Wait(f"inconclusive: {finding.reason}")
    return Do(work, f"inconclusive: {finding.reason}" if finding else f"the {work} begins")


def _stage(
    endpoint: Endpoint, rollout: Rollout, seen: RolloutSeen, minutes: float, requests: int
) -> Action:
    if rollout.state not in plan(endpoint.policy, rollout):
        return _next(endpoint, rollout, "the policy leaves this step out")
    left = rollout.since + timedelta(minutes=minutes) - seen.now
    judged = seen.judgement
    if seen.requests < requests:
        text = f"{seen.requests} of {requests} requests answered by version {rollout.candidate}"
        if left <= timedelta(0):
            return Wait(f"inconclusive: {text}")
        return Wait(f"{text}, {_duration(left)} left")
    if left > timedelta(0):
        # Not the figures: the guards show them.
        return Wait(f"{_duration(left)} left, and nothing speaks against it so far")
    if judged is None or judged.outcome is Outcome.INCONCLUSIVE:
        return Wait(f"inconclusive: {judged.reason if judged else 'nothing was counted'}")
    return _next(endpoint, rollout, judged.reason)


def _duration(left: timedelta) -> str:
    seconds = max(0, round(left.total_seconds()))
    return f"{seconds} s" if seconds < 120 else f"{round(seconds / 60)} min"
