"""When a metric is worse than its baseline, and when the model has degraded."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from model_deployment.core.metric_names import Baseline
from model_deployment.degradation.metric_verdict import (
    Measurement,
    RecordedMetrics,
    Tolerance,
    consecutive_worse,
    first_set_baselines,
    judge,
    merge_baselines,
)

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def judged(
    now: float = 0.7,
    n: int = 250,
    error: float | None = 0.02,
    halves: tuple[float, ...] = (0.7, 0.7),
    before: int = 0,
    baseline: Baseline | None = Baseline(0.95, "test"),  # noqa: B008
    name: str = "accuracy",
    tolerance: Tolerance = Tolerance(),  # noqa: B008
) -> str:
    result = judge(
        name,
        baseline,
        Measurement(now, n, error),
        halves=halves,
        worse_before=before,
        tolerance=tolerance,
    )
    if result.degraded:
        return "degraded"
    return "worse" if result.worse else "ok" if result.conclusive else "inconclusive"


def test_large_window_decides_alone() -> None:
    assert judged() == "degraded"
    assert judged(n=199) == "worse"


def test_small_window_needs_a_second_one() -> None:
    assert judged(n=40, error=0.05, before=1) == "degraded"
    assert judged(n=40, error=0.05, before=0) == "worse"


def test_fewer_than_thirty_labels_are_inconclusive() -> None:
    assert judged(n=29, before=5) == "inconclusive"
    assert judged(n=30, before=5) == "degraded"


def test_burst_in_one_half_does_not_decide() -> None:
    assert judged(halves=(0.93, 0.47)) == "worse"


def test_change_within_the_tolerance_is_ok() -> None:
    assert judged(now=0.86, halves=(0.86, 0.86), error=0.001, before=3) == "ok"
    assert judged(tolerance=Tolerance(0.1, 0.3), before=3) == "ok"


def test_change_within_the_noise_is_ok() -> None:
    assert judged(error=0.13, before=3) == "ok"
    assert judged(error=0.08, before=0) == "worse"


def test_baseline_of_few_rows_is_uncertain() -> None:
    assert judged(now=0.8, before=1, baseline=Baseline(0.95, "test", 10)) == "ok"
    assert judged(now=0.8, before=1, baseline=Baseline(0.95, "test", 10_000)) == "degraded"


def test_better_metric_is_never_worse() -> None:
    assert judged(now=1.0, halves=(1.0, 1.0), before=3) == "ok"


@pytest.mark.parametrize(
    "what",
    [
        {"baseline": None},
        {"baseline": Baseline(0.95, "training")},
        {"name": "profit"},
        {"name": "max_error"},
        {"error": None},
    ],
)
def test_metric_without_fair_baseline_direction_or_error_is_inconclusive(
    what: dict[str, Any],
) -> None:
    assert judged(**what, before=3) == "inconclusive"


def test_rounding_error_is_never_worse() -> None:
    """Of a model that fits exactly, errors are what is left of 64 bits."""
    exact: dict[str, Any] = {"name": "rmse", "error": 1e-17, "n": 1000, "before": 2}
    assert judged(4e-14, halves=(4e-14, 4e-14), baseline=Baseline(1e-15, "test"), **exact) == "ok"
    assert (
        judged(4e-9, halves=(4e-9, 4e-9), baseline=Baseline(1e-15, "test"), **exact) == "degraded"
    )


@pytest.mark.parametrize(
    ("baseline", "now", "verdict"),
    [
        (Baseline(0.9, "test"), Measurement(0.9, 100, 0.03), "ok"),
        (Baseline(0.9, "test"), Measurement(0.5, 100, 0.05), "worse"),
        (Baseline(0.9, "test"), Measurement(0.5, 29, 0.05), "insufficient_data"),
        (Baseline(0.9, "test"), Measurement(0.5, 0, None), "insufficient_data"),
        (Baseline(0.9, "training"), Measurement(0.5, 100, 0.05), "no_reference"),
        (None, Measurement(0.5, 100, 0.05), "no_reference"),
        (Baseline(0.9, "test"), None, "no_reference"),
    ],
)
def test_metric_verdict(baseline: Baseline | None, now: Measurement | None, verdict: str) -> None:
    assert judge("accuracy", baseline, now).verdict == verdict
    assert judge("profit", baseline, now).verdict == "no_reference"


def recorded(
    day: int, accuracy: float, n: int | None = 100, source: str = "set", window: str = ""
) -> RecordedMetrics:
    return RecordedMetrics(
        NOW + timedelta(days=day), {"test_accuracy": accuracy}, n, source, window
    )


RUN = {"accuracy": Baseline(0.9, "test", 1000)}


@pytest.mark.parametrize(
    ("before", "running"),
    [
        ([], {}),
        ([recorded(1, 0.6)], {"accuracy": 1}),
        ([recorded(1, 0.6), recorded(2, 0.5)], {"accuracy": 2}),
        ([recorded(1, 0.6), recorded(2, 0.89)], {}),
        ([recorded(1, 0.6), recorded(2, 0.5, source="feedback")], {"accuracy": 1}),
        ([recorded(1, 0.6), recorded(2, 0.6)], {"accuracy": 1}),  # sent twice
        ([recorded(1, 0.6), recorded(2, 0.6, window="another")], {"accuracy": 2}),
        ([recorded(1, 0.5, n=50)], {}),  # the same as the judged one
        ([recorded(1, 0.6, n=20)], {}),
        ([recorded(1, 0.6, n=None)], {}),
    ],
)
def test_consecutive_worse_counts_each_set_as_a_window(
    before: list[RecordedMetrics], running: dict[str, int]
) -> None:
    assert consecutive_worse(recorded(9, 0.5, n=50), before, RUN) == running


def test_first_set_metrics_of_enough_rows_are_the_baseline() -> None:
    past = [
        recorded(3, 0.7),
        recorded(1, 0.9, n=29),
        recorded(2, 0.8),
        recorded(0, 0.99, source="feedback"),
    ]
    found = first_set_baselines(past, NOW + timedelta(days=9))
    assert found == {"accuracy": Baseline(0.8, "history", 100)}
    assert first_set_baselines(past, NOW + timedelta(days=2)) == {}
    assert merge_baselines(RUN, found) == RUN
    assert merge_baselines({"accuracy": Baseline(1.0, "training")}, found) == found
