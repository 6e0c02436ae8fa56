"""What a report is to be made of: ``job.json``, checked and with its defaults."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model_deployment.degradation.metric_verdict import Past, Tolerance, by_one_name

REGRESSION, CLASSIFICATION = "regression", "classification"


@dataclass(frozen=True, slots=True)
class Violations:
    """What the gate found wrong with one column, for one kind of reason."""

    column: str
    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class Job:
    """One report to make."""

    model: str = ""
    version: str = ""
    since: str | None = None
    until: str | None = None
    made_at: str | None = None
    #: MLflow's own JSON form, column by column.
    inputs: tuple[Mapping[str, Any], ...] = ()
    #: Columns of which nothing is captured, and of which digests are.
    excluded: frozenset[str] = frozenset()
    hashed: frozenset[str] = frozenset()
    reference_source: str | None = None
    target: str | None = None
    task: str | None = None
    baseline: Mapping[str, float] = field(default_factory=dict)
    #: Rows the baseline was measured on, where that is known.
    baseline_rows: int | None = None
    #: Why the metrics of the run could not be read; None if they could.
    baseline_error: str | None = None
    #: Oldest first.
    history: tuple[Past, ...] = ()
    #: The oldest metrics that were set of enough rows: the history may be cut short.
    first_set: Past | None = None
    #: For each metric the windows right before this one in which it was worse.
    worse_before: Mapping[str, int] | None = None
    #: Windows right before this one in which any was: for metrics of unknown past.
    windows_worse_before: int = 0
    violations: tuple[Violations, ...] = ()
    requests: int = 0
    #: Requests that were refused for what they are, by kind; the model never saw them.
    refused: Mapping[str, int] = field(default_factory=dict)
    #: Requests that do not fit the signature and went to the model all the same.
    let_through: int = 0
    tolerance: Tolerance = Tolerance()
    drift_share: float = 0.5
    max_rows: int = 20_000
    #: Columns with a picture, and in Evidently's pages; every column is compared.
    max_columns: int = 40
    seed: int = 0
    memory_bytes: int | None = None
    cpu_seconds: int | None = None
    #: Whether to add Evidently's pages.
    deep: bool = True

    @property
    def input_names(self) -> list[str]:
        """Of the columns that the model takes, as far as its signature names them."""
        return [str(one["name"]) for one in self.inputs if one.get("name") is not None]

    def windows_worse(self, metric: str) -> int:
        """How many windows right before this one a metric of a normalised name was worse in."""
        if self.worse_before is None:
            return self.windows_worse_before
        return self.worse_before.get(metric, 0)


def load(path: Path) -> Job:
    """Read a job.

    Raises:
        ValueError: it is none.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise ValueError("job.json is no object")
    return parse(document)


def parse(document: Mapping[str, Any]) -> Job:
    """A job from parsed JSON; what is missing or null has its default."""
    given = {name: value for name, value in document.items() if value is not None}
    signature = given.get("signature") or {}
    return Job(
        model=str(given.get("model", "")),
        version=str(given.get("version", "")),
        since=_text(given.get("since")),
        until=_text(given.get("until")),
        made_at=_text(given.get("made_at")),
        inputs=tuple(one for one in signature.get("inputs") or () if isinstance(one, dict)),
        excluded=frozenset(map(str, given.get("excluded", ()))),
        hashed=frozenset(map(str, given.get("hashed", ()))),
        reference_source=_text(given.get("reference_source")),
        target=_text(given.get("target")),
        task=given.get("task") if given.get("task") in (REGRESSION, CLASSIFICATION) else None,
        baseline=_numbers(given.get("baseline", {})),
        baseline_rows=_whole(given.get("baseline_rows")),
        baseline_error=_text(given.get("baseline_error")),
        history=tuple(past(one) for one in given.get("history", ())),
        first_set=past(given["first_set"]) if given.get("first_set") else None,
        worse_before=_counts_of_metrics(given.get("worse_before")),
        windows_worse_before=int(given.get("windows_worse_before", 0)),
        violations=tuple(_violations(one) for one in given.get("violations", ())),
        requests=int(given.get("requests", 0)),
        refused={kind: n for kind, n in (_counts(given.get("refused")) or {}).items() if n > 0},
        let_through=int(given.get("let_through", 0)),
        tolerance=Tolerance(**_numbers(given.get("tolerance", {}))),
        drift_share=float(given.get("drift_share", 0.5)),
        max_rows=max(int(given.get("max_rows", 20_000)), 1),
        max_columns=max(int(given.get("max_columns", 40)), 1),
        seed=int(given.get("seed", 0)),
        memory_bytes=_whole(given.get("memory_bytes")),
        cpu_seconds=_whole(given.get("cpu_seconds")),
        deep=bool(given.get("deep", True)),
    )


def moment(value: Any) -> datetime | None:
    """A time from ISO text or from seconds since 1970; None if it is neither."""
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        parsed = datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def past(entry: Mapping[str, Any]) -> Past:
    """An entry of the history of metrics."""
    return Past(
        moment(entry.get("ts")),
        _numbers(entry.get("metrics") or {}),
        _whole(entry.get("n")),
        str(entry.get("source") or ""),
        _text(entry.get("window")),
    )


def _violations(entry: Mapping[str, Any]) -> Violations:
    return Violations(
        str(entry.get("column") or ""), str(entry.get("kind") or ""), int(entry.get("count") or 0)
    )


def _numbers(entries: Mapping[str, Any]) -> dict[str, float]:
    """Those that are finite numbers."""
    return {
        str(name): float(value)
        for name, value in entries.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def _counts(entries: Mapping[str, Any] | None) -> dict[str, int] | None:
    """Whole numbers by name."""
    if entries is None:
        return None
    return {name: int(value) for name, value in _numbers(entries).items()}


def _counts_of_metrics(entries: Mapping[str, Any] | None) -> dict[str, int] | None:
    if entries is None:
        return None
    return {name: int(value) for name, value in by_one_name(_numbers(entries)).items()}


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _text(value: Any) -> str | None:
    """Nothing is None, however it is written."""
    return None if value is None or value == "" else str(value)
