"""An experiment with a time series: its models get the last values, and predict the next ones."""

import logging
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from model_deployment_flows.experiment import Experiment, Split, UnusableData
from model_deployment_flows.series import served_model
from model_deployment_flows.series.forecasters import BASELINES, Forecaster
from model_deployment_flows.series.networks import NETWORKS, Network
from model_deployment_flows.series.windows import Floats, even_series, windows_of

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo
    from optuna.trial import BaseTrial

_log = logging.getLogger(__name__)

#: Libraries of a saved model, by model type; a network needs those of the last entry.
_LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "seasonal_naive": (),
    "linear": (),
    "holt_winters": ("statsmodels",),
}
_OF_NETWORKS = ("keras", "jax")


class SeriesExperiment(Experiment):
    """Windows of ``window`` values in, the next ``horizon`` values out.

    The table has one row for each moment; only the target and its time are read. Subclasses may set other
    lengths. All model types compete under ``auto``: a network that does not beat the simple ones is not
    chosen.
    """

    #: Values that a prediction is made from.
    window: ClassVar[int] = 30
    #: Values that are predicted at most.
    horizon: ClassVar[int] = 7
    model_types: ClassVar[tuple[str, ...]] = (*BASELINES, *NETWORKS)
    #: The held-out windows of the last comparison, and the metric of each simple model type.
    _scored: tuple[pd.DataFrame, Mapping[str, float]] | None = None

    def space(self, trial: "BaseTrial") -> dict[str, Any]:
        """Of networks: ``units``, ``learning_rate`` and ``batch_size``; the settings may narrow them."""
        chosen = super().space(trial)
        model_type = str(trial.params["model_type"])
        if model_type in NETWORKS:
            if "units" not in chosen:
                chosen["units"] = trial.suggest_int(f"{model_type}.units", 16, 48, step=16)
            if "learning_rate" not in chosen:
                name = f"{model_type}.learning_rate"
                chosen["learning_rate"] = trial.suggest_float(name, 0.002, 0.02, log=True)
        return chosen

    def build(self, params: Mapping[str, Any]) -> Forecaster:
        """
        Raises:
            ValueError: there is no such model type, or it has no such parameter.
        """
        given = dict(params)
        model_type = given.pop("model_type")
        try:
            if model_type in BASELINES:
                return BASELINES[model_type](self.horizon, **given)
            if model_type in NETWORKS:
                epochs, seed = self.epochs, self.seed
                return Network(model_type, self.horizon, epochs=epochs, seed=seed, **given)
        except TypeError as error:
            raise ValueError(f"cannot build {model_type} with {sorted(given)}: {error}") from error
        raise ValueError(
            f"cannot build the model type {model_type!r}: there are {', '.join(self.model_types)}"
        )

    def prepare(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Windows and the values after them, oldest first, without those that have a gap.

        Raises:
            UnusableData: a column is not there, the times are not evenly spaced, or the series is short.
        """
        target, time = self.settings.target, self.settings.time_column
        for column in (target, time):
            if column not in frame.columns:
                raise UnusableData(
                    f"cannot make a series of these data: they have no column {column!r}, which the "
                    f"settings name; they have {', '.join(map(repr, frame.columns[:20]))}"
                )
        values = even_series(frame[time], frame[target])
        return windows_of(values, self.window, self.horizon)

    def split(self, X: Any, y: Any) -> Split:
        """Hold out the last ``test_share`` of the windows, and leave out those whose targets overlap."""
        held = int(np.ceil(len(X) * self.settings.test_share))
        kept = len(X) - held - (self.horizon - 1)
        if held < 1 or kept < 2:
            raise UnusableData(
                f"cannot hold out {self.settings.test_share} of {len(X)} windows: too few are left; "
                "give a longer series"
            )
        return Split(X[:kept], X[-held:], y[:kept], y[-held:])

    def validate(self, params: Mapping[str, Any], X: Any, y: Any) -> dict[str, float]:
        """Scores of ``params``, and the metric of the model types that need no search, to compare with."""
        part = self.split(X, y)
        estimator = self.build(params).fit(part.X_train, part.y_train)
        scores = self.score(part.y_test, estimator.predict(part.X_test))
        metric = self.settings.metric
        if params["model_type"] not in NETWORKS or metric not in scores:
            return scores
        simple = self._simple(part, metric)
        sign = -1 if self.settings.maximize else 1
        best = min(simple, key=lambda name: sign * simple[name])
        if sign * simple[best] <= sign * scores[metric]:
            _log.warning(
                "%s is no worse than the network %s: %s %.4g against %.4g",
                best, params["model_type"], metric, simple[best], scores[metric],
            )  # fmt: skip
        return scores | {f"{name}_{metric}": value for name, value in simple.items()}

    def _simple(self, part: Split, metric: str) -> Mapping[str, float]:
        """The metric of the model types that need no search; computed once for the data of a study."""
        if self._scored is None or not self._scored[0].equals(part.X_test):
            scores = {}
            for name, kind in BASELINES.items():
                found = kind(self.horizon).fit(part.X_train, part.y_train).predict(part.X_test)
                scores[name] = self.score(part.y_test, found)[metric]
            self._scored = part.X_test, scores
        return self._scored[1]

    def predict(self, model: Any, X: Any) -> Floats:
        """All steps, of an estimator of ``build`` or of a model that ``mlflow.pyfunc`` has loaded."""
        if isinstance(model, Forecaster):
            return model.predict(X)
        return np.asarray(model.predict(X, params={served_model.STEPS: self.horizon}), np.float64)

    def reference(self, X: Any, y: Any) -> pd.DataFrame:
        """The windows, with the next value of each as the target."""
        name = self.settings.target
        return pd.DataFrame(X).assign(**{name if name not in X else f"{name}_next": y["step_1"]})

    def log(self, estimator: Any, example: Any, params: Mapping[str, Any]) -> "ModelInfo":
        """Save the forecaster with the file that serves it; the model needs none of our packages."""
        import mlflow
        from mlflow.models import infer_signature
        from mlflow.types import Schema, TensorSpec

        signature = infer_signature(example, params={served_model.STEPS: self.horizon})
        signature.outputs = Schema([TensorSpec(np.dtype("float64"), (-1, -1))])
        libraries = ["mlflow", "numpy", "pandas"]
        libraries += _LIBRARIES.get(estimator.model_type, _OF_NETWORKS)
        with tempfile.TemporaryDirectory(prefix="forecaster-") as folder:
            estimator.save(Path(folder))
            return mlflow.pyfunc.log_model(
                name="model",
                python_model=served_model.__file__,
                artifacts={"forecaster": folder},
                params={name: str(value) for name, value in params.items()},
                signature=signature,
                input_example=example,
                metadata={
                    "timeseries": {"window": self.window, "horizon": self.horizon},
                    "model_type": estimator.model_type,
                },
                pip_requirements=[f"{name}=={version(name)}" for name in libraries],
            )
