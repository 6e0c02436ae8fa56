"""How far the values of a column have moved, and how likely chance alone would move them so far.

Both count: with few rows a large distance means nothing, with many rows a tiny one is "significant"
and harms nobody. A column has *drifted* if chance is ruled out (after correction over all columns) and
the distance is worth a look. The methods by number of rows:

========  =======================================  ====================================
rows      numbers                                  categories
========  =======================================  ====================================
< 30      none                                     none
< 1000    Kolmogorov-Smirnov, distance D           chi-square, total variation distance
>= 1000   population stability index (PSI), its chance from the chi-square test of the same bins
========  =======================================  ====================================

Both tables are samples, so every test is the one for two samples. PSI alone reads drift in what has
not moved when there are few rows or many bins (its mean under no drift is (bins - 1)(1/n + 1/m)).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, kolmogorov

from model_deployment.degradation.columns import CATEGORY, Column, Floats

#: Fewer values tell nothing.
FEWEST = 30
#: From here on PSI.
MANY = 1000
_BINS = 10
#: Categories told apart; the others are one.
_CATEGORIES = 50
#: The least that the chi-square approximation wants in a cell.
_EXPECTED = 5.0

#: By method: the distance that is worth a look, and the one that is worth an alarm on its own. For a
#: normal column both are a shift of about 0.25 (PSI: 0.3) and 0.5 standard deviations.
THRESHOLDS = {"ks": (0.1, 0.2), "chi_square": (0.1, 0.2), "psi": (0.1, 0.25)}


@dataclass(frozen=True, slots=True)
class Score:
    """What a test says of one column."""

    method: str
    score: float
    p_value: float

    @property
    def notable(self) -> bool:
        """Whether the distance is worth a look, if it is not chance."""
        return self.score >= THRESHOLDS[self.method][0]

    @property
    def large(self) -> bool:
        """Whether it is worth an alarm, if it is not chance."""
        return self.score >= THRESHOLDS[self.method][1]


def score(column: Column) -> Score | str:
    """Test one column, or say why it cannot be tested."""
    if column.skipped:
        return column.skipped
    reference, current = column.reference.present, column.current.present
    n = min(len(reference), len(current))
    if n < FEWEST:
        return f"fewer than {FEWEST} values"
    if column.kind == CATEGORY:
        size = len(column.categories)
        table = merge(np.bincount(reference, minlength=size), np.bincount(current, minlength=size))
        return categorical(table, "psi" if n >= MANY else "chi_square")
    if n >= MANY:
        return categorical(binned(reference, current), "psi")
    return kolmogorov_smirnov(reference, current)


def kolmogorov_smirnov(reference: Floats, current: Floats) -> Score:
    """The largest distance of the two distribution functions.

    Its chance is the limiting distribution with Stephens' correction for small samples (Stephens
    1970; Numerical Recipes, section 14.3). With ties it errs on the side of no drift.
    """
    reference, current = np.sort(reference), np.sort(current)
    values = np.concatenate([reference, current])
    below = [
        np.searchsorted(side, values, side="right") / len(side) for side in (reference, current)
    ]
    distance = float(np.max(np.abs(below[0] - below[1])))
    root = np.sqrt(len(reference) * len(current) / (len(reference) + len(current)))
    return Score("ks", distance, float(kolmogorov((root + 0.12 + 0.11 / root) * distance)))


def categorical(table: NDArray[Any], method: str) -> Score:
    """Compare counts: a row for each side, a column for each category.

    The chance is that of Pearson's chi-square test of a contingency table. The distance is the total
    variation (half the sum of the differences of the shares, which does not depend on how many rows
    each side has, as Cramer's V does) or the population stability index.
    """
    if table.shape[1] < 2:
        return Score(method, 0.0, 1.0)
    sizes = table.sum(axis=1, keepdims=True)
    expected = sizes * table.sum(axis=0, keepdims=True) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    chance = float(chdtrc(table.shape[1] - 1, statistic))
    distance = psi(table) if method == "psi" else _variation(table / sizes)
    return Score(method, distance, chance)


def _variation(shares: NDArray[Any]) -> float:
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def psi(table: NDArray[Any]) -> float:
    """The population stability index, sum of (p - q) ln(p / q), with half a row added to each cell."""
    padded = table + 0.5
    p, q = padded / padded.sum(axis=1, keepdims=True)
    return float(((p - q) * np.log(p / q)).sum())


def binned(reference: Floats, current: Floats) -> NDArray[Any]:
    """Counts in the deciles of the reference; a value that many rows have is a bin of its own."""
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, _BINS + 1)[1:-1]))
    # A value is in the bin that it is the upper edge of, so that a heap of equal values does not
    # share its bin with what lies above it.
    counts = [
        np.bincount(np.searchsorted(edges, side, side="left"), minlength=len(edges) + 1)
        for side in (reference, current)
    ]
    return merge(*counts)


def merge(reference: NDArray[Any], current: NDArray[Any]) -> NDArray[Any]:
    """Join rare categories into one, chosen by both sides together.

    Choosing by the reference alone would favour those that chance made frequent there, which then
    seem to have become rarer.
    """
    table = np.array([reference, current])
    both = table.sum(axis=0)
    smaller = table.sum(axis=1).min() / table.sum()
    order = np.argsort(-both, kind="stable")
    kept = np.zeros(len(both), dtype=bool)
    kept[order[:_CATEGORIES]] = True
    kept &= both * smaller >= _EXPECTED
    merged, rest = table[:, kept], table[:, ~kept].sum(axis=1)
    if rest.sum() * smaller >= _EXPECTED or not kept.any():
        return np.hstack([merged, rest[:, None]])
    # Too few even together: a single row among them would look like a wonder.
    merged[:, merged.sum(axis=0).argmin()] += rest
    return merged


def adjusted(chances: Sequence[float]) -> list[float]:
    """Chances corrected for how many there are (Benjamini and Hochberg 1995)."""
    p = np.asarray(chances, dtype=np.float64)
    order = np.argsort(p)[::-1]
    ranks = np.arange(len(p), 0, -1)
    steps = np.minimum.accumulate(p[order] * len(p) / ranks)
    result = np.empty_like(p)
    result[order] = np.minimum(steps, 1.0)
    return [float(one) for one in result]
