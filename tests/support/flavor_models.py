"""The real MLflow models of the end-to-end tests: what is registered, sent and answered.

Run as a program, ``flavor_models.py TRACKING_URI ARTIFACT_ROOT``, it registers them.
"""

import functools
import io
import json
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature
    from mlflow.models.model import ModelInfo
    from mlflow.pyfunc import PyFuncModel

# MLflow and scikit-learn are imported by the functions: they cost seconds, and warn when imported,
# which would fail the collection of the tests.

MODEL_CODE = Path(__file__).with_name("model_code")

Payload = dict[str, Any]
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


def expected(tracking_uri: str, name: str, version: int, payload: Payload) -> Any:
    """What MLflow itself answers to a scoring payload, as ``predictions`` read from JSON.

    NaN and infinities, which MLflow writes although JSON does not know them, are None.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.pyfunc import scoring_server

        data = {key: payload[key] for key in payload if key in scoring_server.SUPPORTED_FORMATS}
        model = _load(tracking_uri, name, version)
        parsed = scoring_server.infer_and_parse_data(data, model.metadata.get_input_schema())
        answer = io.StringIO()
        raw = model.predict(parsed, params=payload.get("params"))
        scoring_server.predictions_to_json(raw, answer)
    return json.loads(answer.getvalue(), parse_constant=lambda _: None)["predictions"]


@functools.cache
def _load(tracking_uri: str, name: str, version: int) -> "PyFuncModel":
    import mlflow
    from mlflow import MlflowClient

    # By its folder: a models:/ address would be looked up in MLflow's default registry.
    client = MlflowClient(tracking_uri, tracking_uri)
    return mlflow.pyfunc.load_model(client.get_model_version_download_uri(name, str(version)))


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
    example = pd.DataFrame(_MIXED).astype({"at": "datetime64[ns]"})
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

    numbers = np.array(_GAPS, dtype=float)
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


def _split(rows: list[Row]) -> Payload:
    columns = list(rows[0])
    return {
        "dataframe_split": {
            "columns": columns,
            "data": [[row[column] for column in columns] for row in rows],
        }
    }


def _records(rows: list[Row]) -> Payload:
    return {"dataframe_records": rows}


def _instances(rows: list[Row]) -> Payload:
    return {"instances": rows}


def _inputs(rows: list[Row]) -> Payload:
    return {"inputs": {column: [row[column] for row in rows] for column in rows[0]}}


def _table(columns: str, *rows: tuple[Any, ...]) -> list[Row]:
    return [dict(zip(columns.split(), row, strict=True)) for row in rows]


_DIABETES = _table(
    "age sex bmi bp s1 s2 s3 s4 s5 s6",
    (59.0, 2.0, 32.1, 101.0, 157.0, 93.2, 38.0, 4.0, 4.8598, 87.0),
    (48.0, 1.0, 21.6, 87.0, 183.0, 103.2, 70.0, 3.0, 3.8918, 69.0),
    # Whole numbers, which JSON does not tell from 72.0.
    (72, 2, 30, 93, 156, 94, 41, 4, 5, 85),
)
_WINE = _table(
    "alcohol malic_acid ash alcalinity_of_ash magnesium total_phenols flavanoids "
    "nonflavanoid_phenols proanthocyanins color_intensity hue od280/od315_of_diluted_wines proline",
    (14.23, 1.71, 2.43, 15.6, 127.0, 2.8, 3.06, 0.28, 2.29, 5.64, 1.04, 3.92, 1065.0),
    (12.0, 0.92, 2.0, 19.0, 86.0, 2.42, 2.26, 0.3, 1.43, 2.5, 1.38, 3.12, 278.0),
    (12.2, 3.03, 2.32, 19.0, 96.0, 1.25, 0.49, 0.4, 0.73, 5.5, 0.66, 1.83, 510.0),
)
_TEXTS = _table("text", ("extraordinary circumstances",), ("it is so",), ("Grüße, 世界 🙂",))
_MIXED = _table(
    "name count active at weight",
    ("ada", 3, True, "2026-01-31T12:00:00", 1.5),
    ("Zoë", -1, False, "1999-12-31T23:59:59", 70.25),
)
_WEIGHTLESS = [{key: value for key, value in row.items() if key != "weight"} for row in _MIXED]
_GAPS: list[list[float | None]] = [[0.5, 4.0], [None, 2.0], [1.5, None]]
_NUMBERS = [[1.0, 2.0, 3.0], [0.5, -1.0, 1e3]]

#: Valid scoring payloads for each model version.
SAMPLES: dict[tuple[str, int], list[Payload]] = {
    ("diabetes", 1): [
        _split(_DIABETES),
        _records(_DIABETES[:1]),
        _instances(_DIABETES),
        _inputs(_DIABETES),
    ],
    ("diabetes", 2): [
        _split(_DIABETES[:1]),
        _records(_DIABETES),
        # Columns are known by their names, in any order.
        _records([dict(reversed(row.items())) for row in _DIABETES]),
        _inputs(_DIABETES),
    ],
    ("wine classifier", 1): [
        _split(_WINE),
        _records(_WINE[2:]),
        _instances(_WINE),
        _inputs(_WINE),
    ],
    ("text.rules", 1): [
        _split(_TEXTS),
        _records(_TEXTS),
        _inputs(_TEXTS),
        {**_split(_TEXTS), "params": {"multiplier": 2.5}},
        {**_records(_TEXTS), "params": {"multiplier": 2, "threshold": 3}},
        # A text without words: NaN in the answer.
        _records([{"text": ""}, *_TEXTS]),
    ],
    ("mixed-types", 1): [
        _split(_MIXED),
        _records(_MIXED),
        _instances(_MIXED),
        _inputs(_MIXED),
        _records([{**_MIXED[0], "weight": None}, _MIXED[1]]),
        _split(_WEIGHTLESS),
        _records(_WEIGHTLESS),
    ],
    ("no_signature", 1): [
        {"inputs": _NUMBERS},
        {"instances": _NUMBERS[:1]},
        {"dataframe_split": {"columns": ["a", "b", "c"], "data": _NUMBERS}},
        {"dataframe_records": [{"a": 1, "b": 2, "c": 3}]},
    ],
    ("numbered", 1): [
        {"dataframe_split": {"columns": [0, 1], "data": _GAPS}},
        {"dataframe_split": {"columns": [1, 0], "data": [row[::-1] for row in _GAPS]}},
        {"dataframe_split": {"data": _GAPS}},
        {"inputs": _GAPS},
        {"instances": _GAPS},
        {"dataframe_records": _GAPS},
    ],
}


if __name__ == "__main__":
    register_all(sys.argv[1], Path(sys.argv[2]))
