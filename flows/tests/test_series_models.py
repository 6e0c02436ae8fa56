"""Models of time series: they learn, save themselves, and are served without this package."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from model_deployment_flows.experiment import UnusableData
from model_deployment_flows.series import SeriesExperiment
from model_deployment_flows.series.forecasters import BASELINES
from model_deployment_flows.series.networks import NETWORKS

from model_deployment.core.series import STEPS, Series, series_of
from model_deployment.flow_project import ExperimentSettings

DAYS = 240
#: Loads a model where this package is not to be found, and predicts.
_SERVE = """
import json, sys
sys.path[:] = [path for path in sys.path if not path.endswith("/flows")]
import mlflow.pyfunc
model = mlflow.pyfunc.load_model(sys.argv[1])
import pandas as pd
frame = pd.DataFrame([json.loads(sys.argv[2])], columns=[f"value_{n + 1}" for n in range(30)])
print(json.dumps(model.predict(frame, params={"prediction_step": 3}).tolist()))
assert "model_deployment_flows" not in sys.modules
"""


def sales(days: int = DAYS) -> pd.DataFrame:
    """Daily values with a week and a trend."""
    day = np.arange(days)
    noise = np.random.default_rng(0).normal(0, 1, days)
    values = 50 + 0.1 * day + 8 * np.sin(2 * np.pi * day / 7) + noise
    return pd.DataFrame({"date": pd.date_range("2025-01-01", periods=days), "sales": values})


def experiment(epochs: int = 2) -> SeriesExperiment:
    settings = ExperimentSettings.model_validate(
        {
            "class": "experiments.sales:Sales", "data": "sales.csv", "target": "sales",
            "task": "timeseries", "time_column": "date", "model_types": ["linear", "gru"],
        }
    )  # fmt: skip
    return SeriesExperiment(settings, epochs)


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("mlflow")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.create_experiment("sales", artifact_location=f"file://{folder}/artifacts")
    mlflow.set_experiment("sales")
    yield
    mlflow.set_tracking_uri(before)


def test_the_held_out_part_is_the_last_and_shares_no_target() -> None:
    one = experiment()
    X, y = one.prepare(sales())
    part = one.split(X, y)
    assert len(part.X_test) == int(np.ceil(len(X) * 0.2))
    assert part.X_test.index[-1] == X.index[-1]
    # Window n predicts the values n + 30 to n + 36.
    assert part.X_train.index[-1] + 6 < part.X_test.index[0]
    with pytest.raises(UnusableData, match="longer series"):
        one.split(X[:8], y[:8])


def test_simple_models_beat_repeating_the_last_value() -> None:
    one = experiment()
    part = one.split(*one.prepare(sales()))
    last = np.repeat(part.X_test.to_numpy()[:, -1:], one.horizon, axis=1)
    limit = one.score(part.y_test, last)["mean_absolute_error"]
    for model_type in BASELINES:
        model = one.build({"model_type": model_type}).fit(part.X_train, part.y_train)
        found = one.score(part.y_test, model.predict(part.X_test))
        assert found["mean_absolute_error"] < limit / 2, model_type


def test_a_model_goes_on_with_a_trend_beyond_what_it_has_seen() -> None:
    one = experiment()
    X, y = one.prepare(sales())
    model = one.build({"model_type": "linear"}).fit(X, y)
    assert np.allclose(model.predict(X + 1e6) - 1e6, model.predict(X), atol=1e-3)
    assert np.allclose(model.predict(np.full((1, 30), 7.0)), 7, atol=1)  # a constant window


@pytest.mark.parametrize("model_type", [*BASELINES, "conv1d_bilstm"])
@pytest.mark.usefixtures("tracked")
def test_a_saved_model_predicts_the_same(model_type: str) -> None:
    one = experiment()
    X, y = one.prepare(sales())
    small = {"units": 4} if model_type in NETWORKS else {}
    model = one.build({"model_type": model_type, **small}).fit(X, y)
    with mlflow.start_run():
        info = one.log(model, one.example(X), {"model_type": model_type})
    loaded = mlflow.pyfunc.load_model(info.model_uri)
    rows = X[:40]
    assert np.allclose(one.predict(loaded, rows), model.predict(rows), atol=1e-6)
    assert np.allclose(one.predict(loaded, rows[:1]), model.predict(rows)[:1], atol=1e-4)
    said = loaded.metadata.to_dict()
    signature = loaded.metadata.signature.to_dict()
    assert isinstance(said, dict)
    found = series_of(said, *(json.loads(signature[part]) for part in ("inputs", "params")))
    assert found == Series(30, 7, tuple(X.columns), takes_steps=True)
    for steps in (0, 8):
        with pytest.raises(mlflow.MlflowException, match="from 1 to 7"):
            loaded.predict(rows, params={STEPS: steps})
    with pytest.raises(mlflow.MlflowException, match="30 finite numbers"):
        loaded.predict(rows.replace(rows.iloc[0, 0], float("nan")))


@pytest.mark.usefixtures("tracked")
def test_a_saved_model_is_loaded_without_the_flows(tmp_path: Path) -> None:
    one = experiment()
    X, y = one.prepare(sales())
    model = one.build({"model_type": "seasonal_naive"}).fit(X, y)
    with mlflow.start_run():
        info = one.log(model, one.example(X), {"model_type": "seasonal_naive"})
    folder = mlflow.artifacts.download_artifacts(info.model_uri, dst_path=str(tmp_path / "model"))
    values = X.iloc[0].tolist()
    done = subprocess.run(
        [sys.executable, "-c", _SERVE, folder, str(values)],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert np.allclose(json.loads(done.stdout), [values[-7:-4]])


def test_a_network_is_the_same_each_time() -> None:
    one = experiment(epochs=1)
    X, y = one.prepare(sales(70))
    made = [one.build({"model_type": "gru", "units": 4}).fit(X, y).predict(X) for _ in range(2)]
    assert np.array_equal(made[0], made[1])


def test_a_trial_says_what_the_network_has_to_beat(caplog: pytest.LogCaptureFixture) -> None:
    one = experiment(epochs=1)
    X, y = one.prepare(sales())
    scores = one.validate({"model_type": "gru", "units": 4, "learning_rate": 1e-5}, X, y)
    assert scores["linear_mean_absolute_error"] < scores["mean_absolute_error"]
    assert "is no worse than the network gru" in caplog.text
    assert "linear_mean_absolute_error" not in one.validate({"model_type": "linear"}, X, y)


def test_what_cannot_be_built_is_named() -> None:
    for params in ({"model_type": "arima"}, {"model_type": "linear", "units": 3}):
        with pytest.raises(ValueError, match="cannot build"):
            experiment().build(params)


def test_the_reference_is_the_windows_and_the_next_value() -> None:
    one = experiment()
    X, y = one.prepare(sales())
    frame = one.reference(X, y)
    assert [*frame.columns] == [*X.columns, "sales"]
    assert frame["sales"].equals(y["step_1"].rename("sales"))
