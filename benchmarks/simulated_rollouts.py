"""Traffic for ``rollouts.py``: simulated requests, judged and decided by the real guards and steps."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from report import ROOT

sys.path.insert(0, str(ROOT))

from model_deployment.core.domain import Deployment, Desired, State
from model_deployment.core.endpoints import (
    Endpoint,
    EndpointName,
    Order,
    Rollout,
    RolloutKind,
    RolloutState,
)
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.core.rollout_counts import ArmCounts, RolloutCounts, StageCounts
from model_deployment.core.rollout_policy import RolloutPolicy, ShadowPolicy
from model_deployment.endpoints.decide import Enter, RolloutSeen, decide
from model_deployment.endpoints.findings import Judgement, Outcome
from model_deployment.endpoints.guards.judge import judge
from model_deployment.endpoints.guards.labelled_losses import LabelledLosses, poor_bound
from model_deployment.recording.histogram import BOUNDS

BEGIN = datetime(2026, 11, 29, tzinfo=UTC)
#: Seconds whose requests are drawn at once, and seconds after which a rollout that goes on is given up.
_CHUNK, _LONGEST = 60, 3 * 3600
#: Flagger's defaults for a rollout: at least so many percent succeed, or a check has failed.
_SUCCESS, _FAILED_CHECKS, _CHECK_SECONDS = 0.99, 5, 60


@dataclass(frozen=True)
class Harm:
    """What the candidate does otherwise than the champion; by default nothing."""

    #: Its share of failed requests; None: the champion's.
    errors: float | None = None
    latency: float = 1.0
    loss: float = 1.0


@dataclass(frozen=True)
class Traffic:
    """How callers, machine and labels are."""

    #: Requests a second.
    rate: float
    #: Share of requests that the champion fails, but for bursts.
    errors: float
    #: Bursts in a quarter of an hour, of 5 to 60 s, in which 20 to 100 % fail, whichever version answers.
    bursts: float = 0.0
    #: Of the logarithm of latencies.
    deviation: float = 0.5
    #: Share of the answers that get a label.
    labels: float = 0.0


def any_traffic(chance: np.random.Generator) -> Traffic:
    """Callers of all kinds."""
    return Traffic(
        rate=float(np.exp(chance.uniform(np.log(0.2), np.log(20)))),
        errors=float(chance.choice([0, 0.001, 0.01, 0.05])),
        bursts=float(chance.choice([0, 2])),
        deviation=float(chance.uniform(0.3, 1)),
        labels=float(chance.choice([0, 0.1, 0.5])),
    )


@dataclass
class Second:
    """What both versions did in one second: champion, candidate."""

    requests: tuple[int, int]
    failures: tuple[int, int]
    latencies: tuple[dict[int, int], dict[int, int]]
    labelled: tuple[int, int]
    poor: tuple[int, int]


class Requests:
    """Draws requests, by the second."""

    def __init__(self, traffic: Traffic, harm: Harm, chance: np.random.Generator) -> None:
        self._traffic, self._harm, self._chance = traffic, harm, chance
        self._load = 0.0
        self._burst = (0, 0.0)
        self.bound = poor_bound(np.abs(chance.standard_t(3, 500)).tolist()) or 0.0

    def seconds(self, share: Callable[[], float]) -> Iterator[Second]:
        while True:
            yield from self._drawn(share())

    def _drawn(self, share: float) -> Iterator[Second]:
        """One chunk, in which the candidate has the same share."""
        chance, traffic = self._chance, self._traffic
        load, errors = np.empty(_CHUNK), np.full(_CHUNK, traffic.errors)
        for second in range(_CHUNK):
            self._load = 0.95 * self._load + 0.06 * chance.normal()
            load[second] = np.exp(self._load)
            left, level = self._burst
            if not left and chance.random() < traffic.bursts / 900:
                left, level = int(chance.integers(5, 60)), chance.uniform(0.2, 1)
            if left:
                errors[second] = level
            self._burst = (max(left - 1, 0), level)
        numbers = chance.poisson(traffic.rate, _CHUNK)
        of_candidate = chance.binomial(numbers, share)
        found = [
            self._arm(numbers - of_candidate, errors, load, Harm()),
            self._arm(of_candidate, errors, load, self._harm),
        ]
        for champion, candidate in zip(*found, strict=True):
            yield Second(*zip(champion, candidate, strict=True))  # type: ignore[arg-type]

    def _arm(
        self, numbers: np.ndarray, errors: np.ndarray, load: np.ndarray, harm: Harm
    ) -> Iterator[tuple[int, int, dict[int, int], int, int]]:
        chance, traffic = self._chance, self._traffic
        own = errors if harm.errors is None else np.maximum(errors, harm.errors)
        failures = chance.binomial(numbers, own)
        answers = numbers - failures
        second = np.repeat(np.arange(_CHUNK), answers)
        took = 20 * chance.lognormal(0, traffic.deviation, len(second)) * load[second]
        # One of a hundred waits for something: a heavy tail.
        waits = chance.random(len(second)) < 0.01
        took += waits * 50 * (1 + chance.pareto(1.5, len(second)))
        places = np.searchsorted(BOUNDS, took * harm.latency)
        labelled = chance.binomial(answers, traffic.labels)
        losses = harm.loss * np.abs(chance.standard_t(3, int(labelled.sum())))
        of = np.repeat(np.arange(_CHUNK), labelled)
        poor = np.bincount(of, losses > self.bound, _CHUNK).astype(int)
        starts = np.searchsorted(second, np.arange(_CHUNK + 1))
        for at in range(_CHUNK):
            some, times = np.unique(places[starts[at] : starts[at + 1]], return_counts=True)
            histogram = dict(zip(some.tolist(), times.tolist(), strict=True))
            yield int(numbers[at]), int(failures[at]), histogram, int(labelled[at]), int(poor[at])


@dataclass(frozen=True)
class End:
    """How a rollout ended."""

    state: RolloutState
    requests: int
    #: Of both versions, when the candidate was stopped.
    guard: str = ""
    seconds: int = 0

    @property
    def stopped(self) -> bool:
        return self.state is RolloutState.ROLLED_BACK


#: Judges all counts, those of the last second, the seconds since the canary began, and the labels.
Rule = Callable[[Rollout, RolloutCounts, Second, int, LabelledLosses | None], Judgement]


def guards(policy: RolloutPolicy) -> Rule:
    """The guards, looked at each second."""
    state: dict[str, Any] = {}

    def rule(
        rollout: Rollout,
        counts: RolloutCounts,
        last: Second,
        now: int,
        known: LabelledLosses | None,
    ) -> Judgement:
        nonlocal state
        state, judgement = judge(state, rollout, policy, counts, known)
        return judgement

    return rule


def fixed_limit() -> Rule:
    """Flagger's: five checks, one a minute, in which less than 99 % of the candidate's requests succeed."""
    failed, minute = 0, [0, 0]

    def rule(
        rollout: Rollout,
        counts: RolloutCounts,
        last: Second,
        now: int,
        known: LabelledLosses | None,
    ) -> Judgement:
        nonlocal failed, minute
        minute = [minute[0] + last.requests[1], minute[1] + last.failures[1]]
        if now % _CHECK_SECONDS == _CHECK_SECONDS - 1:
            failed += bool(minute[0]) and minute[1] > (1 - _SUCCESS) * minute[0]
            minute = [0, 0]
        stopped = failed >= _FAILED_CHECKS
        return Judgement(Outcome.FAILED if stopped else Outcome.PASSED, "a fixed limit")

    return rule


def rollout(
    traffic: Traffic, harm: Harm, policy: RolloutPolicy, rule: Rule, chance: np.random.Generator
) -> End:
    """One canary, from its first step to its end."""
    endpoint = Endpoint(1, EndpointName("model", "champion"), policy, BEGIN, champion=3)
    ready = Deployment(
        ModelKey("model", 4), Desired.RUNNING, State.READY, Options(), "a", created_at=BEGIN
    )
    now = Rollout(
        1, 1, 4, 3, RolloutKind.FORWARD, RolloutState.CANARY, 0, Order.ADVANCE, "", {}, BEGIN, BEGIN
    )
    requests = Requests(traffic, harm, chance)
    counts: RolloutCounts = {}
    known = LabelledLosses(requests.bound)
    seen, share = 0, [policy.canary.steps[0] / 100]
    judgement = Judgement(Outcome.INCONCLUSIVE, "")
    for at, second in enumerate(requests.seconds(lambda: share[0])):
        seen += sum(second.requests)
        here = counts.setdefault(now.stage, StageCounts())
        if sum(second.requests):
            _count(here, second)
            known = _labelled(known, second)
            judgement = rule(now, counts, second, at, known)
        clock = BEGIN + timedelta(seconds=at + 1)
        observed = RolloutSeen(
            clock, ready, True, judgement=judgement, requests=here.candidate.requests
        )
        action = decide(endpoint, now, observed)
        if isinstance(action, Enter):
            if action.state is not RolloutState.CANARY:
                failed = [one.guard for one in judgement.readings if one.outcome is Outcome.FAILED]
                return End(action.state, seen, ", ".join(failed), at + 1)
            now = replace(now, step=action.step, since=clock)
            share[0] = policy.canary.steps[action.step] / 100
        if at >= _LONGEST:
            break
    return End(now.state, seen)


def _count(counts: StageCounts, second: Second) -> None:
    for place, arm in enumerate((counts.champion, counts.candidate)):
        arm.requests += second.requests[place]
        if second.failures[place]:
            arm.failures["502"] = arm.failures.get("502", 0) + second.failures[place]
        for bucket, times in second.latencies[place].items():
            arm.latencies[bucket] = arm.latencies.get(bucket, 0) + times


def _labelled(known: LabelledLosses, second: Second) -> LabelledLosses:
    return replace(
        known,
        champion_answers=known.champion_answers + second.labelled[0],
        candidate_answers=known.candidate_answers + second.labelled[1],
        champion_poor=known.champion_poor + second.poor[0],
        candidate_poor=known.candidate_poor + second.poor[1],
    )


def shadow(
    copies: int, errors: float, harm: float, of_inputs: bool, chance: np.random.Generator
) -> int | None:
    """After how many copied requests the candidate is stopped; None if it is not.

    Args:
        errors: share of requests that the champion fails.
        harm: that the candidate fails.
        of_inputs: failures depend on what is asked: the candidate fails what the champion fails, and more.
    """
    now = Rollout(
        1, 1, 4, 3, RolloutKind.FORWARD, RolloutState.SHADOWING, 0, Order.ADVANCE, "", {}, BEGIN, BEGIN
    )  # fmt: skip
    policy = RolloutPolicy.from_dict({"checks": {"shadow": {}}})
    share = (policy.checks.shadow or ShadowPolicy()).share / 100
    stage, state = StageCounts(), dict[str, Any]()
    for copy in range(1, copies + 1):
        others = int(chance.geometric(share)) - 1
        fails = int(chance.binomial(others, errors))
        stage.uncopied.add(ArmCounts(others, {"502": fails}))
        one, other = chance.random(2)
        failed = (one < errors, (one if of_inputs else other) < harm)
        for arm, bad in zip((stage.champion, stage.candidate), failed, strict=True):
            arm.requests += 1
            arm.failures["502"] = arm.failures.get("502", 0) + bad
        stage.champion_only += failed == (True, False)
        stage.candidate_only += failed == (False, True)
        if failed == (False, False) and copy % 10:
            continue  # it changes next to nothing
        state, judgement = judge(state, now, policy, {now.stage: stage})
        if judgement.outcome is Outcome.FAILED:
            return copy
    return None
