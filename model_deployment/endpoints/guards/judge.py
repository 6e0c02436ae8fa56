"""The guards of a rollout: whether what was counted so far speaks against the candidate.

Pure. :func:`judge` is given what the proxies counted and what labels say, as sums since the rollout
began, and keeps what it remembers between two calls as JSON. The guards share :data:`ALPHA`: a candidate
that does what the champion does is rolled back in at most one rollout of a hundred, however often
``judge`` is called. ``benchmarks/rollouts.py`` measures it.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_deployment.core.endpoints import SHADOW_STAGE, Rollout
from model_deployment.core.rollout_counts import ArmCounts, RolloutCounts, StageCounts
from model_deployment.core.rollout_policy import RolloutPolicy
from model_deployment.endpoints.findings import GuardReading, Judgement, Outcome
from model_deployment.endpoints.guards.labelled_losses import LabelledLosses
from model_deployment.endpoints.sequential_test import (
    NO_COUNTS,
    Block,
    TwoArmTest,
    evidence,
    log_mean_exp,
    pair_evidence,
)
from model_deployment.recording.histogram import BOUNDS, Histogram
from model_deployment.rendering.numbers import count, milliseconds, number, percent

#: Probability that any guard rolls back a candidate which does what the champion does.
ALPHA = 0.01
#: Answers of the champion that its 95th percentile is taken of, at least.
_CHAMPION_ANSWERS = 100
#: First answers of the candidate whose latency does not count: caches fill, code is compiled.
_FIRST_ANSWERS = 20
#: Odds ratio of slow answers that is tolerated.
_SLOWER = 1.25
#: First requests of the candidate that stop it if all of them failed ...
_FIRST_REQUESTS = 3
#: ... while the champion was asked so often, and failed at most this share.
_CHAMPION_REQUESTS, _CHAMPION_FAILS = 10, 0.1

#: Of the champion, and of the candidate.
_Figures = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class _Scene:
    """What all guards look at."""

    champion: int
    candidate: int
    #: The stage that is under way.
    stage: str
    #: Evidence at which a candidate is rolled back.
    limit: float
    #: The counts of the canary, by stage.
    canary: Mapping[str, StageCounts]

    def sums(self, of: Callable[[ArmCounts], tuple[int, int]]) -> dict[str, Block]:
        """Blocks of both versions, by stage.

        Args:
            of: how many requests one version has in a stage, and how many of them are events.
        """
        found = {}
        for stage, counts in self.canary.items():
            (one, some), (other, others) = of(counts.champion), of(counts.candidate)
            found[stage] = Block(one, other, min(some, one), min(others, other))
        return found

    def shares(self, block: Block, noun: str) -> str:
        """The shares of both versions in words."""
        return (
            f"{percent(block.candidate_events, block.candidate)} of "
            f"{count(block.candidate, noun)}, version {self.champion}: "
            f"{percent(block.champion_events, block.champion)} of {number(block.champion)}"
        )

    def reading(
        self, guard: str, text: str, log: float, peak: float, figures: _Figures
    ) -> GuardReading:
        """What a test says. Once its evidence has reached the limit, that stays so."""
        failed = peak >= math.log(self.limit)
        shown = evidence(peak if failed else log)
        champion, candidate = figures
        return GuardReading(
            guard,
            Outcome.FAILED if failed else Outcome.PASSED,
            f"{text}; evidence {number(shown)}, limit {self.limit:,.0f}",
            champion,
            candidate,
            shown,
            self.limit,
        )

    def missing(self, guard: str, text: str) -> GuardReading:
        return GuardReading(guard, Outcome.INCONCLUSIVE, text, limit=self.limit)


def judge(
    saved: Mapping[str, Any],
    rollout: Rollout,
    policy: RolloutPolicy,
    counts: RolloutCounts,
    labelled: LabelledLosses | None = None,
) -> tuple[dict[str, Any], Judgement]:
    """Take what was counted since the last call into account.

    Args:
        saved: what the last call returned; empty at first. JSON, of some kilobytes.
        rollout: its stage says which counts are still growing.
        counts: of the whole rollout, by stage.
        labelled: of the canary; None while there are no labels.

    Returns:
        What the next call needs, and what the guards say: ``FAILED`` if one of them rolls the candidate
        back, which stays so; ``INCONCLUSIVE`` if the candidate has answered nothing in this stage.
    """
    guard, state = policy.guard, dict(saved)
    shadowed = policy.checks.shadow is not None or SHADOW_STAGE in counts
    tests = guard.errors * (1 + shadowed) + (guard.latency > 0) + (guard.quality > 0)
    scene = _Scene(
        rollout.champion or 0,
        rollout.candidate,
        rollout.stage,
        tests / ALPHA,
        {stage: one for stage, one in counts.items() if stage != SHADOW_STAGE},
    )
    readings: list[GuardReading] = []
    if rollout.stage == SHADOW_STAGE:
        if guard.errors:
            readings.append(_copies(state, scene, counts.get(SHADOW_STAGE, StageCounts())))
    else:
        if guard.errors:
            readings.append(_errors(state, scene))
        if guard.latency > 0:
            readings.append(_latency(state, scene, guard.latency))
        if guard.quality > 0:
            readings.append(_quality(state, scene, labelled, guard.quality))
    here = counts.get(rollout.stage)
    return state, _together(readings, here.candidate.requests if here else 0, scene)


def _together(readings: Sequence[GuardReading], requests: int, scene: _Scene) -> Judgement:
    against = [one.text for one in readings if one.outcome is Outcome.FAILED]
    if against:
        return Judgement(Outcome.FAILED, "; ".join(against), tuple(readings))
    if not requests:
        missing = f"version {scene.candidate} has answered no request in this stage"
        return Judgement(Outcome.INCONCLUSIVE, missing, tuple(readings))
    known = [one.text for one in readings if one.outcome is Outcome.PASSED]
    reason = "; ".join([f"nothing speaks against version {scene.candidate}", *known])
    return Judgement(Outcome.PASSED, reason, tuple(readings))


def _sum(blocks: Iterable[Block]) -> Block:
    total = NO_COUNTS
    for block in blocks:
        total = total.plus(block)
    return total


def _share(events: int, requests: int) -> float | None:
    return events / requests if requests else None


def _copies(state: dict[str, Any], scene: _Scene, shadow: StageCounts) -> GuardReading:
    """Failures of the copied requests: against the champion's answers to them, and to all requests.

    Both are tests of the same hypothesis, and so is the mean of their evidence. The first one finds inputs
    that only the candidate fails; the second one knows the champion's rate from more requests.
    """
    one, other, sent = shadow.candidate_only, shadow.champion_only, shadow.candidate.requests
    if not sent:
        return scene.missing("errors", f"version {scene.candidate} has answered no copied request")
    mine = state.get("copies", {})
    test = TwoArmTest.from_dict(mine.get("test", {}), 1.0)
    champion = (shadow.champion, shadow.uncopied)
    requests, failed = (sum(arm.requests for arm in champion), sum(arm.failed for arm in champion))
    sums = {scene.stage: Block(requests, sent, failed, shadow.candidate.failed)}
    test.feed(sums, scene.stage)
    log = log_mean_exp([pair_evidence(one, other), test.log_evidence])
    peak = max(log, mine.get("peak", 0.0))
    text = (
        f"of {count(sent, 'copied request')} only version {scene.candidate} failed {number(one)}, "
        f"only version {scene.champion}: {number(other)}"
    )
    if _FIRST_REQUESTS <= sent <= one:
        peak = max(peak, math.log(scene.limit))
    state["copies"] = {"peak": peak, "test": test.as_dict()}
    figures = (_share(failed, requests), _share(shadow.candidate.failed, sent))
    return scene.reading("errors", text, log, peak, figures)


def _errors(state: dict[str, Any], scene: _Scene) -> GuardReading:
    """Failed requests of both versions during the canary."""
    sums = scene.sums(lambda arm: (arm.requests, arm.failed))
    test = TwoArmTest.from_dict(state.get("errors", {}), 1.0)
    test.feed(sums, scene.stage)
    both = _sum(sums.values())
    if (
        _FIRST_REQUESTS <= both.candidate == both.candidate_events
        and both.champion >= _CHAMPION_REQUESTS
        and both.champion_events <= _CHAMPION_FAILS * both.champion
    ):
        test.peak = max(test.peak, math.log(scene.limit))
    state["errors"] = test.as_dict()
    if not both.candidate:
        return scene.missing("errors", f"version {scene.candidate} has answered no request")
    text = f"version {scene.candidate} failed {scene.shares(both, 'request')}"
    figures = (
        _share(both.champion_events, both.champion),
        _share(both.candidate_events, both.candidate),
    )
    return scene.reading("errors", text, test.log_evidence, test.peak, figures)


def _latency(state: dict[str, Any], scene: _Scene, factor: float) -> GuardReading:
    """Answers of both versions that took longer than the champion's 95th percentile times a factor."""
    mine: dict[str, Any] = dict(state.get("latency", {}))
    test = TwoArmTest.from_dict(mine, _SLOWER)
    champion, candidate = Histogram(), Histogram()
    for counts in scene.canary.values():
        champion.update(counts.champion.latencies)
        candidate.update(counts.candidate.latencies)
    place = mine.get("place")
    if place is None:
        short = _short_of_answers(scene, champion.total(), candidate.total())
        if short:
            return scene.missing("latency", short)
        slow = (champion.percentile(0.95) or 0.0) * factor
        # The first bucket that is wholly beyond.
        place = next((at for at, bound in enumerate(BOUNDS) if bound >= slow), len(BOUNDS) - 1)
        test.skip(scene.sums(lambda arm: _slow(arm, place)))
    sums = scene.sums(lambda arm: _slow(arm, place))
    test.feed(sums, scene.stage)
    state["latency"] = {**test.as_dict(), "place": place}
    text = (
        f"version {scene.candidate} took longer than {milliseconds(BOUNDS[place])} for "
        f"{scene.shares(_sum(sums.values()), 'request')}"
    )
    figures = (champion.percentile(0.95), candidate.percentile(0.95))
    return scene.reading("latency", text, test.log_evidence, test.peak, figures)


def _short_of_answers(scene: _Scene, champion: int, candidate: int) -> str:
    """What is missing before latencies can be compared; empty if nothing is."""
    if champion < _CHAMPION_ANSWERS:
        return f"{champion} of {_CHAMPION_ANSWERS} answers of version {scene.champion}"
    if candidate < _FIRST_ANSWERS:
        return f"{candidate} of {_FIRST_ANSWERS} answers of version {scene.candidate}"
    return ""


def _slow(arm: ArmCounts, place: int) -> tuple[int, int]:
    slow = sum(some for at, some in arm.latencies.items() if at > place)
    return sum(arm.latencies.values()), slow


def _quality(
    state: dict[str, Any], scene: _Scene, labelled: LabelledLosses | None, tolerance: float
) -> GuardReading:
    """Answers of both versions that their labels show to be poor."""
    if labelled is None or not labelled.champion_answers or not labelled.candidate_answers:
        some = labelled.candidate_answers if labelled else 0
        text = f"labels are known for {count(some, 'answer')} of version {scene.candidate}"
        return scene.missing("quality", text)
    mine = state.get("quality", {})
    test = TwoArmTest.from_dict(mine, 1.0 + tolerance)
    block = Block(
        labelled.champion_answers,
        labelled.candidate_answers,
        min(labelled.champion_poor, labelled.champion_answers),
        min(labelled.candidate_poor, labelled.candidate_answers),
    )
    sums = {"labels": block}
    if mine.get("bound", labelled.bound) != labelled.bound:
        test.skip(sums)
    test.feed(sums, "labels")
    state["quality"] = {**test.as_dict(), "bound": labelled.bound}
    text = (
        f"version {scene.candidate} was off by more than {number(labelled.bound)} in "
        f"{scene.shares(block, 'labelled answer')}"
    )
    figures = (labelled.champion_error, labelled.candidate_error)
    if None not in figures:
        text += f"; {labelled.metric} {number(figures[1])}, version {scene.champion}: {number(figures[0])}"
    return scene.reading("quality", text, test.log_evidence, test.peak, figures)
