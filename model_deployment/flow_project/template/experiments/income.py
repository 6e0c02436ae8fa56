"""Predicts who earns more than 50K, with a random forest or with gradient boosting."""

from collections.abc import Mapping
from typing import Any

from model_deployment_flows.experiment import Experiment
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder


class Income(Experiment):
    """The search space of each model type is in settings.yaml."""

    model_types = ("random_forest", "gradient_boosting")

    def build(self, params: Mapping[str, Any]) -> Pipeline:
        """The preparation is a step of the pipeline, so it is saved with the model."""
        rest = {name: value for name, value in params.items() if name != "model_type"}
        model: RandomForestClassifier | GradientBoostingClassifier
        if params["model_type"] == "random_forest":
            model = RandomForestClassifier(**rest, class_weight="balanced", random_state=self.seed)
        else:
            model = GradientBoostingClassifier(**rest, random_state=self.seed)
        return Pipeline([("prepare", preparation()), ("model", model)])


def preparation() -> ColumnTransformer:
    """Texts become one column for each category; a missing category is one too, called '?'."""
    categories = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="?"),
        OneHotEncoder(handle_unknown="ignore", min_frequency=10, sparse_output=False),
    )
    return ColumnTransformer(
        [
            (
                "numbers",
                SimpleImputer(strategy="median"),
                make_column_selector(dtype_include="number"),
            ),
            ("categories", categories, make_column_selector(dtype_exclude="number")),
        ]
    )
