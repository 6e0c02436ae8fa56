"""Metrics of labels and predictions, beside those of scikit-learn."""

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from model_deployment.degradation.data.collect import _outputs
from model_deployment.degradation.data.labels import LabelledRows, labelled_rows
from model_deployment.degradation.data.tables import LABEL
from model_deployment.degradation.metric_verdict import RecordedMetrics
from model_deployment.degradation.statistics.metrics import measure as of_report
from model_deployment.metrics.scores import Scores, comparison, measure, scores

AMOUNTS = st.floats(-1e6, 1e6).filter(lambda value: not value.is_integer())
PAIRS_OF_AMOUNTS = st.lists(st.tuples(AMOUNTS, AMOUNTS), min_size=2, max_size=50)


@given(PAIRS_OF_AMOUNTS)
def test_amounts_are_measured_as_scikit_learn_does(pairs: list[tuple[float, float]]) -> None:
    labels, said = zip(*pairs, strict=True)
    found = measure(pairs)
    expected = {
        "mae": metrics.mean_absolute_error(labels, said),
        "mse": metrics.mean_squared_error(labels, said),
        "rmse": metrics.root_mean_squared_error(labels, said),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    mean = sum(labels) / len(labels)
    if sum((one - mean) ** 2 for one in labels) > 1e-3:
        assert found["r2"] == pytest.approx(metrics.r2_score(labels, said), rel=1e-6, abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=50))
def test_two_classes_are_measured_as_scikit_learn_does(pairs: list[tuple[int, int]]) -> None:
    labels, said = zip(*pairs, strict=True)
    found = measure(pairs)
    expected = {"accuracy": metrics.accuracy_score(labels, said)}
    if set(labels) | set(said) == {0, 1}:
        expected |= {
            "precision": metrics.precision_score(labels, said, zero_division=0),
            "recall": metrics.recall_score(labels, said, zero_division=0),
            "f1": metrics.f1_score(labels, said, zero_division=0),
        }
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("kinds", "positive"),
    [
        ((0, 1), 1),
        ((-1, 1), 1),
        ((2, 10), 10),
        ((-10, -9), -9),
        (("no", "yes"), "yes"),
        (("1", "2"), "2"),
        ((False, True), True),
        ((1, "other"), "other"),
        (("a", "nan"), "nan"),
    ],
)
def test_the_greater_of_two_classes_is_the_positive_one(
    kinds: tuple[Any, Any], positive: Any
) -> None:
    low, high = kinds
    pairs = [(high, high), (high, high), (high, low), (low, high), (low, low), (low, low)] * 2
    pairs += [(low, high)]
    found = measure(pairs)
    truth = [label == positive for label, _ in pairs]
    said = [said == positive for _, said in pairs]
    assert found["precision"] == pytest.approx(metrics.precision_score(truth, said))
    assert found["recall"] == pytest.approx(metrics.recall_score(truth, said))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1))
def test_classes_more_than_two_have_an_accuracy(pairs: list[tuple[str, str]]) -> None:
    pairs = [*pairs, ("a", "b"), ("b", "c")]
    assert measure(pairs) == pytest.approx({"accuracy": metrics.accuracy_score(*zip(*pairs))})  # noqa: B905


def test_one_value_written_in_several_ways_is_one_class() -> None:
    assert measure([(1, 1.0), (True, 1), (0, False), ("1", 1)])["accuracy"] == 1.0


def test_whole_numbers_are_classes_while_they_are_few() -> None:
    assert "accuracy" in measure([(number, number) for number in range(20)])
    assert "mae" in measure([(number, number) for number in range(21)])
    assert "mae" in measure([(1, 1.5)])


def test_metrics_of_no_pairs_are_empty() -> None:
    assert measure([]) == {}


def test_labels_that_are_all_the_same_have_no_r2() -> None:
    assert measure([(1.5, 1.25), (1.5, 2.5)]).keys() == {"mae", "mse", "rmse"}


@pytest.mark.parametrize(
    "pairs",
    [
        [(1e200, 0.5), (-1e200, 1.5)],
        [(0.5, 1e200), (1.5, 1e200)],
        [(1.7e308, -1.7e308), (0.5, 0.5)],
        [(10**400, 10**400), (1, 2)],
        [(math.nan, 0.5), (1.5, math.inf)],
        [(None, 1), ([1], {"a": 1})],
    ],
)
def test_odd_values_give_metrics_that_are_numbers_or_none(pairs: list[tuple[Any, Any]]) -> None:
    assert all(map(math.isfinite, measure(pairs).values()))


# Beside the baseline


def now(
    metrics: dict[str, float], n: int | None = 1000, day: int = 30, source: str = "set"
) -> RecordedMetrics:
    return RecordedMetrics(datetime(2026, 1, day, tzinfo=UTC), metrics, n, source)


def row(name: str, before: float | None, after: float | None, n: int | None = 1000) -> Any:
    baseline = {} if before is None else {name: before}
    (found,) = comparison(baseline, now({} if after is None else {name: after}, n))
    return found


def test_a_metric_stands_beside_its_baseline_by_whatever_name() -> None:
    (found,) = comparison({"test_root_mean_squared_error": 10.0}, now({"rmse": 15.0}, 500))
    assert found == {
        "metric": "rmse",
        "baseline": 10.0,
        "baseline_source": "test",
        "current": 15.0,
        "change": 5.0,
        "direction": "lower",
        "verdict": "worse",
        "worse": True,
        "degraded": False,
    }


@pytest.mark.parametrize(
    ("name", "before", "after", "n", "verdict"),
    [
        ("rmse", 10.0, 15.0, 1000, "worse"),
        ("rmse", 10.0, 10.9, 1000, "ok"),
        ("rmse", 10.0, 5.0, 1000, "ok"),
        ("rmse", 10.0, 11.5, 30, "ok"),  # chance explains it
        ("rmse", 10.0, 15.0, 29, "insufficient_data"),
        ("rmse", 10.0, 15.0, None, "insufficient_data"),
        ("accuracy", 0.9, 0.7, 100, "worse"),
        ("accuracy", 0.9, 0.8, 100, "ok"),
        ("accuracy", 0.9, 0.82, 1000, "ok"),
        ("accuracy", 0.9, 1.0, 1000, "ok"),
        ("profit", 10.0, 1.0, 1000, "no_reference"),
    ],
)
def test_worse_by_more_than_a_tenth_and_than_chance_is_worse_once(
    name: str, before: float, after: float, n: int | None, verdict: str
) -> None:
    found = row(name, before, after, n)
    assert found["verdict"] == verdict
    known = verdict in ("ok", "worse")
    assert found["worse"] is ((verdict == "worse") if known else None)
    assert found["degraded"] is (False if known else None)


def test_metric_without_a_counterpart_is_shown_and_not_judged() -> None:
    gone, new = row("rmse", 1.0, None), row("rmse", None, 1.0)
    assert (gone["current"], gone["change"], gone["degraded"]) == (None, None, None)
    assert (new["baseline"], new["baseline_source"], new["degraded"]) == (None, None, None)
    assert gone["verdict"] == new["verdict"] == "no_reference"


def test_comparison_without_current_metrics() -> None:
    (found,) = comparison({"rmse": 1.0}, None)
    assert (found["baseline"], found["current"], found["verdict"]) == (1.0, None, "no_reference")


def test_worse_twice_running_is_degraded() -> None:
    before = [now({"accuracy": 0.6}, 100, day=20)]
    (found,) = comparison({"accuracy": 0.9}, now({"accuracy": 0.55}, 100), before=before)
    assert (found["verdict"], found["worse"], found["degraded"]) == ("degraded", True, True)


def test_metric_degraded_in_the_last_report_stays_degraded_while_worse() -> None:
    for accuracy, verdict in ((0.6, "degraded"), (0.9, "ok")):
        current = now({"accuracy": accuracy}, 100)
        (found,) = comparison({"accuracy": 0.9}, current, degraded={"accuracy"})
        assert found["verdict"] == verdict


def test_baseline_is_the_first_metrics_set_without_a_run() -> None:
    before = [now({"mae": 2.0}, 500, day=2)]
    (found,) = comparison({}, now({"mae": 6.0}, 500), before=before)
    assert (found["baseline"], found["baseline_source"], found["verdict"]) == (
        2.0,
        "history",
        "worse",
    )


def labelled(wrong: float, n: int = 400) -> list[tuple[float, float]]:
    return [(10 + k % 7 / 7, 10 + k % 7 / 7 + wrong * (1 if k % 2 else -1.5)) for k in range(n)]


@pytest.mark.parametrize(
    ("pairs", "verdict"),
    [
        (labelled(2.0), "degraded"),  # in both halves of many rows
        (labelled(2.0, 100), "worse"),
        (labelled(0.1, 300) + labelled(5.0, 100), "worse"),  # in one half only
        (labelled(1.0), "ok"),
    ],
)
def test_many_labels_decide_alone(pairs: list[tuple[float, float]], verdict: str) -> None:
    known = scores(pairs)
    current = now(known.values, len(pairs), source="feedback")
    found = comparison({"test_mae": 1.25, "test_rmse": 1.3}, current, known=known)
    assert {one["verdict"] for one in found if one["metric"] == "mae"} == {verdict}


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=3, max_size=60))
def test_averages_are_judged_as_in_a_report(pairs: list[tuple[int, int]]) -> None:
    truth, said = np.array([*pairs, (0, 1), (1, 0)]).T
    there = of_report(LabelledRows("classification", truth, said, ("0", "1")))
    pairs = [*pairs, (0, 1), (1, 0)]
    found = scores(pairs)
    for name in ("precision", "recall", "f1"):
        assert found.kindest[name] == pytest.approx(there[name].value)
    rows = comparison({"f1": 0.5}, now(found.values, len(pairs), source="feedback"), known=found)
    (f1,) = [one for one in rows if one["metric"] == "f1"]
    assert f1["current"] == found.kindest["f1"]


def test_standard_errors_are_those_of_a_report() -> None:
    pairs = [
        (float(one), float(one) + error) for one, error in enumerate((0.5, -1.25, 3.0, 0.75) * 9)
    ]
    truth, said = np.array(pairs).T
    there = of_report(LabelledRows("regression", truth, said))
    found = scores(pairs)
    for name in ("mae", "mse", "rmse"):
        assert found.errors[name] == pytest.approx(there[name].standard_error)
        assert found.values[name] == pytest.approx(there[name].value)
    assert [half["mae"] for half in found.halves] == [
        measure(half)["mae"] for half in (pairs[:18], pairs[18:])
    ]
    assert scores([]) == Scores({})
    assert scores([("a", "a"), ("b", "a")]).errors == {}


def test_amounts_with_missing_or_odd_values_stay_amounts() -> None:
    amounts = [(float(n) + 0.5, n + 0.25) for n in range(100)]
    expected = measure(amounts)["rmse"]
    for odd in ((float("nan"), 1.0), (None, 1.0), (1.0, None), ("unknown", 1.0)):
        assert measure([*amounts, odd])["rmse"] == expected
    assert measure([*amounts, ("7.5", 7.25)])["mae"] == 0.25


def test_a_class_has_many_spellings() -> None:
    pairs = [(True, "True"), ("1.0", 1), (0, False), ("a ", "a"), ("b", "c")]
    assert measure(pairs)["accuracy"] == 0.8


def test_predictions_of_several_values_have_no_metrics() -> None:
    assert measure([(1, [0.1, 0.9])]) == {}
    assert measure([(1, {"a": 1})]) == {}


TRUTHS = [0, 1, 1, 0, 1] * 8
NAMES = [str(bool(truth)) for truth in TRUTHS]
RIGHT = [0.2, 0.9, 0.4, 0.1, 0.8] * 8


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([bool(truth) for truth in TRUTHS], RIGHT),
        (NAMES, [[chance] for chance in RIGHT]),
        (TRUTHS, [{"class": int(chance >= 0.5)} for chance in RIGHT]),
        (TRUTHS, [[1 - chance, chance] for chance in RIGHT]),
        (TRUTHS, [{"p0": 1 - chance, "p1": chance} for chance in RIGHT]),
        ([2 * truth for truth in TRUTHS], [[0.7, 0.1, 0.2], [0.1, 0.1, 0.8]] * 20),
        (["a", "b", "c", "c"] * 10, [["a"], ["b"], ["c"], ["b"]] * 10),
        ([1.5, 2.5, 3.25, 9.0] * 10, [[1.25], [2.5], [3.5], [9.5]] * 10),
        ([1.5, 2.5, 3.25, 9.0] * 10, [{"price": 1.25}, {"price": 2.5}] * 20),
    ],
)
def test_answers_of_all_forms_are_measured_as_in_a_report(
    labels: list[Any], said: list[Any]
) -> None:
    rows = [{**_outputs(one), LABEL: label} for label, one in zip(labels, said, strict=True)]
    table = pd.DataFrame(rows)
    labelled = labelled_rows(table, None)
    assert labelled is not None
    there = of_report(labelled)
    found = scores(list(zip(labels, said, strict=True)))
    here = found.values | found.kindest
    assert here
    assert here == pytest.approx({name: there[name].value for name in here})
