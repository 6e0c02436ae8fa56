"""Charts of traffic and of metrics over time. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from model_deployment.degradation.metric_names import HIGHER, direction
from model_deployment.degradation.metric_verdict import by_normalised_name
from model_deployment.rendering import axis, numbers, paths

#: Minutes of each window that can be chosen, and columns of a chart.
WINDOWS = {"15m": 15, "1h": 60, "6h": 360, "24h": 1440}
_COLUMNS = 60
#: Metrics with a chart, at most.
_MAX_TRENDS = 12


@dataclass(frozen=True, slots=True)
class Line:
    label: str
    style: str
    path: str


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    summary: str
    top: str
    lines: tuple[Line, ...]
    first: str
    last: str
    bottom: str = "0"


def traffic(serving: Mapping[str, Any], minutes: int, until: datetime) -> list[Chart]:
    """Requests and latencies of a window, from counts per minute."""
    until = until.replace(second=0, microsecond=0) + timedelta(minutes=1)
    since = until - timedelta(minutes=minutes)
    columns = min(_COLUMNS, minutes)
    each = minutes / columns
    bins: list[list[Mapping[str, Any]]] = [[] for _ in range(columns)]
    for window in serving["windows"]:
        place = int((datetime.fromisoformat(window["ts"]) - since).total_seconds() // 60 / each)
        if 0 <= place < columns:
            bins[place].append(window)
    ends = f"{since:%m-%d %H:%M}", f"{until:%H:%M}"
    return [_requests(bins, each, serving["total"], ends), _latency(bins, serving["total"], ends)]


def _requests(
    bins: Sequence[Sequence[Mapping[str, Any]]],
    each: float,
    total: Mapping[str, Any],
    ends: tuple[str, str],
) -> Chart:
    requests: list[float | None] = [sum(w["requests"] for w in one) / each for one in bins]
    failed: list[float | None] = [
        sum(sum(w["errors"].values()) for w in one) / each for one in bins
    ]
    most = axis.top(requests)
    errors = ", ".join(
        f"{numbers.number(n)} {kind.replace('_', ' ')}" for kind, n in total["errors"].items()
    )
    return Chart(
        "Requests per minute",
        f"{numbers.count(total['requests'], 'request')}, {numbers.count(total['rows'], 'row')}; "
        f"{errors or 'no errors'}",
        numbers.number(most),
        (
            Line("requests", "area", paths.bars(requests, most)),
            Line("errors", "area failed", paths.bars(failed, most)),
        ),
        *ends,
    )  # fmt: skip


def _latency(
    bins: Sequence[Sequence[Mapping[str, Any]]], total: Mapping[str, Any], ends: tuple[str, str]
) -> Chart:
    """Each column shows its slowest minute."""

    def worst(name: str) -> list[float | None]:
        return [max((w[name] for w in one if w[name] is not None), default=None) for one in bins]

    p50, p95, p99 = worst("p50_ms"), worst("p95_ms"), worst("p99_ms")
    most = axis.top(p99)
    return Chart(
        "Latency",
        ", ".join(
            f"{name} {numbers.milliseconds(total[f'{name}_ms'])}"
            for name in ("p50", "p95", "p99")
        ),
        numbers.milliseconds(most),
        tuple(
            Line(name, name, paths.line(values, most))
            for name, values in (("p99", p99), ("p95", p95), ("p50", p50))
        ),
        *ends,
    )  # fmt: skip


def trends(
    history: Sequence[Mapping[str, Any]], compared: Sequence[Mapping[str, Any]]
) -> list[Chart]:
    """Each metric over time, with its baseline as a horizontal line.

    Args:
        history: newest first.
        compared: the comparison of the newest metrics with their baseline.
    """
    past = [
        (
            datetime.fromisoformat(entry["ts"]),
            by_normalised_name(entry["metrics"]),
        )
        for entry in reversed(history)
    ]
    made = []
    for row in compared[:_MAX_TRENDS]:
        measured = [
            (at, now[row["metric"]])
            for at, now in past
            if math.isfinite(now.get(row["metric"], math.nan))
        ]
        if len(measured) > 1:
            made.append(_trend(row, measured))
    return made


def _trend(row: Mapping[str, Any], measured: Sequence[tuple[datetime, float]]) -> Chart:
    baseline = row["baseline"]
    if baseline is not None and not math.isfinite(baseline):
        baseline = None
    values = [value for _, value in measured]
    bound = 1.0 if direction(row["metric"]) == HIGHER else None
    low, high = axis.edges(values if baseline is None else [*values, baseline], bound)
    (first, _), (last, _) = measured[0], measured[-1]
    span = (last - first).total_seconds() or 1.0
    points = [((at - first).total_seconds() / span, value) for at, value in measured]
    lines = [Line("measured", "p95", paths.curve(points, low, high))]
    if baseline is not None:
        across = [(0.0, baseline), (1.0, baseline)]
        lines.append(Line("baseline", "baseline", paths.curve(across, low, high)))
    return Chart(
        row["metric"],
        f"now {numbers.number(row['current'])}, baseline {numbers.number(baseline)}",
        numbers.number(high),
        tuple(lines),
        first=numbers.moment(first)[5:16],
        last=numbers.moment(last)[5:16],
        bottom=numbers.number(low),
    )
