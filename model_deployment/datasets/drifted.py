"""The captured rows that a report's drift comes from.

A row is among them if one of the drifted columns has a value there of a kind that has become frequent: in a
bin of the report's histogram (for categories: one of its bars) whose share of the rows is at least twice as
large now as in the reference. Where drift is so even that no share has doubled, it is the bin whose share
rose most. Missing values are of no kind. Pure, but for the stream of rows.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_deployment.tabular.category_names import category_name

#: Growth of a share from which on its values are frequent.
_FREQUENT = 2.0
#: Captures that are searched, the newest of the report's window, and rows that are sent.
CAPTURES, ROWS = 20_000, 10_000
#: The prediction's name in a report and in a dataset.
PREDICTION = "prediction"


@dataclass(frozen=True, slots=True)
class FrequentNow:
    """The values of one column that have become frequent."""

    column: str
    #: Edges of the histogram's bins; none for categories.
    edges: Sequence[float]
    #: Places of bins, or names of categories.
    kinds: frozenset[int] | frozenset[str]

    def has(self, value: Any) -> bool:
        """Whether a captured value is one of them."""
        if value is None:
            return False
        if not self.edges:
            return category_name(value) in self.kinds
        try:
            number = float(value)
        except (TypeError, ValueError):
            return False
        if math.isnan(number):
            return False
        # The first and the last bin also hold the values beyond them.
        last = len(self.edges) - 2
        return min(max(bisect_right(self.edges, number) - 1, 0), last) in self.kinds


def frequent_now(report: Mapping[str, Any]) -> list[FrequentNow]:
    """What has become frequent in each drifted column of a report that has a picture."""
    columns = [one for one in report.get("columns") or [] if one.get("drifted")]
    prediction = report.get("prediction")
    if prediction and prediction.get("drifted") and report.get("prediction_against") != "target":
        columns.append({**prediction, "name": PREDICTION})
    return [found for one in columns if (found := _of_column(one)) is not None]


def _of_column(column: Mapping[str, Any]) -> FrequentNow | None:
    before, now = column["reference"], column["current"]
    if "histogram" in before and "histogram" in now:
        sides = [one["histogram"]["counts"] for one in (before, now)]
        places = _grown(*map(_shares, sides))
        return FrequentNow(column["name"], now["histogram"]["edges"], frozenset(places))
    if "top" in before and "top" in now:
        names = [name for name, _ in now["top"]]
        totals = [max(one["rows"] - one["missing"], 1) for one in (before, now)]
        shares = [
            [count / total for _, count in one["top"]]
            for one, total in zip((before, now), totals, strict=True)
        ]
        return FrequentNow(column["name"], (), frozenset(names[at] for at in _grown(*shares)))
    return None


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) or 1
    return [count / total for count in counts]


def _grown(before: Sequence[float], now: Sequence[float]) -> list[int]:
    pairs = list(zip(before, now, strict=True))
    doubled = [at for at, (was, is_) in enumerate(pairs) if is_ > 0 and is_ >= _FREQUENT * was]
    if doubled or not pairs:
        return doubled
    return [max(range(len(pairs)), key=lambda at: pairs[at][1] - pairs[at][0])]


def selector(
    found: Sequence[FrequentNow],
) -> Callable[[Sequence[str], Sequence[Any], Any], list[str]]:
    """Tells which drifted columns of a row have a value that has become frequent.

    The function gets the names of a capture's columns, the values of one row, and its prediction.
    """
    by_name = {one.column: one for one in found}

    def select(names: Sequence[str], values: Sequence[Any], prediction: Any) -> list[str]:
        own = [*zip(names, values, strict=False), (PREDICTION, _single(prediction))]
        return [name for name, value in own if name in by_name and by_name[name].has(value)]

    return select


def _single(prediction: Any) -> Any:
    """The value of a prediction that is one; None for others."""
    values = [*prediction.values()] if isinstance(prediction, dict) else prediction
    if isinstance(values, list):
        return values[0] if len(values) == 1 else None
    return values
