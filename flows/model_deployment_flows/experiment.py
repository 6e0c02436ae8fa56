"""The base class of an experiment: what a project says about training one model.

A project subclasses :class:`Experiment` and implements :meth:`Experiment.build`. Everything else has a
default for tables. The flows call ``prepare`` and ``split``, for each trial ``space`` and ``validate``,
at last ``build``, ``score`` and ``log`` of the best trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from model_deployment_flows import metrics

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo
    from numpy.typing import NDArray
    from optuna.trial import BaseTrial

    from model_deployment.flow_project.search_space import Parameter
    from model_deployment.flow_project.settings import ExperimentSettings

#: Rows of the input example that is saved with a model.
_EXAMPLE_ROWS = 5
#: Columns of which the example has a row without a value.
_EXAMPLE_GAPS = 100
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


class Estimator(Protocol):
    """What ``build`` returns: scikit-learn's convention."""

    def fit(self, X: Any, y: Any) -> Any: ...

    def predict(self, X: Any) -> Any: ...


class Split(NamedTuple):
    """Rows to train with, and rows that are held out; in scikit-learn's order."""

    X_train: Any
    X_test: Any
    y_train: Any
    y_test: Any


class UnusableData(ValueError):
    """The data cannot train this experiment: why, and what helps."""


class Experiment:
    """One experiment of a project of flows.

    It is deterministic: equal data and settings give equal models.
    """

    #: The model types that ``build`` knows; ``model_types`` in the settings chooses among them. Empty: any.
    model_types: ClassVar[tuple[str, ...]] = ()
    #: Seed of splits and of the search; pass it to estimators too.
    seed: ClassVar[int] = 0
    #: Requirements of the model besides scikit-learn and pandas, as pip writes them.
    requirements: ClassVar[tuple[str, ...]] = ()
    #: The classes of the table that was divided last, the greatest last; None where it has none.
    classes: Sequence[str] | None = None

    def __init__(self, settings: ExperimentSettings, epochs: int | None = None) -> None:
        """``epochs`` is for estimators that are trained in epochs; None: what the settings say."""
        self.settings = settings
        self.epochs = epochs if epochs is not None else settings.epochs

    def space(self, trial: BaseTrial) -> dict[str, Any]:
        """The parameters of a trial, by the names that ``build`` reads.

        ``trial.params["model_type"]`` was chosen before. The default reads the ``search_space`` of the
        settings; a subclass may add parameters that the settings leave out.
        """
        model_type = str(trial.params["model_type"])
        searched = self.settings.search_space.get(model_type, {})
        return {name: suggest(trial, f"{model_type}.{name}", one) for name, one in searched.items()}

    def build(self, params: Mapping[str, Any]) -> Estimator:
        """An unfitted estimator for ``params``: those of ``space``, and ``model_type``.

        The estimator contains its whole preparation, so that the saved model takes rows as they come.
        """
        raise NotImplementedError(f"{type(self).__name__} has to implement build(params)")

    def prepare(self, frame: pd.DataFrame) -> tuple[Any, Any]:
        """Features and target of a table whose missing values are NaN already.

        The default leaves out rows without a target, orders the rows by the time column (those without a
        time first), drops that column, and makes whole numbers decimal, so that a missing value is no new
        type later.

        Raises:
            UnusableData: the target or the time column is not there, or no row has a target.
        """
        target, time = self.settings.target, self.settings.time_column
        for column in (target, time):
            if column and column not in frame.columns:
                raise UnusableData(
                    f"cannot train on these data: they have no column {column!r}, which the settings "
                    f"name; they have {', '.join(map(repr, frame.columns[:20]))}"
                )
        frame = frame[frame[target].notna()]
        if frame.empty:
            raise UnusableData(f"cannot train on these data: no row has a value of {target!r}")
        if time:
            frame = frame.sort_values(time, kind="stable", na_position="first", key=_moments)
        X = frame.drop(columns=[target, *([time] if time else [])])
        whole = X.select_dtypes("integer").columns
        return X.astype(dict.fromkeys(whole, "float64")), frame[target]

    def split(self, X: Any, y: Any) -> Split:
        """Hold out about ``test_share`` of the rows, which neither the study nor the final fit sees.

        With a time column these are the last rows. Otherwise the content of a row decides: the same row is
        held out in every version of the data, so no version trains on a row that judges another one.

        Raises:
            UnusableData: there are too few rows.
        """
        share = self.settings.test_share
        if self.settings.time_column:
            held = np.arange(len(X)) >= len(X) - int(np.ceil(len(X) * share))
        else:
            held = held_out(X, y, share)
        if not held.any() or held.all():
            raise UnusableData(
                f"cannot hold out {share:g} of {len(X)} rows: one part has no rows; give more data"
            )
        return Split(X[~held], X[held], y[~held], y[held])

    def divide(self, frame: pd.DataFrame) -> Split:
        """Prepare a table and split it; its classes decide how all of its parts are scored.

        Raises:
            UnusableData: as ``prepare`` and ``split`` do.
        """
        X, y = self.prepare(frame)
        if self.settings.task == "classification":
            self.classes = metrics.classes_of(y)
        return self.split(X, y)

    def validate(self, params: Mapping[str, Any], X: Any, y: Any) -> dict[str, float]:
        """Scores of ``params`` on a part of the training rows that the estimator was not fitted on."""
        share = self.settings.test_share
        if self.settings.time_column:
            parts = train_test_split(X, y, test_size=share, shuffle=False)
        else:
            classes = self.settings.task == "classification" and _can_stratify(y, share)
            parts = train_test_split(
                X, y, test_size=share, random_state=self.seed, stratify=y if classes else None
            )
        part = Split(*parts)
        estimator = self.build(params)
        estimator.fit(part.X_train, part.y_train)
        return self.score(part.y_test, self.predict(estimator, part.X_test))

    def predict(self, model: Any, X: Any) -> Any:
        """Predictions of an estimator of ``build``, or of the same model loaded by ``mlflow.pyfunc``."""
        return model.predict(X)

    def score(self, truth: Any, predicted: Any) -> dict[str, float]:
        """Metrics by MLflow's names; has to contain the ``metric`` of the settings."""
        if self.settings.task == "classification":
            return metrics.of_classes(truth, predicted, self.classes)
        return metrics.of_amounts(truth, predicted)

    def example(self, X: Any) -> Any:
        """The input example that is saved with the model: rows as a caller sends them.

        The signature is inferred from it, so each column that may be empty is empty in one of the rows.
        """
        if not isinstance(X, pd.DataFrame):
            return X[:_EXAMPLE_ROWS]
        gaps = X.isna()
        empty = [int(np.argmax(gaps[name])) for name in X.columns if gaps[name].any()]
        rows = sorted({*range(min(_EXAMPLE_ROWS, len(X))), *empty[:_EXAMPLE_GAPS]})
        return X.iloc[rows].reset_index(drop=True)

    def reference(self, X: Any, y: Any) -> pd.DataFrame | None:
        """The rows that the model was trained on, for degradation reports: inputs and target.

        None: there are none to keep.
        """
        return pd.DataFrame(X).assign(**{self.settings.target: np.asarray(y)})

    def log(self, estimator: Any, example: Any, params: Mapping[str, Any]) -> ModelInfo:
        """Save the fitted estimator in the active MLflow run, with its signature; registers nothing."""
        from model_deployment_flows.sklearn_model import log_estimator

        module = type(self).__module__
        return log_estimator(estimator, example, params, self.requirements, module)


def suggest(trial: BaseTrial, name: str, searched: Parameter) -> Any:
    """A value of one parameter of a search space, chosen by the trial under this name."""
    if searched.type == "categorical":
        return trial.suggest_categorical(name, list(searched.choices))
    low, high, step, log = searched.low, searched.high, searched.step, searched.log
    if searched.type == "int":
        return trial.suggest_int(name, low, high, step=step or 1, log=log)
    return trial.suggest_float(name, low, high, step=step, log=log)


def held_out(X: Any, y: Any, share: float) -> NDArray[np.bool_]:
    """Which rows are held out, by the content of each row: about ``share`` (0-1) of the different rows.

    Raises:
        UnusableData: a cell holds a list or the like.
    """
    truth = pd.Series(np.asarray(y))
    # A column of whole numbers is one of decimals where a value is missing in another row.
    truth = truth.astype("float64" if truth.dtype.kind in "iuf" else object)
    try:
        hashes = pd.util.hash_pandas_object(pd.DataFrame(X).reset_index(drop=True), index=False)
    except TypeError as error:  # cells that hold lists or objects
        raise UnusableData(
            f"cannot tell rows apart to hold some out: {error}; have prepare() leave such columns out, "
            "or implement split()"
        ) from error
    mixed = hashes.to_numpy() * _FACTOR + pd.util.hash_array(truth.to_numpy())
    # The lower bits of products are less random than the upper ones.
    held: NDArray[np.bool_] = (mixed >> np.uint64(11)) < np.uint64(share * 2**53)
    return held


def _moments(times: pd.Series[Any]) -> pd.Series[Any]:
    """Times that can be put in order; dates may be texts in any of the forms that pandas reads."""
    if not pd.api.types.is_object_dtype(times) and not pd.api.types.is_string_dtype(times):
        return times
    read = pd.to_datetime(times, utc=True, format="mixed", errors="coerce")
    return times.astype(str) if read.isna().all() else read


def _can_stratify(y: Any, share: float) -> bool:
    """Whether each class has two rows, and each part has room for all classes."""
    counts = pd.Series(y).value_counts()
    least = min(share, 1 - share) * len(y)
    return bool(counts.min() >= 2 and len(counts) < least)
