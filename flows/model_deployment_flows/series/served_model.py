"""The model of a time series as MLflow saves and serves it: a window of values in, the next values out.

MLflow saves a copy of this file with each model and runs the copy to load the model ("models from code").
So it imports nothing of this package, and heavy libraries only where the kind of model needs them. Training
predicts with the same functions.

A model's folder has ``forecaster.json`` (``model_type``, ``window``, ``horizon``, and what the kind needs)
and, of a network, ``network.keras``.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
from numpy.typing import NDArray

DESCRIPTION, NETWORK = "forecaster.json", "network.keras"
#: The param that says how many values are predicted.
STEPS = "prediction_step"
#: JAX compiles a network for each number of rows, so there are two: rows are filled up to one of them.
_ROWS = (1, 32)

Floats = NDArray[np.float64]
#: Predicts ``(rows, horizon)`` values from ``(rows, window)`` values.
Forecast = Callable[[Floats], Floats]


def scale_of(windows: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each window; 1 for the deviation of a constant window.

    Each window is scaled by itself, so that a model goes on with a trend beyond the values it has seen.
    """
    centre = windows.mean(axis=1, keepdims=True)
    spread = windows.std(axis=1, keepdims=True)
    constant = spread <= 1e-12 * np.maximum(1.0, np.abs(centre))
    return centre, np.where(constant, 1.0, spread)


def seasonal_naive(windows: Floats, season: int, horizon: int) -> Floats:
    """The last season again and again; the last value if ``season`` is 1."""
    return np.take(windows[:, -season:], np.arange(horizon) % season, axis=1)


def linear(windows: Floats, weights: Floats, intercept: Floats) -> Floats:
    """A linear combination of the scaled window for each step: a direct autoregression."""
    centre, spread = scale_of(windows)
    return ((windows - centre) / spread @ weights + intercept) * spread + centre


def holt_winters(
    windows: Floats, smoothing: Mapping[str, float], season: int, horizon: int
) -> Floats:
    """Exponential smoothing with a damped trend and a season, with known smoothing parameters."""
    from statsmodels.tsa.holtwinters import ExponentialSmoothing

    form = holt_winters_form(season)
    return np.array([
        ExponentialSmoothing(window, **form).fit(**smoothing, optimized=False).forecast(horizon)
        for window in windows
    ]).reshape(len(windows), horizon)  # fmt: skip


def holt_winters_form(season: int) -> dict[str, Any]:
    """The arguments of statsmodels' ``ExponentialSmoothing``; without a season if ``season`` is 1."""
    seasonal = {"seasonal": "add", "seasonal_periods": season} if season > 1 else {}
    return {
        "trend": "add",
        "damped_trend": True,
        "initialization_method": "heuristic",
        **seasonal,
    }


def choose_backend() -> None:
    """Keras on JAX, on processors. To be called before Keras is imported."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")


def network_forecast(network: Any) -> Forecast:
    """Predicts with a Keras network that takes and gives scaled values; compiled when first used."""
    import jax

    trainable = [variable.value for variable in network.trainable_variables]
    others = [variable.value for variable in network.non_trainable_variables]

    @jax.jit
    def call(rows: Any) -> Any:
        return network.stateless_call(trainable, others, rows, training=False)[0]

    def forecast(windows: Floats) -> Floats:
        centre, spread = scale_of(windows)
        scaled = ((windows - centre) / spread).astype(np.float32)[..., None]
        size = _ROWS[0] if len(scaled) <= _ROWS[0] else _ROWS[-1]
        parts = [
            np.asarray(call(_filled(scaled[start : start + size], size)), np.float64)
            for start in range(0, len(scaled), size)
        ]
        return np.concatenate(parts)[: len(scaled)] * spread + centre

    return forecast


def _filled(rows: Any, size: int) -> Any:
    return np.concatenate([rows, np.zeros((size - len(rows), *rows.shape[1:]), rows.dtype)])


def load_forecast(folder: Path) -> tuple[dict[str, Any], Forecast]:
    """The description in a model's folder, and what predicts."""
    described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    horizon, season = described["horizon"], described.get("season", 1)
    match described["model_type"]:
        case "seasonal_naive":
            return described, lambda windows: seasonal_naive(windows, season, horizon)
        case "linear":
            weights, intercept = np.array(described["weights"]), np.array(described["intercept"])
            return described, lambda windows: linear(windows, weights, intercept)
        case "holt_winters":
            smoothing = described["smoothing"]
            return described, lambda windows: holt_winters(windows, smoothing, season, horizon)
    choose_backend()
    import keras

    network = keras.saving.load_model(folder / NETWORK, compile=False)
    return described, network_forecast(network)


class ServedSeries(PythonModel):
    """Answers with an array of ``(rows, prediction_step)`` values."""

    def load_context(self, context: Any) -> None:
        """Load the model and compile it: the first caller shall not wait for that."""
        self._described, self._forecast = load_forecast(Path(context.artifacts["forecaster"]))
        for rows in _ROWS:
            self._forecast(np.tile(np.arange(self._described["window"], dtype=float), (rows, 1)))

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> Floats:
        """
        Raises:
            MlflowException: the window or the number of steps cannot be used. Its text begins as MLflow's
                own checks do, by which servers know that it is about the request.
        """
        window, horizon = self._described["window"], self._described["horizon"]
        steps = (params or {}).get(STEPS, horizon)
        if not 1 <= steps <= horizon:
            raise MlflowException.invalid_parameter_value(
                f"Invalid parameters found: {STEPS} is {steps}, and has to be from 1 to {horizon}"
            )
        windows = np.asarray(model_input, dtype=np.float64)
        if windows.ndim != 2 or windows.shape[1] != window or not np.isfinite(windows).all():
            raise MlflowException.invalid_parameter_value(
                f"Failed to enforce schema: each row has to have {window} finite numbers"
            )
        return self._forecast(windows)[:, :steps]


set_model(ServedSeries())
