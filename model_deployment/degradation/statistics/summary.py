"""A column in a few figures, and as histograms of reference and current values with the same bins."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model_deployment.degradation.data.columns import CATEGORY, NUMBER, TIME, ColumnPair, Sample

_BINS = 24
_TOP = 10

Summary = dict[str, Any]


def summaries(column: ColumnPair, pictured: bool) -> tuple[Summary, Summary]:
    """Of the reference and of the current values; ``pictured`` adds a histogram or counts."""
    before, now = (_figures(column, side) for side in (column.reference, column.current))
    if pictured and column.kind == NUMBER:
        edges = _edges(column)
        for summary, side in ((before, column.reference), (now, column.current)):
            if edges is not None and len(side.present):
                summary["histogram"] = _histogram(side.present, edges)
    if pictured and column.kind == CATEGORY:
        counts = column.counts
        shown = np.argsort(-(counts[0] + counts[1]), kind="stable")[:_TOP]
        for summary, some in ((before, counts[0]), (now, counts[1])):
            summary["top"] = [[column.categories[place], int(some[place])] for place in shown]
    return before, now


def _figures(column: ColumnPair, side: Sample) -> Summary:
    present = side.present
    summary: Summary = {"rows": len(side.values), "missing": side.missing}
    if not len(present):
        return summary
    if column.kind == CATEGORY:
        summary["distinct"] = len(np.unique(present))
        return summary
    low, middle, high = np.quantile(present, [0.05, 0.5, 0.95])
    figures = {"min": present.min(), "p5": low, "median": middle, "p95": high, "max": present.max()}
    if column.kind == TIME:
        return summary | {name: _moment(value) for name, value in figures.items()}
    # Scaled, since the sum of large numbers overflows.
    scale = max(float(np.abs(present).max()), 1.0)
    scaled = present / scale
    figures |= {"mean": scaled.mean() * scale, "std": scaled.std() * scale}
    return summary | {name: float(value) for name, value in figures.items()}


def _moment(seconds: float) -> str:
    return str(pd.Timestamp(seconds, unit="s", tz="UTC").isoformat())


def _edges(column: ColumnPair) -> NDArray[Any] | None:
    """Edges of the bins, which cover all but the 1 % most extreme values at each end."""
    sides = [side.present for side in (column.reference, column.current) if len(side.present)]
    if not sides:
        return None
    ends = np.array([np.quantile(side, [0.01, 0.99]) for side in sides])
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    if not np.isfinite(high - low):
        return None
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        half = abs(low) / 2 or 0.5
        low, high = low - half, high + half
    edges = np.linspace(low, high, _BINS + 1)
    return edges if (np.diff(edges) > 0).all() else None


def _histogram(values: NDArray[Any], edges: NDArray[Any]) -> Summary:
    """Counts; the first and the last bin also hold the values beyond them."""
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return {"edges": edges.tolist(), "counts": counts.tolist()}
