"""What was served, and how metrics went, as pictures. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from model_deployment.dashboard import pictures, words
from model_deployment.monitoring.scores import comparison

#: Windows that can be chosen, in minutes, and columns of a chart.
WINDOWS = {"15m": 15, "1h": 60, "6h": 360, "24h": 1440}
_COLUMNS = 60
#: Metrics that are drawn.
_TRENDS = 12


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a chart, or its columns."""

    label: str
    style: str
    path: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture with its axes in words."""

    title: str
    told: str
    top: str
    lines: tuple[Line, ...]
    first: str
    last: str


def traffic(serving: Mapping[str, Any], minutes: int, until: datetime) -> list[Chart]:
    """Requests and latencies of a window, from what was counted by the minute."""
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
    asked: list[float | None] = [sum(w["requests"] for w in one) / each for one in bins]
    failed: list[float | None] = [
        sum(sum(w["errors"].values()) for w in one) / each for one in bins
    ]
    most = pictures.top(asked)
    errors = ", ".join(
        f"{words.number(n)} {kind.replace('_', ' ')}" for kind, n in total["errors"].items()
    )
    return Chart(
        "Requests per minute",
        f"{words.count(total['requests'], 'request')}, {words.count(total['rows'], 'row')}; "
        f"{errors or 'no errors'}",
        words.number(most),
        (
            Line("requests", "area", pictures.area(asked, most)),
            Line("errors", "area failed", pictures.area(failed, most)),
        ),
        *ends,
    )  # fmt: skip


def _latency(
    bins: Sequence[Sequence[Mapping[str, Any]]], total: Mapping[str, Any], ends: tuple[str, str]
) -> Chart:
    """The slowest minute of each column counts."""

    def worst(name: str) -> list[float | None]:
        return [max((w[name] for w in one if w[name] is not None), default=None) for one in bins]

    p50, p95, p99 = worst("p50_ms"), worst("p95_ms"), worst("p99_ms")
    most = pictures.top(p99)
    return Chart(
        "Latency",
        ", ".join(f"{name} {words.milliseconds(total[f'{name}_ms'])}" for name in ("p50", "p95", "p99")),
        words.milliseconds(most),
        tuple(
            Line(name, name, pictures.line(values, most))
            for name, values in (("p99", p99), ("p95", p95), ("p50", p50))
        ),
        *ends,
    )  # fmt: skip


def trends(
    history: Sequence[Mapping[str, Any]], compared: Sequence[Mapping[str, Any]]
) -> list[Chart]:
    """Each metric over time, with its baseline as a line across.

    Args:
        history: newest first.
        compared: what the newest is compared with.
    """
    past = [
        {row["metric"]: row["current"] for row in comparison({}, entry["metrics"], None)}
        for entry in reversed(history)
    ]
    ends = (
        [words.moment(entry["ts"])[5:16] for entry in (history[-1], history[0])] if history else []
    )
    made = []
    for row in compared[:_TRENDS]:
        values = [one.get(row["metric"]) for one in past]
        if sum(value is not None for value in values) < 2 or any((v or 0) < 0 for v in values):
            continue
        most = pictures.top([*values, row["baseline"]])
        lines = [Line("measured", "p95", pictures.line(values, most))]
        if row["baseline"] is not None and row["baseline"] >= 0:
            lines.append(Line("baseline", "baseline", pictures.line([row["baseline"]] * 2, most)))
        told = f"now {words.number(row['current'])}, baseline {words.number(row['baseline'])}"
        made.append(Chart(row["metric"], told, words.number(most), tuple(lines), *ends))
    return made
