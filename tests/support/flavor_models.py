"""The real MLflow models of the end-to-end tests, as they are registered.

Run as a program, ``flavor_models.py TRACKING_URI ARTIFACT_ROOT``, it registers them.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature
    from mlflow.models.model import ModelInfo

# MLflow and scikit-learn are imported by the functions: they cost seconds, and warn when imported,
# which would fail the collection of the tests.

MODEL_CODE = Path(__file__).with_name("model_code")

Row = dict[str, Any]


@dataclass(frozen=True)
class _Version:
    """One model version to register."""

    name: str
    #: Logs the model in the run that is active.
    log: "Callable[[], ModelInfo]"
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    description: str
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()


def register_all(tracking_uri: str, artifact_root: Path) -> None:
    """Train and register every model in a fresh registry.

    It changes MLflow's defaults and warns as MLflow does: call it in a process of its own.
    """
    import mlflow
    from mlflow import MlflowClient

    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    client = MlflowClient(tracking_uri, tracking_uri)
    experiment_id = client.create_experiment("e2e", artifact_root.absolute().as_uri())
    for name, description in DESCRIPTIONS.items():
        client.create_registered_model(name, {"suite": "e2e"}, description)
    for version in (
        _diabetes(trees=3, alias="challenger"),
        _diabetes(trees=20, alias="champion"),
        _wine(),
        _text_rules(),
        _mixed_types(),
        _no_signature(),
        _numbered(),
    ):
        _register(client, experiment_id, version)


def _register(client: "MlflowClient", experiment_id: str, version: _Version) -> None:
    import mlflow

    with mlflow.start_run(experiment_id=experiment_id, run_name=version.name) as run:
        mlflow.log_params(dict(version.params))
        mlflow.log_metrics(dict(version.metrics))
        logged = version.log()
    registered = client.create_model_version(
        version.name,
        f"models:/{logged.model_id}",
        run.info.run_id,
        tags=dict(version.tags),
        description=version.description,
        model_id=logged.model_id,
    )
    for alias in version.aliases:
        client.set_registered_model_alias(version.name, alias, str(registered.version))


def _diabetes(trees: int, alias: str) -> _Version:
    import mlflow.sklearn
    from mlflow.models import infer_signature
    from sklearn import metrics
    from sklearn.datasets import load_diabetes
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import train_test_split

    data = load_diabetes(as_frame=True, scaled=False)
    train, test, target, actual = train_test_split(data.data, data.target, random_state=0)
    # Trees, since a product of matrices has other last digits from process to process, and from
    # one number of rows to the next.
    forest = RandomForestRegressor(n_estimators=trees, max_depth=5, random_state=0)
    predicted = forest.fit(train, target).predict(test)
    return _Version(
        name="diabetes",
        log=lambda: mlflow.sklearn.log_model(
            forest,
            name="diabetes",
            signature=infer_signature(train, predicted),
            input_example=train.head(2).reset_index(drop=True),
            # skops, MLflow's default, refuses trees unless each of their types is trusted by name.
            skops_trusted_types=["sklearn.tree._tree.Tree"],
            pip_requirements=mlflow.sklearn.get_default_pip_requirements(include_skops=True),
        ),
        params={"n_estimators": trees, "max_depth": 5},
        metrics={
            "rmse": metrics.root_mean_squared_error(actual, predicted),
            "mae": metrics.mean_absolute_error(actual, predicted),
            "r2": metrics.r2_score(actual, predicted),
        },
        description=f"Random forest of {trees} trees.",
        tags={"trees": str(trees)},
        aliases=(alias,),
    )


def _wine() -> _Version:
    import mlflow.sklearn
    from mlflow.models import infer_signature
    from sklearn import metrics
    from sklearn.datasets import load_wine
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import train_test_split

    data = load_wine(as_frame=True)
    train, test, target, actual = train_test_split(
        data.data, data.target, random_state=0, stratify=data.target
    )
    forest = RandomForestClassifier(n_estimators=20, random_state=0).fit(train, target)
    predicted = forest.predict(test)
    return _Version(
        name="wine classifier",
        log=lambda: mlflow.sklearn.log_model(
            forest,
            name="wine",
            signature=infer_signature(train, predicted),
            input_example=train.head(2).reset_index(drop=True),
            serialization_format="cloudpickle",
            pip_requirements=mlflow.sklearn.get_default_pip_requirements(include_cloudpickle=True),
        ),
        params={"n_estimators": 20},
        metrics={
            "accuracy": metrics.accuracy_score(actual, predicted),
            "f1": metrics.f1_score(actual, predicted, average="macro"),
        },
        description="Random forest; answers the cultivar as 0, 1 or 2.",
        tags={"task": "classification"},
        aliases=("champion",),
    )


def _text_rules() -> _Version:
    import pandas as pd
    from mlflow.models import infer_signature

    example = pd.DataFrame({"text": ["extraordinary circumstances", "it is so"]})
    answer = pd.DataFrame({"score": [13.0], "long_words": [2], "flagged": [True]})
    params = {"multiplier": 1.0, "threshold": 5}
    return _Version(
        name="text.rules",
        log=lambda: _log_code(
            "text_rules", infer_signature(example, answer, params), (example, params)
        ),
        params=params,
        metrics={"precision": 0.75},
        description="Rules; the request may choose a multiplier and a threshold.",
    )


def _mixed_types() -> _Version:
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    inputs = Schema(
        [
            ColSpec(DataType.string, "name"),
            ColSpec(DataType.long, "count"),
            ColSpec(DataType.boolean, "active"),
            ColSpec(DataType.datetime, "at"),
            ColSpec(DataType.double, "weight", required=False),
        ]
    )
    outputs = Schema([ColSpec(DataType.string, "line"), ColSpec(DataType.double, "value")])
    example = pd.DataFrame(MIXED).astype({"at": "datetime64[ns]"})
    return _Version(
        name="mixed-types",
        log=lambda: _log_code("mixed_types", ModelSignature(inputs, outputs), example),
        params={},
        metrics={"coverage": 1.0},
        description="One column of each common type; 'weight' may be left out.",
        tags={"task": "types"},
    )


def _log_code(script: str, signature: "ModelSignature", input_example: Any) -> "ModelInfo":
    """Log a model that is a script of ``model_code``, so that it loads in any process."""
    import mlflow
    import pandas as pd

    return mlflow.pyfunc.log_model(
        name=script,
        python_model=str(MODEL_CODE / f"{script}.py"),
        signature=signature,
        input_example=input_example,
        # Like the others', given: finding them out takes MLflow another process and some seconds.
        pip_requirements=[f"mlflow=={mlflow.__version__}", f"pandas=={pd.__version__}"],
    )


def _no_signature() -> _Version:
    import mlflow.sklearn
    import numpy as np
    from sklearn.linear_model import LinearRegression

    model = LinearRegression()
    # Not fitted, but set to powers of two, with which the answers come out exact.
    model.coef_, model.intercept_ = np.array([2.0, -1.0, 0.5]), 0.25
    return _Version(
        name="no_signature",
        log=lambda: mlflow.sklearn.log_model(
            model,
            name="no_signature",
            pip_requirements=mlflow.sklearn.get_default_pip_requirements(include_skops=True),
        ),
        params={},
        metrics={},
        description="Linear regression on three unnamed features.",
    )


def _numbered() -> _Version:
    """A pipeline for an array: its columns have numbers for names, and rows of its example have gaps."""
    import mlflow.sklearn
    import numpy as np
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline

    numbers = np.array(GAPS, dtype=float)
    pipeline = make_pipeline(SimpleImputer(strategy="constant", fill_value=8.0), LinearRegression())
    pipeline.fit(numbers, [1.0, 2.0, 3.0])
    pipeline[-1].coef_, pipeline[-1].intercept_ = np.array([2.0, -1.0]), 0.25
    return _Version(
        name="numbered",
        log=lambda: mlflow.sklearn.log_model(
            pipeline,
            name="numbered",
            # Of rows without gaps, so that all columns are required.
            signature=infer_signature(pd.DataFrame(numbers[:1]), pipeline.predict(numbers)),
            input_example=pd.DataFrame(numbers),
            skops_trusted_types=["numpy.dtype"],
            pip_requirements=mlflow.sklearn.get_default_pip_requirements(include_skops=True),
        ),
        params={},
        metrics={},
        description="A pipeline with an imputer, for an array.",
    )


DESCRIPTIONS = {
    "diabetes": "Progression of diabetes one year after the examination.",
    "wine classifier": "The cultivar of a wine from its chemical analysis; a name with a space.",
    "text.rules": "Scores texts by the length of their words; takes parameters.",
    "mixed-types": "Counts with strings, numbers, truth values and times.",
    "no_signature": "Logged without a signature and without an input example.",
    "numbered": "A pipeline with an imputer; its columns have numbers for names.",
}


def table(columns: str, *rows: tuple[Any, ...]) -> list[Row]:
    """Rows of columns whose names have no spaces."""
    return [dict(zip(columns.split(), row, strict=True)) for row in rows]


#: Rows of the model of several types, and of the one whose columns have numbers for names.
MIXED = table(
    "name count active at weight",
    ("ada", 3, True, "2026-01-31T12:00:00", 1.5),
    ("Zoë", -1, False, "1999-12-31T23:59:59", 70.25),
)
GAPS: list[list[float | None]] = [[0.5, 4.0], [None, 2.0], [1.5, None]]


if __name__ == "__main__":
    register_all(sys.argv[1], Path(sys.argv[2]))
