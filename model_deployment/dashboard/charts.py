"""What charts of traffic and of metrics over time show; ``charts.js`` draws them. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from model_deployment.core.errors import InvalidRequest
from model_deployment.core.metric_names import HIGHER, direction
from model_deployment.degradation.metric_verdict import by_normalised_name
from model_deployment.recording.error_kinds import caller_errors, model_errors
from model_deployment.rendering import axis, numbers

#: Minutes of each window that can be chosen.
WINDOWS = {"15m": 15, "1h": 60, "6h": 360, "24h": 1440}
#: Minutes that a column of a chart may stand for, and columns at most.
_STEPS, _COLUMNS = (1, 2, 5, 10, 15, 30, 60), 96
#: Minutes that a chart shows at least.
_SHORTEST = 15
_LONGEST = timedelta(minutes=max(WINDOWS.values()))
_MINUTE = timedelta(minutes=1)
#: Metrics with a chart, at most.
_MAX_TRENDS = 12


@dataclass(frozen=True, slots=True)
class Series:
    label: str
    #: Its colour, as a class of the style sheet.
    style: str
    #: One for each place; None where there is nothing.
    values: tuple[float | None, ...]
    #: The upper end of the axis, and its lines, while this is the largest series that is shown; 0 for one
    #: that cannot be hidden.
    high: float = 0.0
    ticks: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    summary: str
    #: ``bars``, one upon another, or ``lines``.
    kind: str
    #: ``ms``, or nothing.
    unit: str
    #: Times of the values, in seconds since 1970: where a bar begins, or where a point is.
    places: tuple[float, ...]
    #: Seconds that a value stands for; 0 for points.
    step: float
    #: Ends of the time axis, in seconds since 1970.
    since: float
    until: float
    #: Ends of the axis of values, and where its lines are.
    low: float
    high: float
    ticks: tuple[float, ...]
    series: tuple[Series, ...]
    baseline: float | None = None

    def data(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Span:
    """What a chart of traffic shows: ``since`` to ``until``, in columns of ``step``."""

    since: datetime
    until: datetime
    step: timedelta


def latest(minutes: int, now: datetime, first: datetime | None) -> Span:
    """The last minutes, or what there is of them.

    Args:
        first: the first minute with requests in these minutes, None without any.
    """
    until = now.replace(second=0, microsecond=0) + _MINUTE
    since = until - timedelta(minutes=minutes)
    if first is not None:
        since = min(max(since, first - _MINUTE), until - timedelta(minutes=_SHORTEST))
    return _in_steps(since, until)


def between(since: datetime, until: datetime) -> Span:
    """A range that was chosen, in UTC unless it says otherwise.

    Raises:
        InvalidRequest: the range is empty, or longer than a day.
    """
    since, until = (
        one if one.tzinfo is not None else one.replace(tzinfo=UTC) for one in (since, until)
    )
    if not timedelta(0) < until - since <= _LONGEST:
        raise InvalidRequest("cannot show this range: it has to end after it begins, within a day")
    return _in_steps(since, until)


def _in_steps(since: datetime, until: datetime) -> Span:
    """A range that begins and ends with a column."""
    minutes = (until - since) / _MINUTE
    each = next((one for one in _STEPS if minutes / one <= _COLUMNS), _STEPS[-1]) * _MINUTE
    first = int(since.timestamp() // each.total_seconds())
    last = max(first + 1, math.ceil(until.timestamp() / each.total_seconds()))
    begin = datetime.fromtimestamp(0, UTC)
    return Span(begin + first * each, begin + last * each, each)


def first_minute(serving: Mapping[str, Any]) -> datetime | None:
    """The first minute with requests."""
    windows = serving["windows"]
    return datetime.fromisoformat(windows[0]["ts"]) if windows else None


def traffic(serving: Mapping[str, Any], span: Span) -> list[Chart]:
    """Requests and latencies, from counts per minute."""
    columns = round((span.until - span.since) / span.step)
    bins: list[list[Mapping[str, Any]]] = [[] for _ in range(columns)]
    for window in serving["windows"]:
        place = (datetime.fromisoformat(window["ts"]) - span.since) // span.step
        if 0 <= place < columns:
            bins[place].append(window)
    return [_requests(bins, serving["total"], span), _latency(bins, serving["total"], span)]


_Bins = Sequence[Sequence[Mapping[str, Any]]]


def _requests(bins: _Bins, total: Mapping[str, Any], span: Span) -> Chart:
    def counted(count: Callable[[Mapping[str, Any]], int]) -> tuple[int, ...]:
        return tuple(sum(count(window) for window in one) for one in bins)

    requests = counted(lambda window: window["requests"])
    models = counted(lambda window: model_errors(window["errors"]))
    callers = counted(lambda window: caller_errors(window["errors"]))
    answered = tuple(
        all_ - model - caller for all_, model, caller in zip(requests, models, callers, strict=True)
    )
    errors = ", ".join(
        f"{numbers.number(n)} {kind.replace('_', ' ')}" for kind, n in total["errors"].items()
    )
    return _chart(
        f"Requests per {_step(span.step)}",
        f"{numbers.count(total['requests'], 'request')}, {numbers.count(total['rows'], 'row')}; "
        f"{errors or 'no errors'}",
        "bars",
        "",
        span,
        axis.top(requests),
        (
            Series("model errors", "failed", models),
            Series("caller errors", "refused", callers),
            Series("answered", "answered", answered),
        ),
    )


def _step(step: timedelta) -> str:
    minutes = round(step / _MINUTE)
    return "minute" if minutes == 1 else "hour" if minutes == 60 else f"{minutes} minutes"


def _latency(bins: _Bins, total: Mapping[str, Any], span: Span) -> Chart:
    """Each column shows its slowest minute."""

    def worst(name: str) -> tuple[float | None, ...]:
        return tuple(
            max((w[name] for w in one if w[name] is not None), default=None) for one in bins
        )

    p50, p95, p99 = worst("p50_ms"), worst("p95_ms"), worst("p99_ms")
    summary = ", ".join(
        f"{name} {numbers.milliseconds(total[f'{name}_ms'])}" for name in ("p50", "p95", "p99")
    )

    def series(name: str, values: tuple[float | None, ...]) -> Series:
        high = axis.top(values)
        return Series(name, name, values, high, axis.ticks(0.0, high))

    lines = (series("p99", p99), series("p95", p95), series("p50", p50))
    return _chart("Latency", summary, "lines", "ms", span, axis.top(p99), lines)


def _chart(
    title: str,
    summary: str,
    kind: str,
    unit: str,
    span: Span,
    high: float,
    series: tuple[Series, ...],
) -> Chart:
    since, step = span.since.timestamp(), span.step.total_seconds()
    return Chart(
        title,
        summary,
        kind,
        unit,
        places=tuple(since + place * step for place in range(len(series[0].values))),
        step=step,
        since=since,
        until=span.until.timestamp(),
        low=0.0,
        high=high,
        ticks=axis.ticks(0.0, high),
        series=series,
    )


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
    places = tuple(at.timestamp() for at, _ in measured)
    return Chart(
        row["metric"],
        f"now {numbers.number(row['current'])}, baseline {numbers.number(baseline)}",
        "lines",
        "",
        places,
        step=0.0,
        since=places[0],
        until=max(places[-1], places[0] + 1),
        low=low,
        high=high,
        ticks=axis.ticks(low, high),
        series=(Series("measured", "p95", tuple(values)),),
        baseline=baseline,
    )
