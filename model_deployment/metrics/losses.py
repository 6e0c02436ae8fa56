"""Losses of single labelled rows, for several versions beside each other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from model_deployment.metrics.scores import (
    are_classes,
    class_name,
    is_missing,
    of_one_value,
    to_number,
)

#: A larger error is no larger a loss: squares of squares have to be finite.
_LARGEST = 1e60


@dataclass(frozen=True, slots=True)
class RowLosses:
    """Losses by row: absolute errors of amounts; of classes 1 for a wrong one, else 0."""

    classes: bool
    #: For each version and row; None where label or prediction is missing, or is no amount.
    losses: tuple[tuple[float | None, ...], ...]

    @property
    def metric(self) -> str:
        return "error rate" if self.classes else "rmse"

    def error(self, losses: Sequence[float]) -> float:
        """The metric of some of the losses; NaN of none."""
        if not losses:
            return math.nan
        if self.classes:
            return math.fsum(losses) / len(losses)
        return math.sqrt(math.fsum(loss * loss for loss in losses) / len(losses))


def row_losses(labels: Sequence[Any], *predictions: Sequence[Any]) -> RowLosses:
    """Losses of the predictions of several versions for the same rows.

    Values are classes or amounts by the rule of :func:`model_deployment.metrics.scores.measure`; of
    probabilities the most probable class counts.

    Args:
        labels: one for each row; None where it is unknown.
        predictions: of each version, one for each row.
    """
    known = [row for row, label in enumerate(labels) if not is_missing(label)]
    pairs = [
        of_one_value([(labels[row], predicted[row]) for row in known]) for predicted in predictions
    ]
    present = [pair for some in pairs for pair in some if not is_missing(pair[1])]
    numbers = [
        (one, other)
        for one, other in ((to_number(label), to_number(said)) for label, said in present)
        if one is not None and other is not None
    ]
    classes = not (2 * len(numbers) > len(present) and not are_classes(numbers))
    found = []
    for some in pairs:
        losses: list[float | None] = [None] * len(labels)
        for row, (label, said) in zip(known, some, strict=True):
            losses[row] = _loss(label, said, classes)
        found.append(tuple(losses))
    return RowLosses(classes, tuple(found))


def _loss(label: Any, said: Any, classes: bool) -> float | None:
    if is_missing(said) or isinstance(said, (list, dict)):
        return None
    if classes:
        return float(class_name(label) != class_name(said))
    one, other = to_number(label), to_number(said)
    return None if one is None or other is None else min(abs(one - other), _LARGEST)
