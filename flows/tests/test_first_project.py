"""The project that ``flows init`` writes: its experiments train, and its drifted table needs retraining."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from model_deployment_flows.experiment import Experiment, Split
from model_deployment_flows.frames import read_frame
from model_deployment_flows.project_class import experiment_class

from model_deployment.flow_project import ExperimentSettings, load
from model_deployment.flow_project.create import MAKE_DATA, create

PARAMS: dict[str, dict[str, Any]] = {
    "random_forest": {"n_estimators": 40, "max_depth": 8, "min_samples_leaf": 3},
    "gradient_boosting": {"n_estimators": 40, "max_depth": 3, "learning_rate": 0.2},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("first") / "project"
    create(folder)
    for options in ((), ("--drifted",)):
        subprocess.run([sys.executable, MAKE_DATA, *options], cwd=folder, check=True)
    before = [*sys.path]
    yield folder
    sys.path[:] = before  # its modules would hide those of other projects


def experiment(folder: Path, name: str) -> tuple[Experiment, ExperimentSettings]:
    settings = load(folder).experiments[name]
    return experiment_class(settings, folder)(settings), settings


def split(income: Experiment, settings: ExperimentSettings, file: Path) -> Split:
    return income.split(*income.prepare(read_frame(file, settings.missing_values)))


def test_a_model_of_the_original_data_is_worse_on_the_drifted_table(folder: Path) -> None:
    income, settings = experiment(folder, "income")
    original = split(income, settings, folder / "data" / "income.csv")
    drifted = split(income, settings, folder / "data" / "income-drifted.csv")
    assert isinstance(original.X_train, pd.DataFrame)
    assert original.X_train["workclass"].isna().any()  # the question marks

    for model_type, params in PARAMS.items():

        def f1(trained: Split, asked: Split) -> float:
            model = income.build({"model_type": model_type, **params})  # noqa: B023
            model.fit(trained.X_train, trained.y_train)
            return income.score(asked.y_test, income.predict(model, asked.X_test))["f1_score"]

        first, later, retrained = (
            f1(original, original),
            f1(original, drifted),
            f1(drifted, drifted),
        )
        assert first > 0.6, model_type
        assert later < first - 0.1, model_type
        assert retrained > later + 0.2, model_type


def test_the_series_is_predicted_within_its_threshold(folder: Path) -> None:
    sales, settings = experiment(folder, "sales")
    made = split(sales, settings, folder / "data" / "sales.csv")
    model = sales.build({"model_type": "linear"})
    model.fit(made.X_train, made.y_train)
    found = sales.score(made.y_test, sales.predict(model, made.X_test))
    assert found["mean_absolute_error"] < (
        settings.thresholds["mean_absolute_error"].threshold or 0
    )
