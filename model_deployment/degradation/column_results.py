"""The drift of each column, and of the predictions, with what a report shows of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from model_deployment.degradation.data.columns import ColumnPair
from model_deployment.degradation.statistics.drift import THRESHOLDS, DriftScore, adjusted, score
from model_deployment.degradation.statistics.summary import summaries

#: What predictions are compared with, the best first.
REFERENCE, CAPTURED, TARGET = "reference", "captured", "target"


@dataclass(frozen=True, slots=True)
class ColumnResult:
    """One column with its drift, or with the reason why its drift is unknown."""

    column: ColumnPair
    #: With a p-value adjusted for the number of columns.
    drift: DriftScore | None
    skipped: str | None = None

    @property
    def drifted(self) -> bool:
        return self.drift is not None and self.drift.drifted

    @property
    def rank(self) -> float:
        """Size of the drift, comparable between methods; drifted columns first, untested ones last."""
        if self.drift is None:
            return -1.0
        size = self.drift.score / THRESHOLDS[self.drift.method][0]
        return size + 1000 * self.drift.drifted

    def as_dict(self, pictured: bool) -> dict[str, Any]:
        """JSON-ready; ``pictured`` adds the histogram or the counts of categories."""
        drift, column = self.drift, self.column
        reference, current = summaries(column, pictured)
        return {
            "name": column.name,
            "type": column.type,
            "kind": column.kind,
            "method": drift.method if drift else None,
            "score": drift.score if drift else None,
            "threshold": THRESHOLDS[drift.method][0] if drift else None,
            "p_value": drift.p_value if drift else None,
            "drifted": self.drifted,
            "alarming": drift.alarming if drift else False,
            "reference": reference,
            "current": current,
            "skipped": self.skipped,
        }


def column_results(columns: Iterable[ColumnPair]) -> list[ColumnResult]:
    """Test columns for drift, with p-values adjusted for the number of tests."""
    scored = [(column, score(column)) for column in columns]
    p_values = iter(adjusted([one.p_value for _, one in scored if isinstance(one, DriftScore)]))
    return [
        ColumnResult(column, replace(one, p_value=next(p_values)))
        if isinstance(one, DriftScore)
        else ColumnResult(column, None, one)
        for column, one in scored
    ]


@dataclass(frozen=True, slots=True)
class PredictionResults:
    results: Sequence[ColumnResult] = ()
    #: :data:`REFERENCE`, :data:`CAPTURED` (earlier predictions) or :data:`TARGET` (its classes);
    #: None if there is nothing to compare with.
    against: str | None = None
    #: Whether there are predictions and a reference.
    expected: bool = False

    @property
    def drifts(self) -> list[DriftScore]:
        return [one.drift for one in self.results if one.drift]
