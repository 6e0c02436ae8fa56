"""Findings about the values of one feature: missing, constant, identifiers, infinite, and what changed."""

from collections.abc import Collection, Iterable

import numpy as np
import pandas as pd

from model_deployment.degradation.analysis.cells import NUMBERS, TEXTS, Cells
from model_deployment.degradation.analysis.compared import ORIGINAL, Compared
from model_deployment.degradation.data.columns import CATEGORY, to_numbers
from model_deployment.degradation.findings import Finding, Severity, quoted
from model_deployment.degradation.statistics import quality
from model_deployment.degradation.statistics.drift import MIN_ROWS
from model_deployment.rendering.numbers import number, percent

#: Codes of ``quality`` that have findings of their own here.
_OWN = frozenset({"missing_tokens", "infinite", "not_numbers"})
_CONSTANT = frozenset({"column_constant", "nearly_constant", "column_empty"})
#: Share of distinct texts from which on a column holds identifiers.
_UNIQUE = 0.95
_MAX_NAMED = 5


def findings(column: Compared) -> Iterable[Finding]:
    yield from column.findings
    name, now = column.pair.name, column.new
    if now is None or now.values.empty:
        return
    yield from _missing_texts(name, now, column.original)
    if identifiers := [*_identifiers(name, now)]:
        # New rows have new identifiers.
        yield from identifiers
        return
    yield from _infinite(name, now, column.original)
    changed = quality.of_values(column.pair, ORIGINAL)
    # Texts in a column of numbers are counted as missing there.
    own = _OWN | {"missing_rose"} if column.findings else _OWN
    yield from (one for one in changed if one.code not in own)
    if not any(one.code in _CONSTANT for one in changed):
        yield from _one_value(column, now)


def _missing_texts(name: str, cells: Cells, before: Cells | None) -> Iterable[Finding]:
    rows = len(cells.values)
    if cells.unlisted:
        count = sum(cells.unlisted.values())
        text = (
            f"{number(count)} values of {quoted(name)} ({percent(count, rows)}) look like missing values "
            f"that settings.yaml does not list: {_listed(cells.unlisted)}."
        )
        # One such text is enough to make a training read a column of numbers as text.
        new = cells.holds == NUMBERS and before is not None and not before.unlisted
        severity = Severity.ERROR if new else Severity.WARNING
        yield Finding(severity, "missing_unlisted", text, name, count / rows)
    if cells.listed:
        count = sum(cells.listed.values())
        text = (
            f"{number(count)} values of {quoted(name)} ({percent(count, rows)}) are missing, written as "
            f"{_listed(cells.listed)}."
        )
        yield Finding(Severity.INFO, "missing_listed", text, name, count / rows)


def _listed(found: Collection[str]) -> str:
    shown = [quoted(one, 20) for one in found]
    more = f" and {len(shown) - _MAX_NAMED} more" if len(shown) > _MAX_NAMED else ""
    return ", ".join(shown[:_MAX_NAMED]) + more


def _infinite(name: str, now: Cells, before: Cells | None) -> Iterable[Finding]:
    count = _infinities(now)
    if not count:
        return
    severity = Severity.WARNING if before is not None and _infinities(before) else Severity.ERROR
    text = f"{number(count)} values of {quoted(name)} are infinite."
    yield Finding(severity, "infinite", text, name, 2)


def _infinities(cells: Cells) -> int:
    if cells.holds != NUMBERS:
        return 0
    return int(np.isinf(to_numbers(cells.values)).sum())


def _one_value(column: Compared, cells: Cells) -> Iterable[Finding]:
    """A column that hardly varies, and did not vary before either."""
    present = cells.values.dropna()
    if len(present) < MIN_ROWS:
        return
    codes = (
        column.pair.current.present
        if column.pair.kind == CATEGORY
        else pd.factorize(present.astype(str))[0]
    )
    share, value = quality.dominant(np.asarray(codes))
    if share <= quality.NEARLY:
        return
    shown = (
        column.pair.categories[int(value)]
        if column.pair.kind == CATEGORY
        else str(present.iloc[int(np.argmax(codes == value))])
    )
    what = "All" if share == 1 else percent(share)
    name = quoted(column.pair.name)
    text = f"{what} {'' if share == 1 else 'of the '}values of {name} are {quoted(shown, 30)}."
    yield Finding(Severity.INFO, "one_value", text, column.pair.name, share)


def _identifiers(name: str, cells: Cells) -> Iterable[Finding]:
    present = cells.values.dropna()
    if len(present) < MIN_ROWS or cells.holds not in (TEXTS, NUMBERS):
        return
    values = present.astype(str) if cells.holds == TEXTS else pd.Series(to_numbers(present))
    distinct = values.nunique() / len(values)
    counted = cells.holds == NUMBERS and _counts_up(values.to_numpy())
    if (cells.holds == TEXTS and distinct > _UNIQUE) or counted:
        text = f"The values of {quoted(name)} rise with each row: they number the rows."
        if not counted:
            share = percent(distinct)
            text = (
                f"{share} of the values of {quoted(name)} are distinct: identifiers or free text."
            )
        yield Finding(Severity.INFO, "identifiers", text, name, distinct)


def _counts_up(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> bool:
    """Whether whole numbers rise by at least 1 from each row to the next, as identifiers do."""
    return bool((np.diff(values) >= 1).all() and (values == np.round(values)).all())
