"""How closely two columns are associated, from 0 (not at all) to 1 (one determines the other).

========================  ==========================================================================
columns                   measure
========================  ==========================================================================
two of numbers            Spearman's rank correlation, with its sign (-1 to 1)
two of categories         Cramér's V, corrected for bias (Bergsma 2013)
numbers and categories    correlation ratio of the ranks, corrected for bias (epsilon, Kelley 1935)
========================  ==========================================================================

Without the corrections, columns with many categories seem associated with everything.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from model_deployment.degradation.data.columns import CATEGORY, NUMBER, ColumnPair, Floats, Sample
from model_deployment.degradation.statistics.drift import MIN_ROWS

#: Categories that are compared one by one, and the rows and the share of rows that each needs for the
#: chi-square statistic to be its approximation; the others are joined.
_CATEGORIES, _LEAST_ROWS, _LEAST_SHARE = 30, 10, 0.01


@dataclass(frozen=True, slots=True)
class Encoded:
    """One side of a column: ranks of numbers, or places of categories."""

    #: Missing ranks are NaN, missing categories -1.
    values: NDArray[Any]
    is_number: bool


def encoded(pair: ColumnPair, side: Sample, rows: NDArray[np.int64]) -> Encoded | None:
    """Some rows of one side of a column; None if its kind has no association."""
    if pair.skipped or pair.kind not in (NUMBER, CATEGORY):
        return None
    values = side.values[rows]
    if pair.kind == NUMBER:
        ranks = np.full(len(values), np.nan)
        present = ~np.isnan(values)
        ranks[present] = stats.rankdata(values[present])
        return Encoded(ranks, True)
    counts = np.bincount(values[values >= 0], minlength=1)
    places = np.full(len(counts), _CATEGORIES, dtype=np.int64)
    frequent = np.argsort(-counts, kind="stable")[:_CATEGORIES]
    frequent = frequent[counts[frequent] >= max(_LEAST_ROWS, _LEAST_SHARE * counts.sum())]
    places[frequent] = np.arange(len(frequent))
    return Encoded(np.where(values >= 0, places[values], -1), False)


def association(one: Encoded, other: Encoded) -> float | None:
    """None with too few rows, or if a column has one value only."""
    present = _present(one) & _present(other)
    if present.sum() < MIN_ROWS:
        return None
    a, b = one.values[present], other.values[present]
    if one.is_number and other.is_number:
        return _correlation(a, b)
    if one.is_number:
        return _correlation_ratio(a, b)
    if other.is_number:
        return _correlation_ratio(b, a)
    return _cramers_v(a, b)


def _present(column: Encoded) -> NDArray[np.bool_]:
    return ~np.isnan(column.values) if column.is_number else column.values >= 0


def _correlation(a: Floats, b: Floats) -> float | None:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(np.clip(a @ b / size, -1, 1)) if size else None


def _correlation_ratio(ranks: Floats, categories: NDArray[np.int64]) -> float | None:
    counts = np.bincount(categories)
    n, groups = len(ranks), int((counts > 0).sum())
    centred = ranks - ranks.mean()
    total = float(centred @ centred)
    if groups < 2 or not total or n <= groups:
        return None
    sums = np.bincount(categories, weights=centred)
    between = float((sums[counts > 0] ** 2 / counts[counts > 0]).sum())
    squared = 1 - (1 - between / total) * (n - 1) / (n - groups)
    return float(np.sqrt(np.clip(squared, 0, 1)))


def _cramers_v(a: NDArray[np.int64], b: NDArray[np.int64]) -> float | None:
    width = int(b.max()) + 1
    table = np.bincount(a * width + b, minlength=(int(a.max()) + 1) * width).reshape(-1, width)
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    rows, columns = table.shape
    if min(rows, columns) < 2:
        return None
    n = len(a)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    squared = max(
        float(((table - expected) ** 2 / expected).sum()) / n
        - (rows - 1) * (columns - 1) / (n - 1),
        0,
    )
    smaller = min(rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1)) - 1
    return float(np.sqrt(min(squared / smaller, 1))) if smaller > 0 else None
