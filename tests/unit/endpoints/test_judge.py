"""The guards of a rollout."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.endpoints import SHADOW_STAGE, Order, Rollout, RolloutKind, RolloutState
from model_deployment.core.rollout_counts import ArmCounts, RolloutCounts, StageCounts
from model_deployment.core.rollout_policy import Checks, GuardLimits, RolloutPolicy, ShadowPolicy
from model_deployment.endpoints.findings import GuardReading, Judgement, Outcome
from model_deployment.endpoints.guards.judge import judge
from model_deployment.endpoints.guards.labelled_losses import MIN_LOSSES, LabelledLosses, poor_bound
from model_deployment.recording.histogram import Histogram

NOW = datetime(2026, 11, 29, tzinfo=UTC)
ROLLOUT = Rollout(
    1, 1, 4, 3, RolloutKind.FORWARD, RolloutState.CANARY, 0, Order.ADVANCE, "", {}, NOW, NOW
)
SHADOWING = replace(ROLLOUT, state=RolloutState.SHADOWING)
POLICY = RolloutPolicy()


def arm(requests: int, failed: int = 0, latencies: dict[int, int] | None = None) -> ArmCounts:
    return ArmCounts(requests, {"502": failed} if failed else {}, latencies or {})


def canary(champion: ArmCounts, candidate: ArmCounts) -> RolloutCounts:
    return {"canary-0": StageCounts(champion, candidate)}


def said(judgement: Judgement, guard: str) -> GuardReading:
    return next(one for one in judgement.readings if one.guard == guard)


def watch(
    grow: Callable[[int, RolloutCounts], LabelledLosses | None],
    looks: int,
    policy: RolloutPolicy = POLICY,
    rollout: Rollout = ROLLOUT,
) -> tuple[Judgement, int]:
    """Look after each growth of the counts; the judgement that ended it, and after how many looks."""
    counts: RolloutCounts = {rollout.stage: StageCounts()}
    state: dict[str, Any] = {}
    judgement = Judgement(Outcome.INCONCLUSIVE, "")
    for look in range(looks):
        labelled = grow(look, counts)
        state, judgement = judge(json.loads(json.dumps(state)), rollout, policy, counts, labelled)
        if judgement.outcome is Outcome.FAILED:
            return judgement, look
    return judgement, looks


def test_nothing_counted_is_inconclusive_and_says_what_is_missing() -> None:
    state, judgement = judge({}, ROLLOUT, POLICY, {})
    assert judgement.outcome is Outcome.INCONCLUSIVE
    assert judgement.reason == "version 4 has answered no request in this stage"
    assert [one.outcome for one in judgement.readings] == [Outcome.INCONCLUSIVE] * 3
    assert said(judgement, "latency").text == "0 of 100 answers of version 3"
    assert json.loads(json.dumps(state)) == state


def test_counts_of_an_earlier_stage_do_not_make_this_one_conclusive() -> None:
    counts = canary(arm(900), arm(50))
    later = replace(ROLLOUT, step=1)
    assert judge({}, later, POLICY, counts)[1].outcome is Outcome.INCONCLUSIVE


def test_a_candidate_that_fails_more_is_stopped_and_stays_stopped() -> None:
    chance = random.Random(1)

    def grow(look: int, counts: RolloutCounts) -> None:
        counts["canary-0"].add(
            StageCounts(arm(95, chance.random() < 0.5), arm(5, chance.random() < 0.5))
        )

    judgement, looks = watch(grow, 200)
    assert looks < 60
    assert judgement.reason.startswith("version 4 failed ")
    assert "limit 300" in judgement.reason
    errors = said(judgement, "errors")
    assert errors.evidence >= errors.limit == 300

    counts = canary(arm(1_000), arm(100, 20))
    state, _ = judge({}, ROLLOUT, POLICY, counts)
    counts["canary-0"].add(StageCounts(arm(100_000, 90_000), arm(5_000)))
    assert judge(state, ROLLOUT, POLICY, counts)[1].outcome is Outcome.FAILED


def test_the_text_of_a_reading_has_the_figures_of_both_versions() -> None:
    reading = said(judge({}, ROLLOUT, POLICY, canary(arm(8_000, 72), arm(420, 6)))[1], "errors")
    assert reading.text.startswith(
        "version 4 failed 1.4 % of 420 requests, version 3: 0.9 % of 8,000; evidence "
    )
    assert (reading.champion, reading.candidate) == (0.009, 6 / 420)


@pytest.mark.parametrize(
    ("champion", "candidate", "outcome"),
    [
        (arm(10), arm(3, 3), Outcome.FAILED),
        (arm(10, 5), arm(3, 3), Outcome.PASSED),
        (arm(9), arm(3, 3), Outcome.PASSED),
        (arm(10), arm(2, 2), Outcome.PASSED),
        (arm(10), arm(4, 3), Outcome.PASSED),
    ],
)
def test_a_candidate_whose_first_three_requests_fail_is_stopped(
    champion: ArmCounts, candidate: ArmCounts, outcome: Outcome
) -> None:
    assert judge({}, ROLLOUT, POLICY, canary(champion, candidate))[1].outcome is outcome


def test_in_the_shadow_stage_pairs_are_compared() -> None:
    policy = RolloutPolicy(checks=Checks(shadow=ShadowPolicy()))
    shadow = StageCounts(arm(200, 2), arm(200, 20), candidate_only=18, champion_only=0)
    _, judgement = judge({}, SHADOWING, policy, {SHADOW_STAGE: shadow})
    assert judgement.outcome is Outcome.FAILED
    assert judgement.reason.startswith(
        "of 200 copied requests only version 4 failed 18, only version 3: 0; evidence "
    )
    assert said(judgement, "errors").limit == 400
    assert [one.guard for one in judgement.readings] == ["errors"]
    others = StageCounts(arm(200, 2), arm(200, 12), 12, 2, uncopied=arm(1_800, 18))
    _, judgement = judge({}, SHADOWING, policy, {SHADOW_STAGE: others})
    assert judgement.outcome is Outcome.FAILED, "the champion's rate is known from all its requests"
    both = StageCounts(arm(200, 20), arm(200, 20))
    assert judge({}, SHADOWING, policy, {SHADOW_STAGE: both})[1].outcome is Outcome.PASSED
    first = StageCounts(arm(3), arm(3, 3), candidate_only=3)
    assert judge({}, SHADOWING, policy, {SHADOW_STAGE: first})[1].outcome is Outcome.FAILED


def latencies(chance: random.Random, n: int, factor: float) -> dict[int, int]:
    found = Histogram()
    for _ in range(n):
        found.observe(factor * 20 * chance.lognormvariate(0, 0.5))
    return dict(found)


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, Outcome.PASSED), (2.0, Outcome.FAILED)])
def test_a_candidate_that_is_twice_as_slow_is_stopped(factor: float, outcome: Outcome) -> None:
    chance = random.Random(2)

    def grow(look: int, counts: RolloutCounts) -> None:
        mine, its = latencies(chance, 45, 1), latencies(chance, 5, factor)
        counts["canary-0"].add(StageCounts(arm(45, 0, mine), arm(5, 0, its)))

    judgement, _ = watch(grow, 150)
    reading = said(judgement, "latency")
    assert (judgement.outcome, reading.outcome) == (outcome, outcome)
    assert reading.champion == pytest.approx(45, rel=0.15)
    assert reading.text.startswith("version 4 took longer than ")


def test_the_first_answers_of_the_candidate_may_be_slow() -> None:
    counts = canary(arm(1_000, 0, {20: 1_000}), arm(25, 0, {40: 25}))
    state, judgement = judge({}, ROLLOUT, POLICY, counts)
    counts["canary-0"].add(StageCounts(arm(1_000, 0, {20: 1_000}), arm(25, 0, {20: 25})))
    state, judgement = judge(state, ROLLOUT, POLICY, counts)
    assert judgement.outcome is Outcome.PASSED
    assert said(judgement, "latency").evidence <= 1


def labels(champion: int, poor: int, candidate: int, its: int) -> LabelledLosses:
    return LabelledLosses(2.5, champion, candidate, poor, its, "rmse", 1.5, 2.0)


def test_a_candidate_whose_answers_are_poor_more_often_is_stopped() -> None:
    counts = canary(arm(900), arm(100))
    _, judgement = judge({}, ROLLOUT, POLICY, counts, labels(900, 90, 100, 40))
    assert judgement.outcome is Outcome.FAILED
    assert judgement.reason.startswith(
        "version 4 was off by more than 2.5 in 40 % of 100 labelled answers, version 3: 10 % of 900; "
        "rmse 2, version 3: 1.5; evidence "
    )
    _, judgement = judge({}, ROLLOUT, POLICY, counts, labels(900, 90, 100, 10))
    assert judgement.outcome is Outcome.PASSED


def test_guards_that_are_off_say_nothing_and_leave_more_to_the_others() -> None:
    policy = RolloutPolicy(guard=GuardLimits(latency=0, quality=0))
    _, judgement = judge({}, ROLLOUT, policy, canary(arm(900, 9), arm(50)))
    assert [(one.guard, one.limit) for one in judgement.readings] == [("errors", 100)]
    policy = RolloutPolicy(guard=GuardLimits(errors=False, latency=0, quality=0))
    _, judgement = judge({}, ROLLOUT, policy, canary(arm(900), arm(50, 50)))
    assert (judgement.outcome, judgement.readings) == (Outcome.PASSED, ())


@st.composite
def arms(draw: st.DrawFn) -> ArmCounts:
    histogram = draw(st.dictionaries(st.integers(0, 86), st.integers(0, 10_000), max_size=4))
    failures = draw(st.dictionaries(st.sampled_from(["502", "refused"]), st.integers(0, 10_000)))
    return ArmCounts(draw(st.integers(0, 10_000)), failures, histogram)


@given(
    st.lists(
        st.tuples(st.sampled_from([SHADOW_STAGE, "canary-0", "canary-1"]), arms(), arms()),
        max_size=4,
    ),
    st.sampled_from([ROLLOUT, SHADOWING, replace(ROLLOUT, step=1)]),
)
def test_whatever_is_counted_is_judged_and_the_state_is_json(
    several: list[tuple[str, ArmCounts, ArmCounts]], rollout: Rollout
) -> None:
    counts: RolloutCounts = {}
    state: dict[str, Any] = {}
    for stage, champion, candidate in several:
        counts.setdefault(stage, StageCounts()).add(StageCounts(champion, candidate))
        state, judgement = judge(json.loads(json.dumps(state)), rollout, POLICY, counts)
        again, same = judge(json.loads(json.dumps(state)), rollout, POLICY, counts)
        assert (again, same) == (state, judgement)


@pytest.mark.parametrize(
    ("losses", "bound"),
    [
        ([float(n) for n in range(100)], 89.0),
        ([0.0] * 95 + [1.0] * 5, 0.0),
        ([0.0] * 70 + [1.0] * 30, 0.0),
        ([0.0] * MIN_LOSSES, None),
        ([0.0, 1.0], None),
        ([float("nan")] * 200, None),
    ],
)
def test_the_bound_of_poor_answers(losses: list[float], bound: float | None) -> None:
    assert poor_bound(losses) == bound
