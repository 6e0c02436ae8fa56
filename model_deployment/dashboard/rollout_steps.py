"""The steps of a rollout as a row: which are done, where it is and since when, and what is ahead. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise

from model_deployment.core.endpoints import Rollout, RolloutEvent, RolloutState
from model_deployment.core.rollout_counts import StageCounts
from model_deployment.core.rollout_policy import RolloutPolicy
from model_deployment.core.rollouts import plan
from model_deployment.endpoints.evidence import RolloutEvidence
from model_deployment.rendering import numbers

#: What a step is called.
_NAMES = {
    RolloutState.DEPLOYING: "Deploy",
    RolloutState.CHECKING: "Check",
    RolloutState.REPLAYING: "Replay",
    RolloutState.SHADOWING: "Shadow",
    RolloutState.CANARY: "Canary",
    RolloutState.PROMOTED: "Promoted",
}


class Place(StrEnum):
    """Where a rollout is, seen from one of its steps. The texts are shown."""

    DONE = "done"
    HERE = "now"
    AHEAD = "ahead"
    NEVER = "not reached"
    #: Somebody promoted the candidate before.
    SKIPPED = "skipped"
    STOPPED = "stopped here"


@dataclass(frozen=True, slots=True)
class StepView:
    label: str
    place: Place
    #: How long it took, or since when it has been under way, and how far it is.
    detail: str = ""


#: A state, and the index of the canary step.
_At = tuple[RolloutState, int]


def steps(
    policy: RolloutPolicy, rollout: Rollout, events: Sequence[RolloutEvent], now: datetime
) -> list[StepView]:
    """The steps that a rollout has by its policy.

    Args:
        events: of the endpoint, newest first; those of the rollout say how long each step took.
    """
    entered = _entered(rollout, events)
    here = _here(rollout, entered)
    expected = [*_planned(policy, rollout, here)]
    place = expected.index(here) if here in expected else 0
    return [
        StepView(
            _label(policy, at),
            one := _place(rollout, index - place, at, entered),
            _so_far(policy, rollout, now) if one is Place.HERE else _took(at, entered, one),
        )
        for index, at in enumerate(expected)
    ]


def _entered(rollout: Rollout, events: Sequence[RolloutEvent]) -> dict[_At, datetime]:
    """When the rollout entered which step, in order; empty if its events are not known any more."""
    found: dict[_At, datetime] = {}
    canaries = 0
    for event in reversed(events):
        if event.rollout_id != rollout.id or event.state is None:
            continue
        step = canaries if event.state is RolloutState.CANARY else 0
        canaries += event.state is RolloutState.CANARY
        found.setdefault((event.state, step), event.at)
    return found


def _here(rollout: Rollout, entered: dict[_At, datetime]) -> _At:
    """The step that the rollout is in, or was in when it ended."""
    if rollout.active:
        return rollout.state, rollout.step
    if rollout.state is RolloutState.PROMOTED:
        return RolloutState.PROMOTED, 0
    return next((at for at in reversed(entered) if at[0] in _NAMES), (RolloutState.DEPLOYING, 0))


def _planned(policy: RolloutPolicy, rollout: Rollout, here: _At) -> Iterator[_At]:
    planned = {*plan(policy, rollout), here[0]}
    for state in _NAMES:
        if state is RolloutState.CANARY and state in planned:
            # The policy may have changed meanwhile.
            last = max(len(policy.canary.steps), here[1] + 1 if here[0] is state else 0)
            yield from ((state, step) for step in range(last))
        elif state in planned:
            yield state, 0


def _place(rollout: Rollout, distance: int, at: _At, entered: dict[_At, datetime]) -> Place:
    """
    Args:
        distance: of the step from the one that the rollout is in; negative before it.
    """
    if distance > 0:
        return Place.AHEAD if rollout.active else Place.NEVER
    if distance < 0:
        return Place.DONE if at in entered or not entered else Place.SKIPPED
    if rollout.active:
        return Place.HERE
    return Place.DONE if rollout.state is RolloutState.PROMOTED else Place.STOPPED


def _label(policy: RolloutPolicy, at: _At) -> str:
    state, step = at
    shares = policy.canary.steps
    if state is RolloutState.CANARY and step < len(shares):
        return f"{_NAMES[state]} {shares[step]:g} %"
    if state is RolloutState.SHADOWING and policy.checks.shadow is not None:
        return f"{_NAMES[state]} {policy.checks.shadow.share:g} %"
    return _NAMES[state]


def _took(at: _At, entered: dict[_At, datetime], place: Place) -> str:
    if place is not Place.DONE or at[0] is RolloutState.PROMOTED:
        return ""
    moments = [*entered.items()]
    for (entry, began), (_, ended) in pairwise(moments):
        if entry == at:
            return numbers.duration((ended - began).total_seconds())
    return ""


def _so_far(policy: RolloutPolicy, rollout: Rollout, now: datetime) -> str:
    """How long the step has lasted, and how many requests the candidate has answered in it."""
    lasted = numbers.duration((now - rollout.since).total_seconds())
    needed: int | None = None
    if rollout.state is RolloutState.CANARY:
        lasted += f" of at least {policy.canary.minutes:g} min"
        needed = policy.canary.requests
    elif rollout.state is RolloutState.SHADOWING and policy.checks.shadow is not None:
        lasted += f" of at least {policy.checks.shadow.minutes:g} min"
        needed = policy.checks.shadow.requests
    if needed is None:
        return lasted
    counts = RolloutEvidence.from_dict(rollout.evidence).sums
    answered = numbers.number(counts.get(rollout.stage, StageCounts()).candidate.requests)
    return f"{lasted}; {answered} of at least {numbers.number(needed)} requests"
