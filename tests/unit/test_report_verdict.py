"""The decision, line by line of its table."""

import pytest

from model_deployment.monitoring.report.drift import Score
from model_deployment.monitoring.report.job import Tolerance
from model_deployment.monitoring.report.metrics import Measured
from model_deployment.monitoring.report.names import Baseline
from model_deployment.monitoring.report.verdict import Evidence, Judged, decide, judge
from model_deployment.monitoring.report.verdict import Tested as Seen

STILL = Seen(Score("ks", 0.05, 0.5), 0.5)
MOVED = Seen(Score("ks", 0.15, 0.001), 0.005)
FAR = Seen(Score("ks", 0.5, 1e-9), 1e-8)
TINY = Seen(Score("psi", 0.05, 1e-9), 1e-8)
CHANCE = Seen(Score("ks", 0.3, 0.04), 0.1)

FINE, WORSE = Judged(0.0, told=True), Judged(-0.3, told=True, worse=True)
DEGRADED = Judged(-0.3, told=True, worse=True, degraded=True)
FEW = Judged(-0.3)


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        (Evidence(100, 100, [STILL] * 4), "ok"),
        (Evidence(100, None, metrics=[FINE]), "ok"),
        (Evidence(0, None, metrics=[FINE]), "ok"),  # metrics that somebody sent
        (Evidence(100, None), "no_reference"),
        (Evidence(0, None), "insufficient_data"),
        (Evidence(0, 100, metrics=[FEW]), "insufficient_data"),
        (Evidence(0, 100, metrics=[FINE]), "ok"),
        (Evidence(100, 100, [STILL], metrics=[FEW], baseline_unread=True), "insufficient_data"),
        (Evidence(100, None, metrics=[Judged()], baseline_unread=True), "insufficient_data"),
        (Evidence(100, 100, [STILL], metrics=[FINE], baseline_unread=True), "ok"),
        (Evidence(100, 100, [FAR], metrics=[FEW], baseline_unread=True), "drift"),
        (Evidence(100, 100, [STILL], classes=[MOVED]), "ok"),
        (Evidence(100, 100, [STILL], classes=[FAR]), "drift"),
        (Evidence(100, None, metrics=[Judged()]), "no_reference"),
        (Evidence(100, None, metrics=[FEW]), "insufficient_data"),
        (Evidence(29, 100, [STILL]), "insufficient_data"),
        (Evidence(100, 29, [STILL]), "insufficient_data"),
        (Evidence(29, 100, [FAR]), "insufficient_data"),
        (Evidence(100, 100), "insufficient_data"),  # no column can be compared
        (Evidence(100, 100, [FAR] + [STILL] * 99), "drift"),
        (Evidence(100, 100, [MOVED] + [STILL] * 3), "ok"),
        (Evidence(100, 100, [MOVED] * 2 + [STILL] * 2), "drift"),
        (Evidence(100, 100, [MOVED] * 2 + [STILL] * 2, drift_share=0.6), "ok"),
        (Evidence(100, 100, [TINY] * 4), "ok"),
        (Evidence(100, 100, [CHANCE] * 4), "ok"),
        (Evidence(100, 100, [STILL], [MOVED]), "drift"),
        (Evidence(100, 100, [STILL], broken=1), "drift"),
        (Evidence(100, 100, [STILL], violations=10, requests=100), "drift"),
        (Evidence(100, 100, [STILL], violations=9, requests=100), "ok"),
        (Evidence(100, 100, [STILL], violations=29, requests=29), "ok"),
        (Evidence(100, 100, [STILL], metrics=[FINE, WORSE]), "insufficient_data"),
        (Evidence(100, 100, [FAR], metrics=[WORSE]), "drift"),
        (Evidence(100, 100, [FAR], metrics=[FINE, DEGRADED]), "degraded"),
        (Evidence(0, None, metrics=[DEGRADED]), "degraded"),
    ],
)
def test_the_first_line_that_holds(evidence: Evidence, verdict: str) -> None:
    assert decide(evidence) == verdict


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
    direction = None if name == "profit" else "higher"
    measured = Measured(now, n, error)
    result = judge(name, direction, baseline, measured, halves, before, tolerance)
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
