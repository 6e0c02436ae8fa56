"""Rows whose truth is known, from what was captured: labels and predictions in one spelling."""

from typing import Any

import numpy as np
import pandas as pd

from model_deployment.degradation.columns import Floats
from model_deployment.degradation.job import CLASSIFICATION, REGRESSION
from model_deployment.degradation.metrics import Labelled, classes_of

#: More different whole numbers than this are amounts and no classes.
_MOST_WHOLE = 20


def labelled(truth: "pd.Series[Any]", predictions: pd.DataFrame, task: str | None) -> Labelled:
    """Pair labels with predictions.

    Args:
        truth: the labels, none of them null, in the order of time.
        predictions: one column, or one for each output, of the same rows.
        task: what the model does, None to find out.
    """
    task = task or guess(truth, predictions)
    if predictions.shape[1] == 1:
        return _of_one(truth, predictions.iloc[:, 0], task)
    return _of_many(truth, predictions, task)


def guess(truth: "pd.Series[Any]", predictions: pd.DataFrame) -> str:
    """Whether these are classes or amounts."""
    numbers = _floats(truth)
    if np.isnan(numbers).any() or truth.map(lambda value: isinstance(value, bool)).any():
        return CLASSIFICATION
    predicted = _floats(predictions.iloc[:, 0])
    whole = (numbers == np.round(numbers)).all() and len(np.unique(numbers)) <= _MOST_WHOLE
    if predictions.shape[1] > 1:
        return CLASSIFICATION if whole else REGRESSION
    present = predicted[~np.isnan(predicted)]
    return CLASSIFICATION if whole and (present == np.round(present)).all() else REGRESSION


def classes(
    truth: "pd.Series[Any]", predictions: pd.DataFrame, task: str | None
) -> "tuple[pd.Series[Any], pd.Series[Any]] | None":
    """The classes of rows, and those that are said of other rows; None where these are no classes."""
    truth, said = truth.dropna(), predictions.dropna()
    if truth.empty or said.empty or (task or guess(truth, said)) != CLASSIFICATION:
        return None
    true = _names(truth)
    if len(said.columns) == 1:
        chances = _probabilities(true, said.iloc[:, 0])
        found = _names(said.iloc[:, 0]) if chances is None else _names(pd.Series(chances >= 0.5))
    else:
        table = _table(said)
        if not _of_places(true, table):
            return None
        found = [str(place) for place in table.argmax(axis=1)]
    return pd.Series(true, dtype=object), pd.Series(found, dtype=object)


def _of_one(truth: "pd.Series[Any]", predicted: "pd.Series[Any]", task: str) -> Labelled:
    if task == REGRESSION:
        numbers, guesses = _floats(truth), _floats(predicted)
        fine = np.isfinite(numbers) & np.isfinite(guesses)
        return Labelled(task, numbers[fine], guesses[fine])
    fine = predicted.notna().to_numpy()
    true, said = _names(truth[fine]), _names(predicted[fine])
    chances = _probabilities(true, predicted[fine])
    if chances is not None:
        return _of_chances(true, chances)
    return _of_names(true, said)


def _of_many(truth: "pd.Series[Any]", predictions: pd.DataFrame, task: str) -> Labelled:
    """Several outputs: the probabilities of classes 0, 1, ...; of anything else nothing is known."""
    table, names = _table(predictions), _names(truth)
    fine = np.isfinite(table).all(axis=1)
    if task == REGRESSION or not _of_places(names, table[fine]):
        return Labelled(task, np.empty(0), np.empty(0))
    true = [names[place] for place in np.flatnonzero(fine)]
    if table.shape[1] == 2:
        return _of_chances(true, table[fine, 1])
    return _of_names(true, [str(place) for place in table[fine].argmax(axis=1)])


def _table(predictions: pd.DataFrame) -> Floats:
    return np.column_stack([_floats(predictions[name]) for name in predictions.columns])


def _of_places(names: list[str], table: Floats) -> bool:
    """Whether rows of numbers are the probabilities of classes 0, 1, ..., which the truth has too."""
    known = {str(place) for place in range(table.shape[1])}
    return set(names) <= known and bool(np.allclose(table.sum(axis=1), 1, atol=1e-3))


def _of_chances(true: list[str], chances: Floats) -> Labelled:
    truth = np.array([name == "1" for name in true], dtype=np.int64)
    said = (chances >= 0.5).astype(np.int64)
    return Labelled(CLASSIFICATION, truth, said, ("0", "1"), chances)


def _of_names(true: list[str], said: list[str]) -> Labelled:
    classes = classes_of(true, said)
    place = {name: code for code, name in enumerate(classes)}
    codes = [np.array([place[name] for name in side], dtype=np.int64) for side in (true, said)]
    return Labelled(CLASSIFICATION, codes[0], codes[1], classes)


def _probabilities(true: list[str], predicted: "pd.Series[Any]") -> Floats | None:
    """Predictions of a model that answers with the probability of class 1."""
    numbers = _floats(predicted)
    if not set(true) <= {"0", "1"} or np.isnan(numbers).any() or not len(numbers):
        return None
    within = ((numbers >= 0) & (numbers <= 1)).all()
    return numbers if within and (numbers != np.round(numbers)).any() else None


def _floats(values: "pd.Series[Any]") -> Floats:
    plain = values.astype(object).map(
        lambda value: value if isinstance(value, str | int | float | np.number) else None
    )
    return np.asarray(pd.to_numeric(plain, errors="coerce"), dtype=np.float64)


def _names(values: "pd.Series[Any]") -> list[str]:
    return [canonical(value) for value in values]


def canonical(value: Any) -> str:
    """One spelling of a class: ``1``, ``1.0``, ``"1"`` and ``true`` are the same."""
    if isinstance(value, bool | np.bool_):
        return "1" if value else "0"
    text = str(value).strip()
    if text.lower() in ("true", "false"):
        return "1" if text.lower() == "true" else "0"
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else text


def halves(rows: Labelled) -> tuple[Labelled, Labelled]:
    """The earlier and the later rows."""
    middle = len(rows) // 2
    return rows.part(slice(None, middle)), rows.part(slice(middle, None))
