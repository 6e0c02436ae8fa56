"""Data quality: values that are missing, new, gone, constant, or out of range.

Findings of severity ERROR are faults that sampling noise never makes; the verdict counts them as drift.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model_deployment.degradation.data.columns import CATEGORY, NUMBER, ColumnPair
from model_deployment.degradation.findings import Finding, Severity, quoted
from model_deployment.degradation.statistics.drift import MIN_ROWS, categorical
from model_deployment.rendering.numbers import number, percent

#: Share of the most frequent value from which on a column is nearly constant.
NEARLY = 0.95
#: Share of values outside the range that is worth a finding, and its significance level.
_OUTSIDE, _LEVEL = 0.01, 0.001
#: Categories that a finding names.
_MAX_NAMED = 5

Values = NDArray[Any]


def findings(column: ColumnPair) -> list[Finding]:
    if not column.in_current and not column.in_reference:
        return []
    if not column.in_current:
        text = f"Column {quoted(column.name)} of the reference is missing in the captured requests."
        return [Finding(Severity.ERROR, "column_missing", text, column.name, 3)]
    if not column.in_reference:
        text = f"Column {quoted(column.name)} is not in the reference."
        return [Finding(Severity.INFO, "column_added", text, column.name)]
    return of_values(column)


def of_values(column: ColumnPair, reference: str = "the reference") -> list[Finding]:
    """Findings about a column that both tables have; ``reference`` is what they call the reference."""
    return [finding for check in _CHECKS for finding in check(column, reference)]


def _missing(column: ColumnPair, reference: str) -> Iterable[Finding]:
    before, now = column.reference, column.current
    if min(len(before.values), len(now.values)) < MIN_ROWS:
        return
    shares = [side.missing / len(side.values) for side in (before, now)]
    if shares[1] == 1 and shares[0] < 1:
        text = f"Column {quoted(column.name)} no longer has any values."
        yield Finding(Severity.ERROR, "column_empty", text, column.name, 2)
        return
    table = np.array([[side.missing, len(side.present)] for side in (before, now)])
    rose = shares[1] - shares[0]
    if rose >= 0.05 and categorical(table, "chi_square").p_value < 1e-4:
        text = (
            f"{percent(shares[1])} of the values of {quoted(column.name)} are missing; "
            f"in {reference} {percent(shares[0])} are."
        )
        severity = Severity.ERROR if rose >= 0.2 else Severity.WARNING
        yield Finding(severity, "missing_rose", text, column.name, rose)


def _unusable(column: ColumnPair, _: str) -> Iterable[Finding]:
    """Values that were treated as missing."""
    before, now = column.reference, column.current
    for were, are, code, what in (
        (before.tokens, now.tokens, "missing_tokens", "are texts such as “?” or “NA”"),
        (before.unreadable, now.unreadable, "not_numbers", "are not numbers"),
        (before.infinite, now.infinite, "infinite", "are infinite"),
    ):
        share = are / max(len(now.values), 1)
        if share > were / max(len(before.values), 1) + 0.01:
            text = f"{are:,} values of {quoted(column.name)} ({percent(share)}) {what}."
            yield Finding(Severity.WARNING, code, text, column.name, share)


def _categories(column: ColumnPair, _: str) -> Iterable[Finding]:
    if column.kind != CATEGORY or column.skipped:
        return
    before, now = column.counts
    new = (before == 0) & (now > 0)
    share = now[new].sum() / now.sum()
    # Any second sample of many categories has a few new values.
    if now[new].sum() >= 3 and share >= 0.01:
        text = f"{percent(share)} of the values of {quoted(column.name)} are new categories: "
        text += _listed(column, now * new)
        yield Finding(Severity.WARNING, "new_categories", text, column.name, float(share))
    gone = (now == 0) & (before / max(before.sum(), 1) * now.sum() >= 15)
    if gone.any():
        text = f"Categories of {quoted(column.name)} no longer occur: "
        yield Finding(
            Severity.INFO, "gone_categories", text + _listed(column, before * gone), column.name
        )


def _listed(column: ColumnPair, counts: Values) -> str:
    places = [int(place) for place in np.argsort(-counts, kind="stable") if counts[place]]
    shown = ", ".join(quoted(column.categories[place]) for place in places[:_MAX_NAMED])
    more = len(places) - _MAX_NAMED
    return f"{shown} and {more} more." if more > 0 else f"{shown}."


def _range(column: ColumnPair, reference: str) -> Iterable[Finding]:
    if column.kind != NUMBER or column.skipped:
        return
    before, now = column.reference.present, column.current.present
    low, high = float(before.min()), float(before.max())
    outside = int(((now < low) | (now > high)).sum())
    share = outside / len(now)
    if share >= _OUTSIDE and _by_chance(outside, len(before), len(now)) < _LEVEL:
        text = (
            f"{percent(share)} of the values of {quoted(column.name)} lie outside the range of "
            f"{reference}, {number(low)} to {number(high)}."
        )
        yield Finding(Severity.WARNING, "out_of_range", text, column.name, share)


def _by_chance(outside: int, before: int, now: int) -> float:
    """The probability that so many values of a second sample lie outside the range of the first.

    The number of values beyond one end is distributed geometrically for large samples (Gumbel and von
    Schelling 1950); beyond both ends it is the sum of two such numbers.
    """
    ratio = now / (before + now)
    return float((1 + outside * (1 - ratio)) * ratio**outside)


def _constant(column: ColumnPair, _: str) -> Iterable[Finding]:
    if column.skipped or min(len(s.present) for s in (column.reference, column.current)) < MIN_ROWS:
        return
    before, _ = dominant(column.reference.present)
    now, value = dominant(column.current.present)
    shown = column.categories[int(value)] if column.kind == CATEGORY else number(float(value))
    if now == 1 and before < 0.5:
        text = f"All values of {quoted(column.name)} are now {quoted(shown)}."
        yield Finding(Severity.ERROR, "column_constant", text, column.name, 1)
    elif now > NEARLY and before < NEARLY - 0.1:
        text = f"{percent(now)} of the values of {quoted(column.name)} are now {quoted(shown)}."
        yield Finding(Severity.WARNING, "nearly_constant", text, column.name, now)


def dominant(values: Values) -> tuple[float, Any]:
    """The share of the most frequent value, and the value."""
    found, counts = np.unique(values, return_counts=True)
    most = counts.argmax()
    return float(counts[most] / len(values)), found[most]


def duplicates(columns: Iterable[ColumnPair]) -> list[Finding]:
    """Whether many more rows than in the reference repeat another row."""
    compared = [column for column in columns if column.kind in (NUMBER, CATEGORY)]
    compared = [column for column in compared if column.in_reference and column.in_current]
    if not compared:
        return []
    before = _repeated([column.reference.values for column in compared])
    now = _repeated([column.current.values for column in compared])
    if now - before < 0.2:
        return []
    text = f"{percent(now)} of the rows repeat another row; in the reference {percent(before)} do."
    return [Finding(Severity.INFO, "duplicates", text, None, now)]


def _repeated(columns: list[Values]) -> float:
    """The share of rows that repeat another row."""
    if not len(columns[0]):
        return 0.0
    hashes = np.zeros(len(columns[0]), dtype=np.uint64)
    for values in columns:
        hashes = hashes * np.uint64(1_000_003) + pd.util.hash_array(values)
    return 1 - len(np.unique(hashes)) / len(hashes)


_CHECKS: tuple[Callable[[ColumnPair, str], Iterable[Finding]], ...] = (
    _missing,
    _unusable,
    _categories,
    _range,
    _constant,
)
