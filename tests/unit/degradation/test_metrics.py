"""Whether metrics and their errors are what they should be."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from model_deployment.core.metric_names import Baseline, baselines, direction, normalised
from model_deployment.degradation.data.labels import canonical, guess_task, labelled
from model_deployment.degradation.metric_verdict import approximate_error, proportion_error
from model_deployment.degradation.statistics.metrics import measure

CHANCE = np.random.default_rng(0)


def table(*columns: Any) -> pd.DataFrame:
    if len(columns) == 1:
        return pd.DataFrame({"__prediction": columns[0]})
    return pd.DataFrame({f"__prediction_{k}": one for k, one in enumerate(columns)})


def test_regression_agrees_with_scikit_learn() -> None:
    truth = CHANCE.normal(10, 2, 300)
    said = truth + CHANCE.normal(0, 1, 300)
    found = measure(labelled(pd.Series(truth), table(said), None))
    assert found["rmse"].value == pytest.approx(sk.root_mean_squared_error(truth, said))
    assert found["mae"].value == pytest.approx(sk.mean_absolute_error(truth, said))
    assert found["r2"].value == pytest.approx(sk.r2_score(truth, said))
    assert found["mape"].value == pytest.approx(sk.mean_absolute_percentage_error(truth, said))
    assert found["max_error"].value == pytest.approx(sk.max_error(truth, said))


def test_standard_errors_are_those_of_many_samples() -> None:
    values: dict[str, list[float]] = {"rmse": [], "mae": [], "r2": []}
    estimated: dict[str, list[float]] = {"rmse": [], "mae": [], "r2": []}
    for _ in range(80):
        truth = CHANCE.normal(0, 2, 200)
        found = measure(labelled(pd.Series(truth), table(truth + CHANCE.normal(0, 1, 200)), None))
        for name, several in values.items():
            several.append(found[name].value)
            estimated[name].append(found[name].standard_error or 0)
    for name, many in values.items():
        assert np.mean(estimated[name]) == pytest.approx(np.std(many), rel=0.3)


def test_classification_agrees_with_scikit_learn() -> None:
    truth = CHANCE.choice(["cat", "dog", "owl"], 300)
    said = np.where(CHANCE.random(300) < 0.8, truth, "cat")
    found = measure(labelled(pd.Series(truth), table(said), None))
    assert found["accuracy"].value == pytest.approx(sk.accuracy_score(truth, said))
    best = max(sk.f1_score(truth, said, average=how) for how in ("macro", "weighted"))
    assert found["f1"].value == pytest.approx(best)


def test_probabilities_agree_with_scikit_learn() -> None:
    truth = CHANCE.integers(0, 2, 300)
    probability = np.clip(truth * 0.3 + CHANCE.random(300) * 0.7, 0.01, 0.99)
    for columns in ((probability,), (1 - probability, probability)):
        found = measure(labelled(pd.Series(truth), table(*columns), "classification"))
        assert found["roc_auc"].value == pytest.approx(sk.roc_auc_score(truth, probability))
        assert found["log_loss"].value == pytest.approx(sk.log_loss(truth, probability))
        assert found["accuracy"].value == pytest.approx(
            sk.accuracy_score(truth, probability >= 0.5)
        )


def test_probabilities_of_many_classes() -> None:
    said = np.eye(3)[[0, 1, 2, 2]]
    found = measure(labelled(pd.Series([0, 1, 2, 1]), table(*said.T), None))
    assert found["accuracy"].value == 0.75


def test_several_outputs_of_another_kind_have_no_metrics() -> None:
    truth = pd.Series([1.5, 2.5, 3.5])
    assert measure(labelled(truth, table([1.0, 2, 3], [4.0, 5, 6]), None)) == {}


@pytest.mark.parametrize("spelling", [1, 1.0, "1", "1.0", True, "true", " True ", np.int64(1)])
def test_one_class_has_one_spelling(spelling: Any) -> None:
    assert canonical(spelling) == "1"


def test_task_is_guessed() -> None:
    whole, real = pd.Series([0, 1, 1]), pd.Series([0.5, 1, 2])
    assert guess_task(whole, table([1, 0, 1])) == "classification"
    assert guess_task(whole, table([1.5, 0, 1])) == "regression"
    assert guess_task(real, table([1, 0, 1])) == "regression"
    assert guess_task(pd.Series(["a", "b"]), table(["a", "a"])) == "classification"
    assert guess_task(pd.Series([True, False], dtype=object), table([1, 0])) == "classification"


@pytest.mark.parametrize("values", [[5.0], [5.0, 5.0], [np.nan], [1e308, -1e308], []])
def test_measure_takes_odd_labels(values: list[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of overflow
        for task in ("regression", "classification"):
            measure(labelled(pd.Series(values, dtype=float), table(values), task))


def test_a_perfect_score_is_not_certain() -> None:
    assert proportion_error(1.0, 30) > 0.04
    assert approximate_error("rmse", 10.0, None) is None
    assert approximate_error("rmse", 10.0, 100) == 1.0


def test_halves_are_by_time() -> None:
    rows = labelled(pd.Series([1.5, 2, 3, 4, 5]), table([1.0, 2, 3, 4, 5]), None)
    first, second = rows.halves()
    assert (list(first.truth), list(second.truth)) == ([1.5, 2], [3, 4, 5])


@pytest.mark.parametrize(
    ("name", "plain", "split"),
    [
        ("rmse", "rmse", "run"),
        ("training_root_mean_squared_error", "rmse", "training"),
        ("test_r2_score", "r2", "test"),
        ("val/accuracy_score", "accuracy", "validation"),
        ("eval_f1-score", "f1", "validation"),
        ("accuracy_score_X_test", "accuracy", "test"),
        ("Log Loss", "log_loss", "run"),
        ("profit", "profit", "run"),
        ("training", "training", "run"),
    ],
)
def test_metric_names_are_normalised(name: str, plain: str, split: str) -> None:
    assert normalised(name) == (plain, split)


def test_baseline_is_of_the_best_split() -> None:
    found = baselines({"training_rmse": 1, "rmse": 2, "val_rmse": 3, "test_mean_squared_error": 4})
    assert found == {"rmse": Baseline(3, "validation"), "mse": Baseline(4, "test")}
    assert (direction("rmse"), direction("r2"), direction("profit")) == ("lower", "higher", None)
