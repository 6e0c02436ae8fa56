"""Charts of traffic and of metrics over time."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from model_deployment.core.errors import InvalidRequest
from model_deployment.dashboard import charts
from model_deployment.degradation.metric_verdict import RecordedMetrics
from model_deployment.metrics.scores import comparison

NOW = datetime(2026, 1, 31, 12, 0, 30, tzinfo=UTC)
COUNTED = {"requests": 60, "rows": 60, "p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0}


def serving(*moments: datetime, **errors: int) -> dict[str, Any]:
    """So many requests and errors in each of some minutes."""
    summary = {**COUNTED, "errors": errors}
    return {
        "windows": [{"ts": moment.isoformat(), **summary} for moment in moments],
        "total": summary,
    }


@pytest.mark.parametrize("window", charts.WINDOWS)
def test_traffic_is_counted_in_columns_of_every_window(window: str) -> None:
    minutes = charts.WINDOWS[window]
    last = NOW.replace(second=0)
    found = serving(
        last - timedelta(minutes=minutes - 1), last, refused=3, too_busy=1, model_failed=2
    )
    span = charts.latest(minutes, NOW, charts.first_minute(found))
    requests, latency = charts.traffic(found, span)
    assert len(requests.places) <= 97
    models, callers, answered = (series.values for series in requests.series)
    assert [sum(values) for values in (models, callers, answered)] == [4, 8, 108]  # type: ignore[arg-type]
    assert answered[-1] == 54
    assert "3 refused" in requests.summary
    assert [series.label for series in latency.series] == ["p99", "p95", "p50"]
    assert (requests.low, requests.high, requests.ticks[0]) == (0, 60, 0)


def test_chart_begins_where_the_data_begin() -> None:
    """But it does not become shorter than a quarter of an hour."""
    span = charts.latest(60, NOW, NOW.replace(second=0) - timedelta(minutes=30))
    assert (span.since.minute, span.until.minute) == (29, 1)
    assert charts.latest(60, NOW, NOW).since.minute == 46
    assert charts.latest(60, NOW, None).since.minute == 1


def test_chosen_range_is_shown_in_whole_columns() -> None:
    since = datetime(2026, 1, 31, 11, 58, 20)
    span = charts.between(since, since + timedelta(minutes=2))
    assert (span.since, span.until) == (
        datetime(2026, 1, 31, 11, 58, tzinfo=UTC),
        datetime(2026, 1, 31, 12, 1, tzinfo=UTC),
    )
    for length in (timedelta(0), timedelta(days=2), -timedelta(minutes=1)):
        with pytest.raises(InvalidRequest, match="cannot show this range"):
            charts.between(since, since + length)


def entry(day: int, **metrics: float) -> dict[str, Any]:
    return {"ts": datetime(2026, 1, day, tzinfo=UTC).isoformat(), "metrics": metrics}


def trend(*history: dict[str, Any], **baseline: float) -> charts.Chart:
    newest_first = history[::-1]
    compared = comparison(baseline, RecordedMetrics(None, newest_first[0]["metrics"], None))
    (made,) = charts.trends(newest_first, compared)
    return made


def test_trend_may_be_negative() -> None:
    made = trend(entry(1, r2=0.8), entry(2, r2=-0.4), r2=0.9)
    assert (made.low, made.high, made.baseline) == (-1, 1, 0.9)
    assert made.series[0].values == (0.8, -0.4)
    assert made.ticks == (-1, -0.5, 0, 0.5, 1)
    below = trend(entry(1, r2=-3), entry(2, r2=-2))
    assert (below.low, below.high) == (-3.5, -1.5)


def test_trend_points_are_placed_by_their_time() -> None:
    made = trend(entry(1, mae=1), entry(2, mae=4), entry(5, mae=1))
    assert made.low == 0
    assert [(place - made.since) / 86400 for place in made.places] == [0, 1, 4]
    assert made.until == made.places[-1]


def test_trend_leaves_out_values_that_are_not_finite() -> None:
    history = [entry(2, mae=math.inf), entry(1, mae=1)]
    assert charts.trends(history, comparison({}, RecordedMetrics(None, {"mae": 1.0}, None))) == []


def test_trend_draws_rounding_errors_flat() -> None:
    made = trend(entry(1, mse=2978.284480640107), entry(2, mse=2978.2844806401067), mse=2900)
    assert (made.low, made.high) == (2800, 3050)
    exact = trend(entry(1, mae=1e-16), entry(2, mae=9e-16))
    assert (exact.low, exact.high) == (0, 1e-12)
