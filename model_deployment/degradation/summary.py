"""A column in a few figures, and in a picture that both sides share the bins of."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model_deployment.degradation.columns import CATEGORY, NUMBER, TIME, Column, Side

_BINS = 24
_TOP = 10

Summary = dict[str, Any]


def summaries(column: Column, pictured: bool) -> tuple[Summary, Summary]:
    """Of the reference, and of now.

    Args:
        pictured: with histogram or counts, for a picture.
    """
    before, now = (_figures(column, side) for side in (column.reference, column.current))
    if pictured and column.kind == NUMBER:
        edges = _edges(column)
        for summary, side in ((before, column.reference), (now, column.current)):
            if edges is not None and len(side.present):
                summary["histogram"] = _histogram(side.present, edges)
    if pictured and column.kind == CATEGORY:
        counts = [
            np.bincount(side.present, minlength=len(column.categories))
            if len(side.present)
            else np.zeros(len(column.categories), dtype=int)
            for side in (column.reference, column.current)
        ]
        shown = np.argsort(-(counts[0] + counts[1]), kind="stable")[:_TOP]
        for summary, some in ((before, counts[0]), (now, counts[1])):
            summary["top"] = [[column.categories[place], int(some[place])] for place in shown]
    return before, now


def _figures(column: Column, side: Side) -> Summary:
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
    figures |= {"mean": _mean(present), "std": _spread(present)}
    return summary | {name: float(value) for name, value in figures.items()}


def _mean(values: NDArray[Any]) -> float:
    """The mean, of numbers whose sum is too large too."""
    scale = max(float(np.abs(values).max()), 1.0)
    return float((values / scale).mean() * scale)


def _spread(values: NDArray[Any]) -> float:
    scale = max(float(np.abs(values).max()), 1.0)
    return float((values / scale).std() * scale)


def _moment(seconds: float) -> str:
    return str(pd.Timestamp(seconds, unit="s", tz="UTC").isoformat())


def _edges(column: Column) -> NDArray[Any] | None:
    """Where the bins lie: what all but the most extreme values of both sides cover."""
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
    """Counts; the first and the last bin hold what lies beyond them too."""
    places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, _BINS - 1)
    counts = np.bincount(places, minlength=_BINS)
    return {"edges": [float(edge) for edge in edges], "counts": [int(one) for one in counts]}
