"""The verdict over replayed requests."""

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.rollout_policy import GuardLimits
from model_deployment.endpoints.findings import CandidateFinding, Outcome
from model_deployment.endpoints.replay.replayed import AnswerKind, ReplayedAnswer, ReplayedPair
from model_deployment.endpoints.replay.verdict import verdict

FAILED, PASSED, INCONCLUSIVE = Outcome.FAILED, Outcome.PASSED, Outcome.INCONCLUSIVE
REFUSED = ReplayedAnswer(AnswerKind.REFUSED)
BROKEN = ReplayedAnswer(AnswerKind.FAILED)


def ok(*predictions: Any, latency: float | None = None) -> ReplayedAnswer:
    return ReplayedAnswer(AnswerKind.OK, [*predictions], latency)


def same(n: int) -> list[ReplayedPair]:
    return [ReplayedPair(ok(float(row)), ok(float(row))) for row in range(n)]


def told(
    pairs: Sequence[ReplayedPair],
    asked: int = 500,
    guard: GuardLimits = GuardLimits(),  # noqa: B008
) -> CandidateFinding:
    finding = verdict(pairs, asked, guard, 4, 3)
    json.dumps(finding.as_dict(), allow_nan=False)
    return finding


def labelled(
    n: int, champion: float, candidate: float, seed: int = 1, shared: float = 0.0
) -> list[ReplayedPair]:
    """A regression with errors of these standard deviations, which have a share in common."""
    chance = random.Random(seed)
    pairs = []
    for _ in range(n):
        truth, common = chance.gauss(100, 30), chance.gauss()
        errors = [
            size * (shared * common + (1 - shared**2) ** 0.5 * chance.gauss())
            for size in (champion, candidate)
        ]
        pairs.append(ReplayedPair(ok(truth + errors[0]), ok(truth + errors[1]), {0: truth}))
    return pairs


def test_too_few_pairs_say_what_is_missing() -> None:
    assert told(same(7)).outcome is INCONCLUSIVE
    assert told(same(7)).reason == (
        "7 of 20 captured requests that version 3 answers were replayed"
    )
    assert told(same(7), asked=7).outcome is PASSED
    assert told([]).outcome is INCONCLUSIVE


def test_a_candidate_that_refuses_what_the_champion_answers_is_stopped() -> None:
    refused = [ReplayedPair(ok(1.5), REFUSED)] * 12
    finding = told([*same(200), *refused])
    assert finding.outcome is FAILED
    assert finding.reason == "of 212 requests version 4 refused 12 that version 3 answers"
    assert finding.figures["failures"]["refused"] == 12
    assert told([*same(200), *refused[:3]]).outcome is PASSED
    both = [ReplayedPair(REFUSED, REFUSED)] * 50
    assert told([*same(200), *both]).outcome is PASSED


def test_a_candidate_whose_first_three_answers_are_broken_is_stopped() -> None:
    broken = ReplayedPair(ok(1.0), BROKEN)
    assert told([broken] * 3).outcome is FAILED
    assert told([*same(1), broken, broken, broken]).outcome is INCONCLUSIVE


def test_a_prediction_that_is_missing_is_a_failure() -> None:
    pairs = [ReplayedPair(ok(1.0, 2.0), ok(1.0, None))] * 20
    assert told(pairs).reason == (
        "of 20 requests version 4 left without a prediction 20 that version 3 answers"
    )


def test_a_candidate_that_is_worse_on_labelled_rows_is_stopped() -> None:
    finding = told(labelled(300, 10, 13))
    assert finding.outcome is FAILED
    assert finding.reason.startswith("version 4 is worse: rmse ")
    assert "on 300 labelled rows" in finding.reason
    assert finding.figures["labelled"] == 300
    assert told(labelled(300, 13, 10)).outcome is PASSED
    assert told(labelled(300, 10, 13), guard=GuardLimits(quality=0)).outcome is PASSED
    assert told(labelled(29, 10, 30)).outcome is PASSED


def test_each_doubt_halves_the_probability_of_being_wrong() -> None:
    pairs = labelled(300, 10, 11.4, seed=1)
    first = verdict(pairs, 300, GuardLimits(), 4, 3)
    p = first.figures["quality"]["p"]
    assert (first.outcome, 0.0005 < p < 0.01) == (FAILED, True)
    later = verdict(pairs, 300, GuardLimits(), 4, 3, doubted=5)
    assert later.outcome is INCONCLUSIVE
    assert (first.figures["doubted"], later.figures["doubted"]) == (0, 6)


def test_a_candidate_that_only_looks_worse_is_held() -> None:
    finding = told(labelled(60, 10, 12, seed=2))
    assert finding.outcome is INCONCLUSIVE
    assert finding.reason.startswith("version 4 looks worse than it may (5.0 %): rmse ")


def test_a_difference_within_the_tolerance_stops_nobody() -> None:
    pairs = labelled(300, 10, 10.3, shared=1.0)
    finding = told(pairs)
    assert finding.figures["quality"]["p"] < 0.01
    assert finding.outcome is PASSED
    assert told(pairs, guard=GuardLimits(quality=0.01)).outcome is FAILED


@pytest.mark.parametrize("names", [("a", "b"), (0, 1), (False, True), ([0.9, 0.1], [0.2, 0.8])])
def test_wrong_classes_are_counted(names: tuple[Any, Any]) -> None:
    chance = random.Random(1)
    pairs = []
    for _ in range(300):
        truth = chance.random() < 0.5
        says = [names[truth ^ (chance.random() < wrong)] for wrong in (0.1, 0.3)]
        label = int(truth) if isinstance(names[0], list) else names[truth]
        pairs.append(ReplayedPair(ok(says[0]), ok(says[1]), {0: label}))
    finding = told(pairs)
    assert finding.outcome is FAILED
    assert finding.figures["quality"]["metric"] == "error rate"
    assert finding.figures["quality"]["candidate"] == pytest.approx(0.3, abs=0.07)


def test_rows_of_one_request_count_as_one_where_there_are_enough_requests() -> None:
    rows = labelled(40, 10, 12, seed=3)
    twenty_times = [
        ReplayedPair(
            ok(*20 * pair.champion.predictions),
            ok(*20 * pair.candidate.predictions),
            dict.fromkeys(range(20), pair.labels[0]),
        )
        for pair in rows
    ]
    alone, many = told(rows).figures["quality"], told(twenty_times).figures["quality"]
    assert many == pytest.approx(alone)
    assert told(twenty_times).figures["labelled"] == 800


@pytest.mark.parametrize(
    ("champion", "candidate", "text", "beyond"),
    [
        ([1.5, 2.5, 3.5], [1.6, 2.6, 3.6], "predictions differ by 0.1 in the median", False),
        (
            [1.5, 2.5, 3.5],
            [9.5, 9.5, 9.5],
            "more than the spread: version 3's own spread is ",
            True,
        ),
        ([2.5, 2.5, 2.5], [2.5, 2.5, 2.5], "predictions differ by 0 in the median", False),
        ([2.5, 2.5, 2.5], [2.6, 2.6, 2.6], "predictions differ by 0.1 in the median", True),
        (["a", "b", "b"], ["a", "b", "a"], "33 % of the predictions differ (two of", False),
        (["a", "b", "b"], ["c", "c", "c"], "100 % of the predictions differ, more than", True),
        ([[0.1, 0.9]] * 3, [[0.2, 0.8]] * 3, "predictions differ by 0.1 in the median", True),
    ],
)
def test_predictions_that_moved_are_told_and_stop_only_if_asked_to(
    champion: list[Any], candidate: list[Any], text: str, beyond: bool
) -> None:
    pairs = [ReplayedPair(ok(*champion), ok(*candidate))] * 20
    finding = told(pairs)
    assert finding.outcome is PASSED
    assert text in finding.reason
    asked = told(pairs, guard=GuardLimits(predictions=True))
    assert asked.outcome is (FAILED if beyond else PASSED)
    assert asked.figures["predictions"]["beyond_spread"] is beyond


def test_latency_is_information() -> None:
    pairs = [ReplayedPair(ok(1.0, latency=20), ok(1.0, latency=900))] * 20
    assert told(pairs).outcome is PASSED
    assert told(pairs).reason.endswith("900 ms a request in the median, version 3: 20 ms")


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda some: (
        st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=2), some, max_size=2)
    ),
    max_leaves=4,
)
answers = st.builds(
    ReplayedAnswer,
    st.sampled_from(AnswerKind),
    values | st.lists(values, max_size=3),
    st.none() | st.floats(0, 1e6),
)
labels = st.dictionaries(st.integers(-1, 3), values, max_size=3)


@given(
    st.lists(st.builds(ReplayedPair, answers, answers, labels), max_size=4),
    st.sampled_from([1, 8]),
    st.booleans(),
)
def test_whatever_models_answer_there_is_a_verdict(
    pairs: list[ReplayedPair], times: int, stops: bool
) -> None:
    told(pairs * times, guard=GuardLimits(predictions=stops))


@given(st.lists(st.tuples(answers, labels), max_size=4), st.sampled_from([1, 10]))
def test_a_candidate_that_answers_the_same_passes(
    some: list[tuple[ReplayedAnswer, dict[int, Any]]], times: int
) -> None:
    pairs = [ReplayedPair(answer, answer, label) for answer, label in some] * times
    finding = told(pairs, asked=0, guard=GuardLimits(predictions=True))
    assert finding.outcome is PASSED


@pytest.mark.slow
@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_a_fifth_more_rmse_on_three_hundred_rows_does_not_pass(shared: float) -> None:
    outcomes = [
        told(labelled(300, 10, 12, seed=seed, shared=shared)).outcome for seed in range(100)
    ]
    assert outcomes.count(PASSED) <= 0.05 * len(outcomes)
