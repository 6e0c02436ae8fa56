"""Charts of traffic and of metrics over time."""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from model_deployment.dashboard import charts
from model_deployment.degradation.metric_verdict import RecordedMetrics
from model_deployment.metrics.scores import comparison


@pytest.mark.parametrize("window", charts.WINDOWS)
def test_traffic_is_drawn_for_every_window(window: str) -> None:
    now = datetime(2026, 1, 31, 12, 0, 30, tzinfo=UTC)
    summary = {
        "requests": 60,
        "rows": 60,
        "errors": {"refused": 3},
        "p50_ms": 1.0,
        "p95_ms": 2.0,
        "p99_ms": 3.0,
    }
    minutes = charts.WINDOWS[window]
    moments = [now.replace(second=0), now.replace(second=0) - timedelta(minutes=minutes - 1)]
    windows = [{"ts": moment.isoformat(), **summary} for moment in moments]
    requests, latency = charts.traffic({"windows": windows, "total": summary}, minutes, now)
    path = requests.lines[0].path
    assert path.startswith("M0 60")
    assert "H200V60Z" in path
    assert "3 refused" in requests.summary
    assert [line.label for line in latency.lines] == ["p99", "p95", "p50"]


def entry(day: int, **metrics: float) -> dict[str, Any]:
    return {"ts": datetime(2026, 1, day, tzinfo=UTC).isoformat(), "metrics": metrics}


def trend(*history: dict[str, Any], **baseline: float) -> charts.Chart:
    newest_first = history[::-1]
    compared = comparison(baseline, RecordedMetrics(None, newest_first[0]["metrics"], None))
    (made,) = charts.trends(newest_first, compared)
    return made


def test_trend_may_be_negative() -> None:
    made = trend(entry(1, r2=0.8), entry(2, r2=-0.4), r2=0.9)
    assert (made.bottom, made.top) == ("-1", "1")
    measured, baseline = (line.path for line in made.lines)
    assert measured == "M0 7L200 42"
    assert baseline.startswith("M0 4")
    below = trend(entry(1, r2=-3), entry(2, r2=-2))
    assert (below.bottom, below.top) == ("-3.5", "-1.5")


def test_trend_points_are_placed_by_their_time() -> None:
    made = trend(entry(1, mae=1), entry(2, mae=4), entry(5, mae=1))
    assert made.bottom == "0"
    assert re.findall("[ML]([0-9]+)", made.lines[0].path) == ["0", "50", "200"]
    assert (made.first, made.last) == ("01-01 00:00", "01-05 00:00")


def test_trend_leaves_out_values_that_are_not_finite() -> None:
    history = [entry(2, mae=math.inf), entry(1, mae=1)]
    assert charts.trends(history, comparison({}, RecordedMetrics(None, {"mae": 1.0}, None))) == []


def test_trend_draws_rounding_errors_flat() -> None:
    made = trend(entry(1, mse=2978.284480640107), entry(2, mse=2978.2844806401067), mse=2900)
    assert (made.bottom, made.top) == ("2,800", "3,050")
    assert re.fullmatch(r"M0 ([0-9]+)L200 \1", made.lines[0].path)
    exact = trend(entry(1, mae=1e-16), entry(2, mae=9e-16))
    assert (exact.bottom, exact.top, exact.lines[0].path) == ("0", "1e-12", "M0 59L200 59")
