"""Models of tables and of series: scikit-learn, boosted trees, statistics, and what needs Java."""

from functools import partial
from typing import Any

from tests.flavors.flavor import SINGLE, Flavor, Made


def table() -> tuple[Any, Any]:
    """Inputs of three columns, two of floats and one of whole numbers, and targets."""
    import numpy as np
    import pandas as pd

    draw = np.random.default_rng(0)
    inputs = pd.DataFrame({"a": draw.normal(size=60), "b": draw.normal(size=60)})
    inputs["c"] = draw.integers(0, 9, size=60)
    return inputs, inputs["a"] - 2 * inputs["b"] + inputs["c"] / 2


def classes() -> tuple[Any, Any]:
    """The same inputs, and one of three words for each row."""
    import numpy as np

    inputs, targets = table()
    return inputs, np.array(["few", "some", "many"])[np.digitize(targets, [0.0, 3.0])]


def sklearn_table() -> Made:
    import mlflow.sklearn
    from sklearn.ensemble import RandomForestClassifier

    inputs, words = classes()
    forest = RandomForestClassifier(5, random_state=0).fit(inputs, words)
    return Made(_pickled(mlflow.sklearn, forest), inputs.head(3))


def sklearn_text() -> Made:
    import mlflow.sklearn
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    inputs = pd.DataFrame(
        {
            "text": ["very good", "rather bad", "good, good", "so bad"],
            "shop": ["north", "south", "south", "north"],
            "new": [True, False, True, False],
        }
    )
    parts = ColumnTransformer(
        [("words", TfidfVectorizer(), "text"), ("shop", OneHotEncoder(), ["shop", "new"])]
    )
    pipeline = make_pipeline(parts, LogisticRegression()).fit(inputs, [1, 0, 1, 0])
    return Made(_pickled(mlflow.sklearn, pipeline), inputs.head(2))


def sklearn_array() -> Made:
    import mlflow.sklearn
    from sklearn.linear_model import LinearRegression

    inputs, targets = table()
    model = LinearRegression().fit(inputs.to_numpy(), targets)
    return Made(_pickled(mlflow.sklearn, model), inputs.to_numpy()[:3])


def _pickled(module: Any, model: Any) -> Any:
    return partial(module.log_model, model, serialization_format="cloudpickle")


def xgboost() -> Made:
    import mlflow.xgboost
    from xgboost import XGBRegressor

    inputs, targets = table()
    model = XGBRegressor(n_estimators=5, max_depth=3).fit(inputs, targets)
    return Made(partial(mlflow.xgboost.log_model, model), inputs.head(3))


def lightgbm() -> Made:
    import lightgbm as library
    import mlflow.lightgbm

    inputs, targets = table()
    model = library.LGBMRegressor(n_estimators=5, min_child_samples=2, verbose=-1)
    return Made(partial(mlflow.lightgbm.log_model, model.fit(inputs, targets)), inputs.head(3))


def catboost() -> Made:
    import mlflow.catboost
    from catboost import CatBoostRegressor

    inputs, targets = table()
    model = CatBoostRegressor(iterations=5, depth=3, verbose=False, allow_writing_files=False)
    return Made(partial(mlflow.catboost.log_model, model.fit(inputs, targets)), inputs.head(3))


def statsmodels() -> Made:
    import mlflow.statsmodels
    import statsmodels.api as library

    inputs, targets = table()
    model = library.OLS(targets, inputs).fit()
    return Made(partial(mlflow.statsmodels.log_model, model), inputs.head(3))


def series() -> Any:
    """A daily series of ten weeks, which rises and has a weekly season."""
    import numpy as np
    import pandas as pd

    days = np.arange(70)
    return pd.DataFrame(
        {
            "ds": pd.date_range("2026-01-01", periods=70),
            "y": days / 10 + np.sin(days * 2 * np.pi / 7),
        }
    )


def prophet() -> Made:
    import mlflow.prophet
    import pandas as pd
    from prophet import Prophet

    # Without samples its forecast is the same each time.
    model = Prophet(uncertainty_samples=0).fit(series())
    example = pd.DataFrame({"ds": pd.date_range("2026-03-12", periods=3)})
    return Made(partial(mlflow.prophet.log_model, model), example)


def pmdarima() -> Made:
    import mlflow.pmdarima
    import pandas as pd
    from pmdarima import ARIMA

    model = ARIMA((1, 1, 0)).fit(series()["y"])
    return Made(partial(mlflow.pmdarima.log_model, model), pd.DataFrame({"n_periods": [4]}))


def shap() -> Made:
    import shap as library
    from mlflow.models import infer_signature
    from sklearn.linear_model import LinearRegression

    inputs, targets = table()
    explainer = library.explainers.Linear(LinearRegression().fit(inputs, targets), inputs)
    signature = infer_signature(inputs, explainer(inputs.head(3)).values)
    return Made(partial(_log_explainer, explainer), inputs.head(3), signature=signature)


def _log_explainer(explainer: Any, *, name: str, registered_model_name: str, **more: Any) -> None:
    """As ``log_model``, which this flavor calls otherwise."""
    import mlflow
    import mlflow.shap

    more["signature"] = more["signature"] or None
    mlflow.shap.log_explainer(
        explainer, artifact_path=name, serialize_model_using_mlflow=False, **more
    )
    run = mlflow.active_run()
    assert run is not None
    mlflow.register_model(f"runs:/{run.info.run_id}/{name}", registered_model_name)


def h2o() -> Made:
    import h2o as library
    import mlflow.h2o
    from h2o.estimators import H2OGeneralizedLinearEstimator

    inputs, targets = table()
    library.init(max_mem_size="256m", nthreads=1, log_level="ERRR")
    model = H2OGeneralizedLinearEstimator()
    model.train(
        list(inputs.columns),
        "target",
        training_frame=library.H2OFrame(inputs.assign(target=targets)),
    )
    settings = {"init": {"max_mem_size": "256m", "nthreads": 1}}
    return Made(partial(mlflow.h2o.log_model, model, settings=settings), inputs.head(3))


def spark() -> Made:
    import mlflow.spark
    from pyspark.ml.feature import VectorAssembler
    from pyspark.ml.pipeline import Pipeline
    from pyspark.ml.regression import LinearRegression
    from pyspark.sql import SparkSession

    inputs, targets = table()
    session = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "512m")
        .getOrCreate()
    )
    frame = session.createDataFrame(inputs.assign(label=targets))
    steps = [VectorAssembler(inputCols=["a", "b", "c"], outputCol="features"), LinearRegression()]
    model = Pipeline(stages=steps).fit(frame)

    def log(*, name: str, **more: Any) -> None:
        mlflow.spark.log_model(model, name, **more)

    return Made(log, inputs.head(3))


_PICKLED = ("cloudpickle",)

FLAVORS = (
    Flavor("sklearn", "sklearn", "scikit-learn", sklearn_table, _PICKLED),
    Flavor("sklearn-text", "sklearn", "scikit-learn", sklearn_text, _PICKLED),
    Flavor("sklearn-array", "sklearn", "scikit-learn", sklearn_array, _PICKLED),
    Flavor("xgboost", "xgboost", "xgboost-cpu", xgboost, ("scikit-learn",), SINGLE),
    Flavor("lightgbm", "lightgbm", "lightgbm", lightgbm, ("scikit-learn",)),
    Flavor("catboost", "catboost", "catboost", catboost),
    Flavor("statsmodels", "statsmodels", "statsmodels", statsmodels),
    Flavor("prophet", "prophet", "prophet", prophet),
    Flavor("pmdarima", "pmdarima", "pmdarima", pmdarima),
    Flavor("shap", "shap", "shap", shap, ("scikit-learn",)),
    Flavor("h2o", "h2o", "h2o", h2o, program="java"),
    Flavor("spark", "spark", "pyspark", spark, program="java"),
)
