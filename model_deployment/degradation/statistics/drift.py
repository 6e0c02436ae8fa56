"""Tests of drift: how far the distribution of a column has moved, and whether chance explains it.

Both count. With few rows a large distance means nothing; with many rows a tiny distance is significant
and harmless. A column has *drifted* if its p-value is small (adjusted for the number of columns) and its
distance is worth a look. The methods by number of rows:

========  =======================================  ====================================
rows      numbers                                  categories
========  =======================================  ====================================
< 30      none                                     none
< 1000    Kolmogorov-Smirnov, distance D           chi-square, total variation distance
>= 1000   population stability index (PSI), with the p-value of the chi-square test of the same bins
========  =======================================  ====================================

Reference and current rows are both samples, so all tests are two-sample tests. PSI alone finds drift
where there is none, if there are few rows or many bins: its mean without drift is
(bins - 1)(1/n + 1/m).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from model_deployment.degradation.data.columns import CATEGORY, ColumnPair, Floats

#: Columns with fewer values are not tested.
MIN_ROWS = 30
#: From this number of values on, drift is measured with PSI.
MIN_ROWS_PSI = 1000
_BINS = 10
#: Categories that are compared one by one; the others are joined.
_CATEGORIES = 50
#: The smallest expected count for which the chi-square approximation holds.
_EXPECTED = 5.0

#: By method: the distance that is worth a look, and the one that is worth an alarm. In a normally
#: distributed column they are shifts of about 0.25 (PSI: 0.3) and 0.5 standard deviations.
THRESHOLDS = {"ks": (0.1, 0.2), "chi_square": (0.1, 0.2), "psi": (0.1, 0.25)}


#: Significance level below which a column has drifted.
LEVEL = 0.01
#: Significance level of a column that is enough for the verdict ``drift`` on its own.
STRICT_LEVEL = 0.001


@dataclass(frozen=True, slots=True)
class DriftScore:
    method: str
    #: The distance between the distributions.
    score: float
    p_value: float

    @property
    def drifted(self) -> bool:
        """Whether the drift is significant, and its distance worth a look."""
        return self.p_value < LEVEL and self.score >= THRESHOLDS[self.method][0]

    @property
    def alarming(self) -> bool:
        """Whether the drift is enough for the verdict on its own."""
        return self.p_value < STRICT_LEVEL and self.score >= THRESHOLDS[self.method][1]


def score(column: ColumnPair) -> DriftScore | str:
    """Test one column, or say why it cannot be tested."""
    if column.skipped:
        return column.skipped
    reference, current = column.reference.present, column.current.present
    n = min(len(reference), len(current))
    if n < MIN_ROWS:
        return f"fewer than {MIN_ROWS} values"
    if column.kind == CATEGORY:
        return categorical(merge(*column.counts), "psi" if n >= MIN_ROWS_PSI else "chi_square")
    if n >= MIN_ROWS_PSI:
        return categorical(binned(reference, current), "psi")
    return kolmogorov_smirnov(reference, current)


def kolmogorov_smirnov(reference: Floats, current: Floats) -> DriftScore:
    """The largest distance of the two distribution functions.

    The asymptotic p-value errs on the side of no drift where values are tied.
    """
    result = stats.ks_2samp(reference, current, method="asymp")
    return DriftScore("ks", float(result.statistic), float(result.pvalue))


def categorical(table: NDArray[Any], method: str) -> DriftScore:
    """Compare counts: a row for each sample, a column for each category.

    The p-value is that of Pearson's chi-square test. The distance is PSI, or the total variation: half
    the sum of the differences of the shares, which does not depend on the number of rows.
    """
    if table.shape[1] < 2:
        return DriftScore(method, 0.0, 1.0)
    p_value = float(stats.chi2_contingency(table, correction=False).pvalue)
    if method == "psi":
        return DriftScore(method, psi(table), p_value)
    shares = table / table.sum(axis=1, keepdims=True)
    return DriftScore(method, float(np.abs(shares[0] - shares[1]).sum() / 2), p_value)


def psi(table: NDArray[Any]) -> float:
    """The population stability index, sum of (p - q) ln(p / q), with half a row added to each cell."""
    padded = table + 0.5
    p, q = padded / padded.sum(axis=1, keepdims=True)
    return float(((p - q) * np.log(p / q)).sum())


def binned(reference: Floats, current: Floats) -> NDArray[Any]:
    """Counts in the deciles of the reference; a frequent value is a bin of its own."""
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, _BINS + 1)[1:-1]))
    # An edge belongs to the bin below it, so that a frequent value shares no bin with larger values.
    counts = [
        np.bincount(np.searchsorted(edges, side, side="left"), minlength=len(edges) + 1)
        for side in (reference, current)
    ]
    return merge(*counts)


def merge(reference: NDArray[Any], current: NDArray[Any]) -> NDArray[Any]:
    """Join categories that are rare in both samples together.

    Choosing by the reference alone would favour categories that are frequent there by chance, and that
    then seem to have become rarer.
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
    # Too few rows even together for the chi-square approximation: join the smallest category too.
    merged[:, merged.sum(axis=0).argmin()] += rest
    return merged


def adjusted(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number (Benjamini and Hochberg 1995)."""
    return [float(one) for one in stats.false_discovery_control(p_values)]
