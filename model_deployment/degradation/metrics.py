"""Metrics of labelled predictions, each with the standard error that chance gives it.

Closed forms where there are any, else a bootstrap. F1, precision and recall have several averages, and
a run does not say which one it logged: the kindest is taken, so that a model is never called worse
for an average that nobody meant.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_deployment.degradation.columns import Floats
from model_deployment.degradation.job import REGRESSION
from model_deployment.degradation.metric_verdict import Measured, proportion_error

_ROUNDS = 200
_MOST_CLASSES = 200


@dataclass(frozen=True, slots=True)
class Labelled:
    """Rows whose truth is known, in the order of time."""

    task: str
    #: Numbers, or for a classification places in ``classes``.
    truth: NDArray[Any]
    #: Likewise.
    predicted: NDArray[Any]
    classes: tuple[str, ...] = ()
    #: Of the second of two classes, where the model gives it.
    probability: Floats | None = None

    def __len__(self) -> int:
        return len(self.truth)

    def part(self, rows: slice | NDArray[Any]) -> "Labelled":
        """Some of the rows."""
        chances = None if self.probability is None else self.probability[rows]
        return Labelled(self.task, self.truth[rows], self.predicted[rows], self.classes, chances)


def measure(rows: Labelled, seed: int = 0) -> dict[str, Measured]:
    """All metrics of the task."""
    if not len(rows):
        return {}
    if rows.task == REGRESSION:
        return _regression(rows, seed)
    return _classification(rows, seed)


def _regression(rows: Labelled, seed: int) -> dict[str, Measured]:
    truth, predicted, n = rows.truth, rows.predicted, len(rows)
    wrong = np.abs(truth - predicted)
    squares = wrong**2
    mse, mse_error = float(squares.mean()), _mean_error(squares)
    rmse = math.sqrt(mse)
    found = {
        "mae": Measured(float(wrong.mean()), n, _mean_error(wrong)),
        "mse": Measured(mse, n, mse_error),
        # The delta method: d sqrt(x) = dx / (2 sqrt(x)).
        "rmse": Measured(rmse, n, mse_error / (2 * rmse) if rmse and mse_error else mse_error),
        "max_error": Measured(float(wrong.max()), n, None),
    }
    if n >= 2 and truth.std() > 0:
        error = _bootstrap(n, seed, lambda some: _r2(truth[some], predicted[some]))
        found["r2"] = Measured(_r2(truth, predicted), n, error)
    if (np.abs(truth) > 1e-9).all():
        found["mape"] = Measured(float((wrong / np.abs(truth)).mean()), n, None)
    return {name: one for name, one in found.items() if math.isfinite(one.value)}


def _r2(truth: Floats, predicted: Floats) -> float:
    spread = float(((truth - truth.mean()) ** 2).sum())
    return 1 - float(((truth - predicted) ** 2).sum()) / spread if spread else math.nan


def _mean_error(values: Floats) -> float | None:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


def _bootstrap(n: int, seed: int, statistic: Callable[[NDArray[Any]], float]) -> float | None:
    """The standard deviation of a statistic over samples with replacement (Efron 1979)."""
    chance = np.random.default_rng(seed)
    values = np.array([statistic(chance.integers(0, n, n)) for _ in range(_ROUNDS)])
    values = values[np.isfinite(values)]
    return float(values.std(ddof=1)) if len(values) > 1 else None


def _classification(rows: Labelled, seed: int) -> dict[str, Measured]:
    n, k = len(rows), len(rows.classes)
    right = int((rows.truth == rows.predicted).sum())
    found = {"accuracy": Measured(right / n, n, proportion_error(right / n, n))}
    if k <= _MOST_CLASSES:
        cells = np.bincount(rows.truth * k + rows.predicted, minlength=k * k)
        chance = np.random.default_rng(seed)
        # Rows drawn with replacement have cells that are multinomial: no need to draw rows.
        drawn = chance.multinomial(n, cells / n, size=_ROUNDS)
        for place, name in enumerate(("precision", "recall", "f1")):
            value = _averaged(cells.reshape(k, k))[place]
            values = [_averaged(one.reshape(k, k))[place] for one in drawn]
            found[name] = Measured(value, n, float(np.std(values, ddof=1)))
    if rows.probability is not None:
        found |= _of_probabilities(rows, rows.probability, seed)
    return found


def _averaged(cells: NDArray[Any]) -> tuple[float, float, float]:
    """Precision, recall and F1 of a confusion matrix, truth down: each the kindest average."""
    hits = np.diag(cells).astype(float)
    true, said = cells.sum(axis=1), cells.sum(axis=0)
    seen = (true + said) > 0
    scores = (
        hits / np.maximum(said, 1),
        hits / np.maximum(true, 1),
        2 * hits / np.maximum(true + said, 1),
    )
    weights = true / max(true.sum(), 1)
    best = []
    for score in scores:
        averages = [float(score[seen].mean()), float((score * weights).sum())]
        if len(cells) == 2:
            averages.append(float(score[1]))
        best.append(max(averages))
    return best[0], best[1], best[2]


def _of_probabilities(rows: Labelled, chances: Floats, seed: int) -> dict[str, Measured]:
    n, positive = len(rows), rows.truth == 1
    clipped = np.clip(chances, 1e-15, 1 - 1e-15)
    losses = -np.log(np.where(positive, clipped, 1 - clipped))
    found = {"log_loss": Measured(float(losses.mean()), n, _mean_error(losses))}
    if positive.any() and not positive.all():
        error = _bootstrap(n, seed, lambda some: _roc_auc(positive[some], chances[some]))
        found["roc_auc"] = Measured(_roc_auc(positive, chances), n, error)
    return found


def _roc_auc(positive: NDArray[np.bool_], chances: Floats) -> float:
    """The area under the curve from ranks (Mann and Whitney), ties counted half."""
    _, places, counts = np.unique(chances, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    ones = int(positive.sum())
    zeros = len(positive) - ones
    if not ones or not zeros:
        return math.nan
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def classes_of(*sides: Sequence[str]) -> tuple[str, ...]:
    """The classes in the order of their names; numbers by their value."""
    found = {name for side in sides for name in side}
    return tuple(sorted(found, key=_order))


def _order(name: str) -> tuple[int, float, str]:
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name
