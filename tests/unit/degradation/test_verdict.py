"""The decision, line by line of its table."""

import pytest

from model_deployment.degradation.metric_verdict import MetricVerdict
from model_deployment.degradation.statistics.drift import DriftScore
from model_deployment.degradation.verdict import Evidence, decide, many_refused
from tests.support.cases import each

STILL = DriftScore("ks", 0.05, 0.5)
MOVED = DriftScore("ks", 0.15, 0.005)
FAR = DriftScore("ks", 0.5, 1e-8)
TINY = DriftScore("psi", 0.05, 1e-8)
CHANCE = DriftScore("ks", 0.3, 0.1)

FINE, WORSE = MetricVerdict(0.0, conclusive=True), MetricVerdict(-0.3, conclusive=True, worse=True)
DEGRADED = MetricVerdict(-0.3, conclusive=True, worse=True, degraded=True)
FEW = MetricVerdict(-0.3)


@each(
    "evidence, verdict",
    [
        (Evidence(100, 100, [STILL] * 4), "ok"),
        (Evidence(100, None, metrics=[FINE]), "ok"),
        (Evidence(0, None, metrics=[FINE]), "ok"),  # metrics that somebody sent
        (Evidence(100, None), "no_reference"),
        (Evidence(0, None), "insufficient_data"),
        (Evidence(0, 100, metrics=[FEW]), "insufficient_data"),
        (Evidence(0, 100, metrics=[FINE]), "ok"),
        (Evidence(100, 100, [STILL], metrics=[FEW], baseline_unread=True), "insufficient_data"),
        (Evidence(100, None, metrics=[MetricVerdict()], baseline_unread=True), "insufficient_data"),
        (Evidence(100, 100, [STILL], metrics=[FINE], baseline_unread=True), "ok"),
        (Evidence(100, 100, [FAR], metrics=[FEW], baseline_unread=True), "drift"),
        (Evidence(100, 100, [STILL], classes=[MOVED]), "ok"),
        (Evidence(100, 100, [STILL], classes=[FAR]), "drift"),
        (Evidence(100, None, metrics=[MetricVerdict()]), "no_reference"),
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
        (Evidence(100, 100, [STILL], refused=3, requests=100), "ok"),
        (Evidence(100, 100, [STILL], refused=90, requests=190), "ok"),
        (Evidence(100, 100, [FAR], refused=90, requests=190), "drift"),
        (Evidence(0, 100, refused=500, requests=500), "insufficient_data"),
        (Evidence(100, 100, [STILL], metrics=[FINE, WORSE]), "insufficient_data"),
        (Evidence(100, 100, [FAR], metrics=[WORSE]), "drift"),
        (Evidence(100, 100, [FAR], metrics=[FINE, DEGRADED]), "degraded"),
        (Evidence(0, None, metrics=[DEGRADED]), "degraded"),
    ],
)
def test_verdict_is_of_the_first_line_that_holds(evidence: Evidence, verdict: str) -> None:
    assert decide(evidence) == verdict


@pytest.mark.parametrize(
    ("refused", "requests", "many"),
    [
        (3, 225, False),
        (9, 100, False),
        (10, 100, True),
        (29, 29, False),
        (3, 30, True),
        (0, 0, False),
    ],
)
def test_callers_have_changed_if_a_tenth_of_thirty_requests_is_refused(
    refused: int, requests: int, many: bool
) -> None:
    assert many_refused(Evidence(100, 100, refused=refused, requests=requests)) is many
