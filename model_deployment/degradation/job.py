"""The job of a report: ``job.json``, checked and with defaults."""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model_deployment.core.series import predicts_series
from model_deployment.degradation.metric_verdict import (
    RecordedMetrics,
    Tolerance,
    by_normalised_name,
)

REGRESSION, CLASSIFICATION = "regression", "classification"


@dataclass(frozen=True, slots=True)
class ViolationCount:
    """How often one kind of violation of the signature occurred in one column."""

    column: str
    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class ReportJob:
    #: Of the stored report; empty if it is not stored.
    id: str = ""
    model: str = ""
    version: str = ""
    since: str | None = None
    until: str | None = None
    made_at: str | None = None
    #: The columns of the signature in MLflow's JSON form.
    inputs: tuple[Mapping[str, Any], ...] = ()
    #: The model predicts a time series: of each row's predictions only the next value is judged.
    predicts_series: bool = False
    #: Columns that are not captured.
    excluded: frozenset[str] = frozenset()
    #: Columns that are captured as digests.
    hashed: frozenset[str] = frozenset()
    #: Whose predictions they are: ``servers`` or ``devices``.
    source: str = "servers"
    reference_source: str | None = None
    target: str | None = None
    task: str | None = None
    baseline: Mapping[str, float] = field(default_factory=dict)
    #: Rows that the baseline was measured on, if known.
    baseline_rows: int | None = None
    #: Why the metrics of the run could not be read.
    baseline_error: str | None = None
    #: Earlier metrics, oldest first.
    history: tuple[RecordedMetrics, ...] = ()
    #: The first metrics that were set on enough rows, which may be older than the history.
    first_set: RecordedMetrics | None = None
    #: By metric, the consecutive windows before this one in which it was worse.
    worse_before: Mapping[str, int] | None = None
    #: Consecutive windows before this one in which any metric was worse, if ``worse_before`` is None.
    windows_worse_before: int = 0
    violations: tuple[ViolationCount, ...] = ()
    requests: int = 0
    #: Requests refused for their content, by kind; the model never saw them.
    refused: Mapping[str, int] = field(default_factory=dict)
    #: Requests that do not fit the signature and were passed to the model.
    let_through: int = 0
    tolerance: Tolerance = Tolerance()
    drift_share: float = 0.5
    max_rows: int = 20_000
    #: Columns that are drawn, and that Evidently gets; all columns are compared.
    max_columns: int = 40
    seed: int = 0
    memory_bytes: int | None = None
    cpu_seconds: int | None = None
    #: Whether to add Evidently's page.
    deep: bool = True

    def windows_worse(self, metric: str) -> int:
        """Consecutive windows before this one in which a metric (normalised name) was worse."""
        if self.worse_before is None:
            return self.windows_worse_before
        return self.worse_before.get(metric, 0)


def load(path: Path) -> ReportJob:
    """Read a job.

    Raises:
        ValueError: the file holds no valid job.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise ValueError("cannot read job.json: it holds no JSON object")
    return parse(document)


def parse(document: Mapping[str, Any]) -> ReportJob:
    """A job from parsed JSON; missing and null values have their defaults."""
    given: dict[str, Any] = {
        name: convert(document[name])
        for name, convert in _FIELDS.items()
        if document.get(name) is not None
    }
    signature = document.get("signature") or {}
    inputs = signature.get("inputs") or ()
    return ReportJob(
        inputs=tuple(one for one in inputs if isinstance(one, dict)),
        predicts_series=predicts_series(signature),
        **given,
    )


def moment(value: Any) -> datetime | None:
    """A time from ISO text or from seconds since 1970; None if ``value`` is neither."""
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        parsed = datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def recorded_metrics(entry: Mapping[str, Any]) -> RecordedMetrics:
    """An entry of the history of metrics."""
    return RecordedMetrics(
        moment(entry.get("ts")),
        _numbers(entry.get("metrics") or {}),
        _whole(entry.get("n")),
        str(entry.get("source") or ""),
        _text(entry.get("window")),
    )


def _violations(entries: Iterable[Mapping[str, Any]]) -> tuple[ViolationCount, ...]:
    return tuple(
        ViolationCount(
            str(one.get("column") or ""), str(one.get("kind") or ""), int(one.get("count") or 0)
        )
        for one in entries
    )


def _numbers(entries: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers among the values."""
    return {
        str(name): float(value)
        for name, value in entries.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def _counts(entries: Mapping[str, Any]) -> dict[str, int]:
    return {name: int(value) for name, value in _numbers(entries).items()}


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _text(value: Any) -> str | None:
    """A text; None if it is missing or empty."""
    return None if value is None or value == "" else str(value)


#: How the fields of ``job.json`` are read.
_FIELDS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("id", "model", "version", "source"), str),
    **dict.fromkeys(
        ("since", "until", "made_at", "reference_source", "target", "baseline_error"), _text
    ),
    **dict.fromkeys(("excluded", "hashed"), lambda values: frozenset(map(str, values))),
    "task": lambda task: task if task in (REGRESSION, CLASSIFICATION) else None,
    "baseline": _numbers,
    "history": lambda entries: tuple(map(recorded_metrics, entries)),
    "first_set": lambda entry: recorded_metrics(entry) if entry else None,
    "worse_before": lambda entries: _counts(by_normalised_name(_numbers(entries))),
    "violations": _violations,
    "refused": lambda entries: {kind: n for kind, n in _counts(entries).items() if n > 0},
    "tolerance": lambda entries: Tolerance(**_numbers(entries)),
    "drift_share": float,
    **dict.fromkeys(("max_rows", "max_columns"), lambda value: max(int(value), 1)),
    **dict.fromkeys(("baseline_rows", "windows_worse_before", "requests", "let_through"), int),
    **dict.fromkeys(("seed", "memory_bytes", "cpu_seconds"), int),
    "deep": bool,
}
