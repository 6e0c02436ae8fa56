"""Pairs labels with predictions, in one spelling of classes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model_deployment.degradation.data.columns import Floats, to_numbers
from model_deployment.degradation.data.tables import LABEL, is_prediction
from model_deployment.degradation.job import CLASSIFICATION, REGRESSION

#: More distinct whole numbers than this are amounts, not classes.
_MAX_CLASSES = 20


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Labels and predictions of the same rows, in the order of time."""

    task: str
    #: Numbers, or for a classification places in ``classes``.
    truth: NDArray[Any]
    predicted: NDArray[Any]
    classes: tuple[str, ...] = ()
    #: The probability of the second of two classes, if the model predicts it.
    probability: Floats | None = None

    def __len__(self) -> int:
        return len(self.truth)

    def halves(self) -> "tuple[LabelledRows, LabelledRows]":
        """The earlier and the later rows."""
        middle = len(self) // 2
        return self._part(slice(None, middle)), self._part(slice(middle, None))

    def _part(self, rows: slice) -> "LabelledRows":
        probability = None if self.probability is None else self.probability[rows]
        truth, predicted = self.truth[rows], self.predicted[rows]
        return LabelledRows(self.task, truth, predicted, self.classes, probability)


def labelled_rows(frame: pd.DataFrame, task: str | None) -> LabelledRows | None:
    """The rows of a table of labels and predictions that can be measured; None if there are none."""
    names = [name for name in frame.columns if is_prediction(name)]
    if frame.empty or not names:
        return None
    rows = labelled(frame[LABEL], frame[names], task)
    return rows if len(rows) else None


def labelled(truth: "pd.Series[Any]", predictions: pd.DataFrame, task: str | None) -> LabelledRows:
    """Pair labels with predictions.

    Args:
        truth: the labels, none of them null, in the order of time.
        predictions: one column, or one for each output, of the same rows.
        task: None to guess it.
    """
    task = task or guess_task(truth, predictions)
    if predictions.shape[1] == 1:
        return _of_one(truth, predictions.iloc[:, 0], task)
    return _of_many(truth, predictions, task)


def guess_task(truth: "pd.Series[Any]", predictions: pd.DataFrame) -> str:
    """Classification if labels and predictions are classes, else regression."""
    numbers = to_numbers(truth)
    if np.isnan(numbers).any() or truth.map(lambda value: isinstance(value, bool)).any():
        return CLASSIFICATION
    predicted = to_numbers(predictions.iloc[:, 0])
    whole = (numbers == np.round(numbers)).all() and len(np.unique(numbers)) <= _MAX_CLASSES
    if predictions.shape[1] > 1:
        return CLASSIFICATION if whole else REGRESSION
    present = predicted[~np.isnan(predicted)]
    return CLASSIFICATION if whole and (present == np.round(present)).all() else REGRESSION


def classes(
    truth: "pd.Series[Any]", predictions: pd.DataFrame, task: str | None
) -> "tuple[pd.Series[Any], pd.Series[Any]] | None":
    """The true and the predicted classes of unrelated rows; None for a regression."""
    truth, said = truth.dropna(), predictions.dropna()
    if truth.empty or said.empty or (task or guess_task(truth, said)) != CLASSIFICATION:
        return None
    true = _names(truth)
    if len(said.columns) == 1:
        ones = _probabilities(true, said.iloc[:, 0])
        found = _names(said.iloc[:, 0] if ones is None else pd.Series(ones >= 0.5))
    else:
        table = _table(said)
        if not _are_class_probabilities(true, table):
            return None
        found = [str(place) for place in table.argmax(axis=1)]
    return pd.Series(true, dtype=object), pd.Series(found, dtype=object)


def _of_one(truth: "pd.Series[Any]", predicted: "pd.Series[Any]", task: str) -> LabelledRows:
    if task == REGRESSION:
        numbers, guesses = to_numbers(truth), to_numbers(predicted)
        fine = np.isfinite(numbers) & np.isfinite(guesses)
        return LabelledRows(task, numbers[fine], guesses[fine])
    fine = predicted.notna().to_numpy()
    true, said = _names(truth[fine]), _names(predicted[fine])
    probability = _probabilities(true, predicted[fine])
    if probability is not None:
        return _of_probabilities(true, probability)
    return _of_names(true, said)


def _of_many(truth: "pd.Series[Any]", predictions: pd.DataFrame, task: str) -> LabelledRows:
    """Several outputs: probabilities of the classes 0, 1, ...; other outputs cannot be measured."""
    table, names = _table(predictions), _names(truth)
    fine = np.isfinite(table).all(axis=1)
    if task == REGRESSION or not _are_class_probabilities(names, table[fine]):
        return LabelledRows(task, np.empty(0), np.empty(0))
    true = [names[place] for place in np.flatnonzero(fine)]
    if table.shape[1] == 2:
        return _of_probabilities(true, table[fine, 1])
    return _of_names(true, [str(place) for place in table[fine].argmax(axis=1)])


def _table(predictions: pd.DataFrame) -> Floats:
    return np.column_stack([to_numbers(predictions[name]) for name in predictions.columns])


def _are_class_probabilities(names: list[str], table: Floats) -> bool:
    """Whether rows of numbers are probabilities of the classes 0, 1, ..., and the labels such classes."""
    known = {str(place) for place in range(table.shape[1])}
    return set(names) <= known and bool(np.allclose(table.sum(axis=1), 1, atol=1e-3))


def _of_probabilities(true: list[str], probability: Floats) -> LabelledRows:
    truth = np.array([name == "1" for name in true], dtype=np.int64)
    said = (probability >= 0.5).astype(np.int64)
    return LabelledRows(CLASSIFICATION, truth, said, ("0", "1"), probability)


def _of_names(true: list[str], said: list[str]) -> LabelledRows:
    classes = tuple(sorted({*true, *said}, key=_order))
    places = {name: place for place, name in enumerate(classes)}
    codes = [np.array([places[name] for name in side], dtype=np.int64) for side in (true, said)]
    return LabelledRows(CLASSIFICATION, codes[0], codes[1], classes)


def _probabilities(true: list[str], predicted: "pd.Series[Any]") -> Floats | None:
    """The predictions if they are probabilities of class 1; None if not."""
    numbers = to_numbers(predicted)
    if not set(true) <= {"0", "1"} or np.isnan(numbers).any() or not len(numbers):
        return None
    within = ((numbers >= 0) & (numbers <= 1)).all()
    return numbers if within and (numbers != np.round(numbers)).any() else None


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


def _order(name: str) -> tuple[int, float, str]:
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name
