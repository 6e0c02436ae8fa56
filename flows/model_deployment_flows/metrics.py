"""Metrics of predictions, by the names that ``mlflow.models.evaluate`` gives them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics as sk


class Incomparable(ValueError):
    """An answer has another form than the true values; the message says which, and what helps."""


def classes_of(truth: Any) -> Sequence[str]:
    """The classes of a column, the greatest last."""
    from model_deployment.metrics.scores import class_rank

    return sorted(set(_texts(pd.unique(np.asarray(truth).ravel()))), key=class_rank)


def of_classes(
    truth: Any, predicted: Any, classes: Sequence[str] | None = None
) -> dict[str, float]:
    """Metrics of classes: of two classes those of the greater one, of more the average by frequency.

    Args:
        classes: of the whole table, the greatest last, whatever was predicted; None: those of ``truth``.

    Raises:
        Incomparable: there is not one answer to each true value.
    """
    classes = classes or classes_of(truth)
    _ensure_comparable(truth, predicted)
    truth, predicted = _texts(truth), _texts(predicted)
    kind: dict[str, Any] = {"average": "weighted"}
    if len(classes) <= 2:
        # The greater class alone, also where a third one was predicted.
        kind = {"average": "macro", "labels": [classes[-1]]}
    return {
        "accuracy_score": float(sk.accuracy_score(truth, predicted)),
        "f1_score": float(sk.f1_score(truth, predicted, zero_division=0, **kind)),
        "precision_score": float(sk.precision_score(truth, predicted, zero_division=0, **kind)),
        "recall_score": float(sk.recall_score(truth, predicted, zero_division=0, **kind)),
    }


def of_amounts(truth: Any, predicted: Any) -> dict[str, float]:
    """Metrics of amounts; arrays of several outputs are averaged over them.

    Raises:
        Incomparable: there is not one answer to each true value.
    """
    _ensure_comparable(truth, predicted)
    truth, predicted = np.asarray(truth, float), np.asarray(predicted, float)
    if predicted.shape != truth.shape and predicted.size == truth.size:
        predicted = predicted.reshape(truth.shape)
    found = {
        "mean_absolute_error": float(sk.mean_absolute_error(truth, predicted)),
        "mean_squared_error": float(sk.mean_squared_error(truth, predicted)),
        "root_mean_squared_error": float(sk.root_mean_squared_error(truth, predicted)),
    }
    if len(truth) > 1:
        found["r2_score"] = float(sk.r2_score(truth, predicted))
    return found


def _ensure_comparable(truth: Any, predicted: Any) -> None:
    if np.size(truth) == np.size(predicted):
        return
    names = ", ".join(map(repr, getattr(predicted, "columns", ())))[:200]
    raise Incomparable(
        f"its answer has {_form(predicted)}{names and f' ({names})'}, the true values have "
        f"{_form(truth)}, so they cannot be compared; have the model answer the predicted values only, or "
        "pick them in predict() of the experiment"
    )


def _form(values: Any) -> str:
    rows, *columns = np.shape(values) or (1,)
    counts = ((rows, "row"), (int(np.prod(columns)), "column"))
    return " of ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts)


def _texts(values: Any) -> list[str]:
    """Classes in one spelling: a pyfunc may answer other types than the data have."""
    from model_deployment.metrics.scores import class_name

    return [class_name(value) for value in np.asarray(values).ravel().tolist()]
