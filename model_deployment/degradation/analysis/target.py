"""Findings about the column to predict, which decide first whether a model can be trained."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from model_deployment.degradation.analysis.cells import NUMBERS, TRUTHS, Cells, unreadable
from model_deployment.degradation.analysis.compared import ORIGINAL, Compared
from model_deployment.degradation.column_results import ColumnResult
from model_deployment.degradation.data.columns import CATEGORY, to_numbers
from model_deployment.degradation.findings import Finding, Severity, quoted
from model_deployment.degradation.statistics.drift import MIN_ROWS
from model_deployment.degradation.wording.sentences import difference
from model_deployment.rendering.numbers import count, number, percent

#: More distinct numbers than this, most of them unique, are no classes.
_MAX_CLASSES = 100
#: Rows of a class without which a split into parts fails.
_MIN_CLASS_ROWS = 5
#: Share of rows without target from which on the finding is a warning.
_MANY_MISSING = 0.05
_MAX_NAMED = 5


def gone(name: str) -> Finding:
    text = f"The new data have no column {quoted(name)}, which the experiment is to predict."
    return Finding(Severity.ERROR, "target_gone", text, name, 10)


def findings(column: Compared, classes: bool) -> Iterable[Finding]:
    """Without those about its distribution.

    Args:
        classes: whether the task is classification.
    """
    cells, name = column.new, column.pair.name
    if cells is None:
        return
    present = cells.values.dropna()
    rows = len(cells.values)
    if present.empty:
        text = f"No row has a value of the target {quoted(name)}."
        yield Finding(Severity.ERROR, "target_empty", text, name, 9)
        return
    if len(present) < MIN_ROWS <= rows:
        text = f"Only {count(len(present), 'row')} have a value of the target {quoted(name)}; "
        yield Finding(
            Severity.ERROR, "target_empty", f"{text}at least {MIN_ROWS} are needed.", name, 9
        )
    missing = rows - len(present)
    if missing:
        severity = Severity.WARNING if missing / rows >= _MANY_MISSING else Severity.INFO
        text = f"{percent(missing, rows)} of the rows have no value of the target {quoted(name)}."
        yield Finding(severity, "target_missing", text, name, missing / rows)
    if present.astype(str).nunique() == 1:
        text = f"All values of the target {quoted(name)} are {quoted(str(present.iloc[0]), 30)}."
        yield Finding(Severity.ERROR, "target_constant", text, name, 8)
    yield from _classes(column, cells, present) if classes else _numbers(name, cells, present)


def _numbers(name: str, cells: Cells, present: "pd.Series[object]") -> Iterable[Finding]:
    wrong = present if cells.holds == TRUTHS else unreadable(cells)
    if len(wrong):
        shown = ", ".join(quoted(str(one), 30) for one in wrong.drop_duplicates().head(_MAX_NAMED))
        share = percent(len(wrong), len(present))
        text = f"{share} of the values of the target {quoted(name)} are not numbers: {shown}."
        yield Finding(Severity.ERROR, "target_not_numbers", text, name, 7)
    elif np.isinf(to_numbers(cells.values)).any():
        text = f"Some values of the target {quoted(name)} are infinite."
        yield Finding(Severity.ERROR, "infinite", text, name, 7)


def _classes(column: Compared, cells: Cells, present: "pd.Series[object]") -> Iterable[Finding]:
    name = column.pair.name
    distinct = present.astype(str).nunique()
    if cells.holds == NUMBERS and distinct > _MAX_CLASSES and distinct > len(present) / 2:
        text = f"The target {quoted(name)} has {number(distinct)} distinct numbers: these are no classes."
        yield Finding(Severity.ERROR, "target_not_classes", text, name, 7)
        return
    pair = column.pair
    if pair.skipped or pair.kind != CATEGORY:
        return
    before, now = pair.counts
    for code, places in (
        ("new_classes", (before == 0) & (now > 0)),
        ("gone_classes", (before > 0) & (now == 0)),
        ("rare_classes", (now > 0) & (now < _MIN_CLASS_ROWS)),
    ):
        if places.any():
            shown = _named(pair.categories, places)
            yield Finding(Severity.WARNING, code, _TEXTS[code].format(quoted(name), shown), name, 6)


_TEXTS = {
    "new_classes": "The target {} has classes that the original data do not have: {}.",
    "gone_classes": "Classes of the target {} no longer occur: {}.",
    "rare_classes": f"Classes of the target {{}} with fewer than {_MIN_CLASS_ROWS} rows: {{}}.",
}


def _named(names: tuple[str, ...], places: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> str:
    chosen = [names[int(place)] for place in np.flatnonzero(places)]
    more = f" and {number(len(chosen) - _MAX_NAMED)} more" if len(chosen) > _MAX_NAMED else ""
    return ", ".join(quoted(one, 30) for one in chosen[:_MAX_NAMED]) + more


def drift(result: ColumnResult, trending: bool) -> Iterable[Finding]:
    """Whether the distribution of the target has changed.

    Args:
        trending: whether the target is a series, whose values change with time by their nature.
    """
    if result.drifted and result.drift is not None:
        text = f"The target {quoted(result.column.name)} is distributed differently: "
        text += difference(result.column, ORIGINAL)
        severity = Severity.INFO if trending else Severity.WARNING
        yield Finding(severity, "target_drift", text, result.column.name, 5)
