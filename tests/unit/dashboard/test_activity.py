"""How busy deployments were in the last minutes."""

import pytest

from model_deployment.core.names import ModelKey
from model_deployment.dashboard.activity import Activity
from model_deployment.recording.counters import RequestCounters

KEY = ModelKey("iris", 1)


def served(totals: RequestCounters, seconds: float, number: int = 1) -> None:
    for _ in range(number):
        totals.answered(KEY, seconds, 1)


def test_activity_covers_the_last_steps() -> None:
    activity, totals = Activity(), RequestCounters()
    activity.sample(0, totals.all())
    assert activity.of(KEY).rates == ()
    served(totals, 0.003, 50)
    activity.sample(5, totals.all())
    assert activity.of(KEY).rates == (10,)
    totals.failed(KEY, "refused")
    activity.sample(10, totals.all())
    found = activity.of(KEY)
    assert (found.requests, found.caller_errors, found.model_errors) == (51, 1, 0)
    assert (found.errors, found.rate) == (1, 5.1)
    assert found.p95s[1] is None
    assert found.p95 == pytest.approx(3, rel=0.1)
    totals.keep(())
    served(totals, 0.003)  # deployed again: counters restart at zero
    activity.sample(15, totals.all())
    assert activity.of(KEY).rates == (10, 0.2, 0.2)
    totals.keep(())
    activity.sample(20, totals.all())
    assert activity.of(KEY).rates == ()


@pytest.mark.parametrize("milliseconds", [0.3, 1.7, 11, 13, 60, 240, 1100, 2900, 12_000, 40_000])
def test_p95_is_within_ten_percent(milliseconds: float) -> None:
    """Between the buckets of Prometheus, the one of 11 ms would be 24."""
    activity, totals = Activity(), RequestCounters()
    served(totals, milliseconds / 1000, 1000)
    activity.sample(0, totals.all())
    assert activity.of(KEY).p95 == pytest.approx(milliseconds, rel=0.1)
    assert activity.of(KEY).p95s == (activity.of(KEY).p95,)
