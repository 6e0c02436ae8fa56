"""Estimators of time series, in scikit-learn's convention: windows in, ``horizon`` values out."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from model_deployment_flows.series import served_model as served
from model_deployment_flows.series.windows import Floats, longest_stretch, season_of


class Forecaster:
    """What all kinds have: they save themselves as :func:`served_model.load_forecast` reads it."""

    model_type: ClassVar[str]

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self._window = 0
        self._forecast: served.Forecast | None = None

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from windows ``(rows, window)`` and the values after them ``(rows, horizon)``."""
        windows, following = np.asarray(X, np.float64), np.asarray(y, np.float64)
        self._window = windows.shape[1]
        self._forecast = self._learn(windows, following)
        return self

    def predict(self, X: Any) -> Floats:
        """The next ``horizon`` values of each window."""
        if self._forecast is None:
            raise ValueError("cannot predict: fit() comes first")
        return self._forecast(np.asarray(X, np.float64))

    def save(self, folder: Path) -> None:
        described = {"model_type": self.model_type, "window": self._window, "horizon": self.horizon}
        text = json.dumps(described | self._described(), indent=1)
        (folder / served.DESCRIPTION).write_text(text, encoding="utf-8")

    def _learn(self, windows: Floats, following: Floats) -> served.Forecast:
        raise NotImplementedError

    def _described(self) -> dict[str, Any]:
        raise NotImplementedError


class SeasonalNaive(Forecaster):
    """The last season again. What any other model has to beat."""

    model_type = "seasonal_naive"

    def _learn(self, windows: Floats, following: Floats) -> served.Forecast:
        self._season = season = season_of(windows, self._window - 1)
        return lambda rows: served.seasonal_naive(rows, season, self.horizon)

    def _described(self) -> dict[str, Any]:
        return {"season": self._season}


class Linear(Forecaster):
    """A direct autoregression: ridge regression from the window to each step."""

    model_type = "linear"

    def _learn(self, windows: Floats, following: Floats) -> served.Forecast:
        from sklearn.linear_model import RidgeCV

        centre, spread = served.scale_of(windows)
        ridge = RidgeCV(np.logspace(-3, 4, 15))
        ridge.fit((windows - centre) / spread, (following - centre) / spread)
        self._weights = weights = np.atleast_2d(ridge.coef_).T
        self._intercept = intercept = np.atleast_1d(ridge.intercept_)
        return lambda rows: served.linear(rows, weights, intercept)

    def _described(self) -> dict[str, Any]:
        return {"weights": self._weights.tolist(), "intercept": self._intercept.tolist()}


class HoltWinters(Forecaster):
    """Exponential smoothing (statsmodels): parameters learned from the series, state from each window."""

    model_type = "holt_winters"

    def _learn(self, windows: Floats, following: Floats) -> served.Forecast:
        from statsmodels.tsa.holtwinters import ExponentialSmoothing

        # The state is estimated from two seasons at least.
        self._season = season = season_of(windows, (self._window - 10) // 2)
        form = served.holt_winters_form(season)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the optimum is at a limit of a parameter
            fitted = ExponentialSmoothing(longest_stretch(windows), **form).fit()
        names = ("smoothing_level", "smoothing_trend", "smoothing_seasonal", "damping_trend")
        self._smoothing = smoothing = {
            name: float(fitted.params[name])
            for name in names
            if name in fitted.params and np.isfinite(fitted.params[name])
        }
        return lambda rows: served.holt_winters(rows, smoothing, season, self.horizon)

    def _described(self) -> dict[str, Any]:
        return {"season": self._season, "smoothing": self._smoothing}


BASELINES: Mapping[str, type[Forecaster]] = {
    kind.model_type: kind for kind in (SeasonalNaive, HoltWinters, Linear)
}
