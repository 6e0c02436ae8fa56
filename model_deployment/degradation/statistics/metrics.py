"""Metrics of labelled predictions, each with its standard error.

Standard errors have closed forms where there are any, else they are bootstrapped. Bootstrapping calls a
metric 200 times, for which the functions of scikit-learn are 20 to 200 times too slow; the tests compare
the values with scikit-learn's. F1, precision and recall have several averages, and a run does not say
which one it logged. The highest is taken, so that no model is called worse for another kind of average.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from model_deployment.degradation.data.columns import Floats
from model_deployment.degradation.data.labels import LabelledRows
from model_deployment.degradation.job import REGRESSION
from model_deployment.degradation.metric_verdict import Measurement, proportion_error

_ROUNDS = 200
_MAX_CLASSES = 200


def measure(rows: LabelledRows, seed: int = 0, *, errors: bool = True) -> dict[str, Measurement]:
    """All metrics of the task; without ``errors`` those that need a bootstrap have no standard error."""
    if not len(rows):
        return {}
    rounds = _ROUNDS if errors else 0
    if rows.task == REGRESSION:
        return _regression(rows, seed, rounds)
    return _classification(rows, seed, rounds)


def _regression(rows: LabelledRows, seed: int, rounds: int) -> dict[str, Measurement]:
    truth, predicted, n = rows.truth, rows.predicted, len(rows)
    wrong = np.abs(truth - predicted)
    squares = wrong**2
    mse, mse_error = float(squares.mean()), _mean_error(squares)
    rmse = math.sqrt(mse)
    found = {
        "mae": Measurement(float(wrong.mean()), n, _mean_error(wrong)),
        "mse": Measurement(mse, n, mse_error),
        # The delta method: d sqrt(x) = dx / (2 sqrt(x)).
        "rmse": Measurement(rmse, n, mse_error / (2 * rmse) if rmse and mse_error else mse_error),
        "max_error": Measurement(float(wrong.max()), n, None),
    }
    if n >= 2 and truth.std() > 0:
        error = _bootstrap(n, seed, rounds, lambda some: _r2(truth[some], predicted[some]))
        found["r2"] = Measurement(_r2(truth, predicted), n, error)
    if (np.abs(truth) > 1e-9).all():
        found["mape"] = Measurement(float((wrong / np.abs(truth)).mean()), n, None)
    return {name: one for name, one in found.items() if math.isfinite(one.value)}


def _r2(truth: Floats, predicted: Floats) -> float:
    spread = float(((truth - truth.mean()) ** 2).sum())
    return 1 - float(((truth - predicted) ** 2).sum()) / spread if spread else math.nan


def _mean_error(values: Floats) -> float | None:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


def _bootstrap(
    n: int, seed: int, rounds: int, statistic: Callable[[NDArray[Any]], float]
) -> float | None:
    """The standard deviation of a statistic over samples with replacement (Efron 1979)."""
    random = np.random.default_rng(seed)
    values = np.array([statistic(random.integers(0, n, n)) for _ in range(rounds)])
    values = values[np.isfinite(values)]
    return float(values.std(ddof=1)) if len(values) > 1 else None


def _classification(rows: LabelledRows, seed: int, rounds: int) -> dict[str, Measurement]:
    n, k = len(rows), len(rows.classes)
    right = int((rows.truth == rows.predicted).sum())
    found = {"accuracy": Measurement(right / n, n, proportion_error(right / n, n))}
    if k <= _MAX_CLASSES:
        cells = np.bincount(rows.truth * k + rows.predicted, minlength=k * k)
        values = _precision_recall_f1(cells.reshape(k, k))
        # The confusion matrix of rows drawn with replacement is multinomial: no need to draw rows.
        drawn = np.random.default_rng(seed).multinomial(n, cells / n, size=rounds)
        sampled = [_precision_recall_f1(one.reshape(k, k)) for one in drawn]
        spreads = np.std(sampled, axis=0, ddof=1).tolist() if sampled else (None, None, None)
        for name, value, error in zip(("precision", "recall", "f1"), values, spreads, strict=True):
            found[name] = Measurement(value, n, error)
    if rows.probability is not None:
        found |= _of_probabilities(rows, rows.probability, seed, rounds)
    return found


def _precision_recall_f1(cells: NDArray[Any]) -> tuple[float, float, float]:
    """Of a confusion matrix with a row for each true class: the highest average of each metric."""
    hits = np.diag(cells).astype(float)
    true, predicted = cells.sum(axis=1), cells.sum(axis=0)
    seen = (true + predicted) > 0
    weights = true / max(true.sum(), 1)
    best = []
    for hit_of in (predicted, true, (true + predicted) / 2):
        score = hits / np.where(hit_of > 0, hit_of, 1)
        averages = [float(score[seen].mean()), float((score * weights).sum())]
        if len(cells) == 2:
            averages.append(float(score[1]))
        best.append(max(averages))
    return best[0], best[1], best[2]


def _of_probabilities(
    rows: LabelledRows, probability: Floats, seed: int, rounds: int
) -> dict[str, Measurement]:
    n, positive = len(rows), rows.truth == 1
    clipped = np.clip(probability, 1e-15, 1 - 1e-15)
    losses = -np.log(np.where(positive, clipped, 1 - clipped))
    found = {"log_loss": Measurement(float(losses.mean()), n, _mean_error(losses))}
    if positive.any() and not positive.all():
        error = _bootstrap(
            n, seed, rounds, lambda some: _roc_auc(positive[some], probability[some])
        )
        found["roc_auc"] = Measurement(_roc_auc(positive, probability), n, error)
    return found


def _roc_auc(positive: NDArray[np.bool_], probability: Floats) -> float:
    """The area under the ROC curve from ranks (Mann and Whitney); ties count half."""
    ones = int(positive.sum())
    zeros = len(positive) - ones
    if not ones or not zeros:
        return math.nan
    return float((rankdata(probability)[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))
