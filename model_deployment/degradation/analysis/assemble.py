"""Assembles an analysis from two tables."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from model_deployment.degradation.analysis import associations, features, rows, series, target
from model_deployment.degradation.analysis import table as tables
from model_deployment.degradation.analysis.advice import with_advice
from model_deployment.degradation.analysis.compared import ORIGINAL, Compared, compare, presence
from model_deployment.degradation.analysis.result import Analysis
from model_deployment.degradation.analysis.table import Table
from model_deployment.degradation.column_results import ColumnResult, column_results
from model_deployment.degradation.data.columns import ColumnPair
from model_deployment.degradation.findings import Finding, Severity, quoted
from model_deployment.degradation.statistics.drift import MIN_ROWS
from model_deployment.degradation.wording.sentences import difference
from model_deployment.rendering.numbers import count, number

CLASSIFICATION, REGRESSION, TIMESERIES = "classification", "regression", "timeseries"

#: Findings of one code that an analysis holds; wide tables have thousands.
_MAX_OF_CODE = 50
#: Features that are compared: about 10 ms each.
_MAX_FEATURES = 500
#: Columns with a picture.
_MAX_PICTURED = 60
#: Findings that say nothing about a series, whose values change with time by their nature.
_TRENDING = frozenset({"out_of_range", "drift", "moved"})


@dataclass(frozen=True, slots=True)
class _Question:
    """What the experiment wants of the data."""

    target: str
    task: str
    time_column: str | None
    missing_values: Collection[str]

    @property
    def is_series(self) -> bool:
        return self.task == TIMESERIES


def analyse(
    new: pd.DataFrame | Path,
    original: pd.DataFrame | Path | None,
    *,
    target: str,
    task: str,
    time_column: str | None = None,
    missing_values: Sequence[str] = (),
) -> Analysis:
    """Analyse new data against original data.

    Of a large table, a random sample of two million cells is analysed, the same in each analysis. The
    number of rows, repeated rows and times are of the whole table.

    Args:
        new: a table, or its file (``.csv`` or ``.parquet``). A file is read as a stream: memory stays
            bounded, and cells that the experiment reads as missing are counted by their text.
        original: likewise; None analyses the new data alone.
        target: name of the column to predict.
        task: ``classification``, ``regression`` or ``timeseries``.
        time_column: name of the column of times; needed for ``timeseries``.
        missing_values: texts that the experiment reads as missing, such as ``?``.

    Raises:
        ValueError: the task is unknown, or a file cannot be read as a table.
    """
    if task not in (CLASSIFICATION, REGRESSION, TIMESERIES):
        allowed = f"{CLASSIFICATION}, {REGRESSION} or {TIMESERIES}"
        raise ValueError(f"cannot analyse for the task {task!r}: it must be {allowed}")
    if task == TIMESERIES and time_column is None:
        raise ValueError("cannot analyse a time series: it needs time_column")
    now = tables.read(new, time_column)
    before = now if original is None else tables.read(original, time_column)
    question = _Question(target, task, time_column, frozenset(missing_values))
    # Sums of huge values overflow.
    with np.errstate(all="ignore"):
        return _analysis(question, now, before)


def _analysis(question: _Question, new: Table, original: Table) -> Analysis:
    goal, columns = _columns(question, new, original)
    counts = rows.row_counts(new, original)
    found = [
        *rows.findings(counts, series.LEAST_ROWS if question.is_series else MIN_ROWS),
        *presence(new, original, question.target, question.time_column),
        *_too_wide(question, new, original),
    ]
    if question.time_column is not None:
        times = [None if one is None else series.times_of(one) for one in (new, original)]
        before = None if new is original else times[1]
        found += series.findings(question.time_column, times[0], before, question.is_series)
    else:
        times = [None, None]
    of_features = [one for column in columns for one in features.findings(column)]
    numbered = {one.column for one in of_features if one.code == "identifiers"}
    goals = [goal] if goal else []
    results = {
        one.column.name: one
        for one in column_results(
            _unnumbered(column.pair, numbered) for column in goals + columns if _in_both(column)
        )
    }
    compared = [results[one.pair.name] for one in columns if one.pair.name in results]
    compared.sort(key=lambda one: -one.rank)
    related = associations.find(goal.pair if goal else None, [one.column for one in compared])
    if question.target not in new.names:
        found.append(target.gone(question.target))
    if new.rows:
        found += _of_target(question, goal, results.get(question.target)) if goal else ()
        found += [*of_features, *_drift(compared)]
        found += associations.findings(related, alone=new is original)
    if question.is_series:
        found = [_milder(one) for one in found]
    content = {
        "task": question.task,
        "rows": asdict(counts),
        "target": _shown(results.get(question.target)),
        "target_name": question.target,
        "columns": [one.as_dict(place < _MAX_PICTURED) for place, one in enumerate(compared)],
        "not_in_both": [one.pair.name for one in columns if not _in_both(one)],
        "associations": related.as_dict(),
        "series": _series(times[0], times[1]),
        "alone": new is original,
    }
    return _finished(question, found, content)


def _columns(
    question: _Question, new: Table, original: Table
) -> tuple[Compared | None, list[Compared]]:
    """The target, None if no table has it, and the features."""
    goal = None
    if question.target in new.names or question.target in original.names:
        type = "string" if question.task == CLASSIFICATION else "double"
        goal = compare(question.target, new, original, question.missing_values, type)
    own = {question.target, question.time_column}
    names = [one for one in dict.fromkeys([*original.names, *new.names]) if one not in own]
    return goal, [
        compare(name, new, original, question.missing_values) for name in names[:_MAX_FEATURES]
    ]


def _too_wide(question: _Question, new: Table, original: Table) -> Iterable[Finding]:
    features = {*new.names, *original.names} - {question.target, question.time_column}
    if len(features) > _MAX_FEATURES:
        text = (
            f"Of {number(len(features))} features, the first {number(_MAX_FEATURES)} were compared."
        )
        yield Finding(Severity.WARNING, "too_wide", text)


def _in_both(column: Compared) -> bool:
    return column.pair.in_reference and column.pair.in_current


def _unnumbered(pair: ColumnPair, numbered: Collection[str | None]) -> ColumnPair:
    """A column of identifiers is not compared: new rows have new ones."""
    if pair.name not in numbered:
        return pair
    return replace(pair, skipped=pair.skipped or "identifiers: new rows have new ones")


def _of_target(
    question: _Question, goal: Compared, result: ColumnResult | None
) -> Iterable[Finding]:
    yield from target.findings(goal, question.task == CLASSIFICATION)
    if result is not None:
        yield from target.drift(result, question.is_series)


def _drift(columns: Iterable[ColumnResult]) -> Iterable[Finding]:
    """Drift alone stops no training: new data that differ are the reason for one."""
    for one in columns:
        if one.drifted and one.drift is not None:
            text = (
                f"Column {quoted(one.column.name)} has drifted: {difference(one.column, ORIGINAL)}"
            )
            severity, code = (
                (Severity.WARNING, "drift") if one.drift.alarming else (Severity.INFO, "moved")
            )
            yield Finding(severity, code, text, one.column.name, one.rank / 1e4)


def _milder(finding: Finding) -> Finding:
    return replace(finding, severity=Severity.INFO) if finding.code in _TRENDING else finding


def _shown(result: ColumnResult | None) -> dict[str, Any] | None:
    return None if result is None else result.as_dict(True)


def _series(new: series.Times | None, original: series.Times | None) -> dict[str, Any] | None:
    if new is None:
        return None
    return {"new": new.as_dict(), "original": original.as_dict() if original else None}


def _finished(question: _Question, found: Iterable[Finding], content: dict[str, Any]) -> Analysis:
    ordered = sorted(
        found,
        key=lambda one: (-one.severity, one.column != question.target, -one.weight),
    )
    findings = [with_advice(one) for one in _bounded(ordered)]
    analysis = Analysis(findings, content)
    return replace(analysis, content={"headline": _headline(analysis), **content})


def _bounded(findings: Sequence[Finding]) -> Iterable[Finding]:
    """The first findings of each code, and how many more there are."""
    kinds = Counter((one.severity, one.code) for one in findings)
    seen: Counter[tuple[Severity, str]] = Counter()
    for one in findings:
        kind = (one.severity, one.code)
        seen[kind] += 1
        if seen[kind] <= _MAX_OF_CODE:
            yield one
        elif seen[kind] == _MAX_OF_CODE + 1:
            more = f"The same holds for {number(kinds[kind] - _MAX_OF_CODE)} more columns."
            yield replace(one, message=more, column=None)


def _headline(analysis: Analysis) -> str:
    errors = len(analysis.errors)
    if errors:
        return f"Do not train on these data: {count(errors, 'error')}"
    warnings = sum(one.severity is Severity.WARNING for one in analysis.findings)
    return (
        f"Fit for a training, with {count(warnings, 'warning')}"
        if warnings
        else "Fit for a training"
    )
