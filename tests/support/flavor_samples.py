"""Requests for the real MLflow models of the end-to-end tests, and what MLflow itself answers."""

import functools
import io
import json
import warnings
from typing import TYPE_CHECKING, Any

from tests.support.flavor_models import GAPS, MIXED, Row, table

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

Payload = dict[str, Any]


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


_DIABETES = table(
    "age sex bmi bp s1 s2 s3 s4 s5 s6",
    (59.0, 2.0, 32.1, 101.0, 157.0, 93.2, 38.0, 4.0, 4.8598, 87.0),
    (48.0, 1.0, 21.6, 87.0, 183.0, 103.2, 70.0, 3.0, 3.8918, 69.0),
    # Whole numbers, which JSON does not tell from 72.0.
    (72, 2, 30, 93, 156, 94, 41, 4, 5, 85),
)
_WINE = table(
    "alcohol malic_acid ash alcalinity_of_ash magnesium total_phenols flavanoids "
    "nonflavanoid_phenols proanthocyanins color_intensity hue od280/od315_of_diluted_wines proline",
    (14.23, 1.71, 2.43, 15.6, 127.0, 2.8, 3.06, 0.28, 2.29, 5.64, 1.04, 3.92, 1065.0),
    (12.0, 0.92, 2.0, 19.0, 86.0, 2.42, 2.26, 0.3, 1.43, 2.5, 1.38, 3.12, 278.0),
    (12.2, 3.03, 2.32, 19.0, 96.0, 1.25, 0.49, 0.4, 0.73, 5.5, 0.66, 1.83, 510.0),
)
_TEXTS = table("text", ("extraordinary circumstances",), ("it is so",), ("Grüße, 世界 🙂",))
_WEIGHTLESS = [{key: value for key, value in row.items() if key != "weight"} for row in MIXED]
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
        _split(MIXED),
        _records(MIXED),
        _instances(MIXED),
        _inputs(MIXED),
        _records([{**MIXED[0], "weight": None}, MIXED[1]]),
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
        {"dataframe_split": {"columns": [0, 1], "data": GAPS}},
        {"dataframe_split": {"columns": [1, 0], "data": [row[::-1] for row in GAPS]}},
        {"dataframe_split": {"data": GAPS}},
        {"inputs": GAPS},
        {"instances": GAPS},
        {"dataframe_records": GAPS},
    ],
}
