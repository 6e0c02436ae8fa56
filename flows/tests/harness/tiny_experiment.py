"""A small experiment: a decision tree on a few rows, for tests."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from model_deployment_flows.experiment import Experiment
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from model_deployment.flow_project import ExperimentSettings
from model_deployment.flow_project.parse import parse

SETTINGS = """
experiments:
  tiny:
    class: experiments.tiny:Tiny
    data: data/tiny.csv
    target: bought
    task: classification
    model_types: [shallow, deep]
    search_space:
      shallow: {max_depth: {type: int, low: 1, high: 3}}
      deep:
        max_depth: {type: int, low: 4, high: 8}
        criterion: {type: categorical, choices: [gini, entropy]}
    trials: 4
    thresholds: {f1_score: {threshold: 0.6, min_absolute_change: 0.0}}
"""


class Tiny(Experiment):
    model_types = ("shallow", "deep")

    def build(self, params: Mapping[str, Any]) -> Any:
        rest = {name: value for name, value in params.items() if name != "model_type"}
        texts = make_column_selector(dtype_exclude="number")
        prepared = make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), texts), remainder="passthrough"
        )
        return make_pipeline(prepared, DecisionTreeClassifier(random_state=self.seed, **rest))


def settings(text: str = SETTINGS) -> ExperimentSettings:
    return next(iter(parse(text).experiments.values()))


def table(rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """Who buys: those who are over 45 or from Bonn, with few exceptions."""
    random = np.random.default_rng(seed)
    age = random.integers(18, 80, rows)
    town = random.choice(["Bonn", "Köln", "?"], rows)
    score = (age > 45) + (town == "Bonn") + random.normal(0, 0.3, rows)
    return pd.DataFrame({"age": age, "town": town, "bought": np.where(score > 0.5, "yes", "no")})
