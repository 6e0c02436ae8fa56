"""The one judge of metrics: when one is worse than its baseline, and when that lasts."""

from datetime import UTC, datetime, timedelta

import pytest

from model_deployment.degradation.metric_names import Baseline
from model_deployment.degradation.metric_verdict import (
    Around,
    Measured,
    Past,
    Tolerance,
    first_set,
    held_to,
    judge,
    worse_running,
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
    result = judge(name, baseline, Measured(now, n, error), Around(halves, before, tolerance))
    if result.degraded:
        return "degraded"
    return "worse" if result.worse else "fine" if result.told else "untold"


def test_a_large_window_decides_alone() -> None:
    assert judged() == "degraded"
    assert judged(n=199) == "worse"


def test_a_small_window_needs_another() -> None:
    assert judged(n=40, error=0.05, before=1) == "degraded"
    assert judged(n=40, error=0.05, before=0) == "worse"


def test_under_thirty_labels_nothing_is_told() -> None:
    assert judged(n=29, before=5) == "untold"
    assert judged(n=30, before=5) == "degraded"


def test_a_burst_in_one_half_does_not_decide() -> None:
    assert judged(halves=(0.93, 0.47)) == "worse"


def test_within_the_tolerance_is_fine() -> None:
    assert judged(now=0.86, halves=(0.86, 0.86), error=0.001, before=3) == "fine"
    assert judged(tolerance=Tolerance(0.1, 0.3), before=3) == "fine"


def test_within_the_noise_is_fine() -> None:
    assert judged(error=0.13, before=3) == "fine"
    assert judged(error=0.08, before=0) == "worse"


def test_a_baseline_of_few_rows_is_uncertain() -> None:
    assert judged(now=0.8, before=1, baseline=Baseline(0.95, "test", 10)) == "fine"
    assert judged(now=0.8, before=1, baseline=Baseline(0.95, "test", 10_000)) == "degraded"


def test_better_is_never_worse() -> None:
    assert judged(now=1.0, halves=(1.0, 1.0), before=3) == "fine"


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
def test_what_nothing_can_be_told_of(what: dict) -> None:
    assert judged(**what, before=3) == "untold"


def test_rounding_is_never_worse() -> None:
    """Of a model that fits exactly, errors are what is left of 64 bits."""
    exact = {"name": "rmse", "error": 1e-17, "n": 1000, "before": 2}
    assert judged(4e-14, halves=(4e-14, 4e-14), baseline=Baseline(1e-15, "test"), **exact) == "fine"
    assert (
        judged(4e-9, halves=(4e-9, 4e-9), baseline=Baseline(1e-15, "test"), **exact) == "degraded"
    )


@pytest.mark.parametrize(
    ("baseline", "now", "verdict"),
    [
        (Baseline(0.9, "test"), Measured(0.9, 100, 0.03), "ok"),
        (Baseline(0.9, "test"), Measured(0.5, 100, 0.05), "worse"),
        (Baseline(0.9, "test"), Measured(0.5, 29, 0.05), "insufficient_data"),
        (Baseline(0.9, "test"), Measured(0.5, 0, None), "insufficient_data"),
        (Baseline(0.9, "training"), Measured(0.5, 100, 0.05), "no_reference"),
        (None, Measured(0.5, 100, 0.05), "no_reference"),
        (Baseline(0.9, "test"), None, "no_reference"),
    ],
)
def test_a_metric_has_a_verdict(
    baseline: Baseline | None, now: Measured | None, verdict: str
) -> None:
    assert judge("accuracy", baseline, now).verdict == verdict
    assert judge("profit", baseline, now).verdict == "no_reference"


def told(
    day: int, accuracy: float, n: int | None = 100, source: str = "set", window: str = ""
) -> Past:
    return Past(NOW + timedelta(days=day), {"test_accuracy": accuracy}, n, source, window)


RUN = {"accuracy": Baseline(0.9, "test", 1000)}


@pytest.mark.parametrize(
    ("before", "running"),
    [
        ([], {}),
        ([told(1, 0.6)], {"accuracy": 1}),
        ([told(1, 0.6), told(2, 0.5)], {"accuracy": 2}),
        ([told(1, 0.6), told(2, 0.89)], {}),
        ([told(1, 0.6), told(2, 0.5, source="feedback")], {"accuracy": 1}),
        ([told(1, 0.6), told(2, 0.6)], {"accuracy": 1}),  # told twice
        ([told(1, 0.6), told(2, 0.6, window="another")], {"accuracy": 2}),
        ([told(1, 0.5, n=50)], {}),  # that is what is judged, told before
        ([told(1, 0.6, n=20)], {}),
        ([told(1, 0.6, n=None)], {}),
    ],
)
def test_what_was_set_is_a_window_each(before: list[Past], running: dict[str, int]) -> None:
    assert worse_running(told(9, 0.5, n=50), before, RUN) == running


def test_the_first_that_was_set_of_enough_rows_is_a_baseline() -> None:
    pasts = [told(3, 0.7), told(1, 0.9, n=29), told(2, 0.8), told(0, 0.99, source="feedback")]
    found = first_set(pasts, NOW + timedelta(days=9))
    assert found == {"accuracy": Baseline(0.8, "history", 100)}
    assert first_set(pasts, NOW + timedelta(days=2)) == {}
    assert held_to(RUN, found) == RUN
    assert held_to({"accuracy": Baseline(1.0, "training")}, found) == found
