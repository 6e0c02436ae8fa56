"""Requests that the fast path answers, and requests that it leaves to MLflow."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from model_deployment.worker import fast_path
from model_deployment.worker.fast_path import FastPath, build_fast_path
from model_deployment.worker.param_defaults import copy_defaults
from model_deployment.worker.scoring import Application

pytestmark = pytest.mark.filterwarnings("ignore")  # importing MLflow warns

ROW = {"x": 1.5, "n": 3}


class Impl:
    """A model that answers what it was made with."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer

    def predict(self, frame: Any) -> Any:
        return frame["x"].to_numpy() if self.answer is None else self.answer


def model(answer: Any = None, **columns: str) -> Any:
    from mlflow.models import Model, ModelSignature
    from mlflow.pyfunc import PyFuncModel
    from mlflow.types import ColSpec, Schema

    kinds = columns or {"x": "double", "n": "long"}
    inputs = [ColSpec(kind, name, required=name != "at") for name, kind in kinds.items()]
    meta = Model(
        signature=ModelSignature(Schema(inputs)),
        flavors={"python_function": {"loader_module": "x"}},
    )
    return PyFuncModel(meta, Impl(answer))


def fast_path_of(answer: Any = None, **columns: str) -> FastPath:
    found = build_fast_path(model(answer, **columns))
    assert isinstance(found, FastPath)
    return found


def body(*rows: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"dataframe_records": [*rows], **more}).encode()


def test_frame_of_fitting_values_is_answered() -> None:
    assert fast_path_of()(body(ROW, ROW)) == b'{"predictions":[1.5,1.5]}'
    split = {"dataframe_split": {"columns": ["n", "x"], "data": [[1, None], [2, 7]]}}
    assert fast_path_of()(json.dumps(split).encode()) == b'{"predictions": [NaN, 7.0]}'


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"1", body(), body({}), body({**ROW, "n": 1.0}), body({**ROW, "x": "1"}),
        body({**ROW, "x": True}), body({**ROW, "y": 1}), body({"x": 1}), body(ROW, {"x": 1}),
        body(ROW, unknown=1), body({**ROW, "n": 2**63}), body({**ROW, "n": 2**70}),
        body({**ROW, "x": float("nan")}), b'{"instances": [{"x": 1, "n": 1}]}',
    ],
)  # fmt: skip
def test_other_requests_are_left_to_mlflow(content: bytes) -> None:
    assert fast_path_of()(content) is None


def test_columns_that_need_conversion_are_left_to_mlflow_where_they_are_given() -> None:
    short = fast_path_of(x="double", at="datetime")
    assert short(body({"x": 1})) == b'{"predictions":[1.0]}'
    assert short(body({"x": 1, "at": "2026-01-31"})) is None
    assert build_fast_path(model(x="double", blob="binary")) is None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (np.array([0.1, 1e16]), b'{"predictions":[0.1,1e+16]}'),
        (np.array([1, 2]), b'{"predictions":[1,2]}'),
        (np.array([[True], [False]]), b'{"predictions":[[true],[false]]}'),
        (np.array([np.inf]), b'{"predictions": [Infinity]}'),
        ([1.5], b'{"predictions":[1.5]}'),
        ([float("nan")], b'{"predictions": [NaN]}'),
        ([{"a": 1.5}], b'{"predictions":[{"a":1.5}]}'),
        ([{"a": None}], b'{"predictions": [{"a": null}]}'),
        ("\u00fc", b'{"predictions": "\\u00fc"}'),
        ([2**70], b'{"predictions": [%d]}' % 2**70),
    ],
)
def test_answers_are_written_as_mlflow_writes_them(answer: Any, said: bytes) -> None:
    assert fast_path_of(answer)(body(ROW)) == said


def rename_in_place(frame: Any) -> None:
    frame.columns.values[0] = "y"


def rename_in_the_array(frame: Any) -> None:
    frame.columns.array[0] = "y"


def overwrite_values(frame: Any) -> None:
    frame.iloc[:, 0] = 0


def add_a_column(frame: Any) -> None:
    frame["z"] = 1
    frame.drop(columns=frame.columns[0], inplace=True)


def overwrite_rows(frame: Any) -> None:
    frame.index = frame.index + 7
    frame.attrs["seen"] = True


def name_columns(frame: Any) -> None:
    frame.columns.name = "features"
    frame.columns.names = ["features"]


@pytest.mark.parametrize(
    "spoil",
    [
        rename_in_place, rename_in_the_array, overwrite_values, add_a_column, overwrite_rows,
        name_columns,
    ],
)  # fmt: skip
@pytest.mark.parametrize("columns", [{"x": "double"}, {"x": "double", "s": "string"}])
def test_frame_that_a_model_changes_is_its_own(spoil: Any, columns: dict[str, str]) -> None:
    short = fast_path_of(**columns)
    row = {"x": 1.5, "s": "a"}
    data = {"dataframe_records": [{name: row[name] for name in columns}] * 2}
    before = short.frame(data)
    kept = before.copy(deep=True)
    kept.columns = pd.Index([*columns])
    spoil(short.frame(data))
    after = short.frame(data)
    for frame in (before, after):
        pd.testing.assert_frame_equal(frame, kept)
        assert (frame.columns.name, frame.attrs) == (None, {})
        assert frame.columns.get_loc("x") == 0


@pytest.mark.parametrize("short", [True, False])
def test_params_that_a_model_changes_are_those_of_one_request(short: bool) -> None:
    from mlflow.types import ParamSchema, ParamSpec
    from mlflow.types.schema import Object, Property

    class Appends:
        def predict(self, frame: Any, params: Any) -> Any:
            params["stop"].append("more")
            params["map"]["seen"] = True
            return [str(params)]

    found = type(plain := model(x="double"))(plain.metadata, Appends())
    specs = [
        ParamSpec("stop", "string", ["end"], shape=(-1,)),
        ParamSpec("map", Object([Property("a", "long")]), {"a": 1}),
        ParamSpec("n", "long", 3),
    ]
    found.metadata.signature.params = ParamSchema(specs)
    copy_defaults(found)
    answers = set()
    for _ in range(3):
        if short:
            answers.add(FastPath(found)(body({"x": 1.0})))
        else:
            answers.add(found.predict([{"x": 1.0}])[0])
    assert len(answers) == 1
    assert str(answers).count("more") == 1


def test_column_indexes_that_are_kept_are_limited() -> None:
    from itertools import product

    from mlflow.types import ColSpec, Schema

    names = [f"c{number}" for number in range(6)]
    found = model(**dict.fromkeys(names, "double"))
    inputs = Schema([ColSpec("double", name, required=False) for name in names])
    found.metadata.signature.inputs = inputs
    short = FastPath(found)
    for given in product([True, False], repeat=6):
        row = {name: 1.0 for name, wanted in zip(names, given, strict=True) if wanted}
        if row:
            assert [*short.frame({"dataframe_records": [row]}).columns] == [*row]
    assert len(short._indexes) <= 32


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of scikit-learn, saved by MLflow as users save theirs."""
    import mlflow
    from sklearn.linear_model import LinearRegression

    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0], "n": [1, 2, 4]})
    fitted = LinearRegression().fit(frame, [3.0, 6.0, 11.0])
    path = tmp_path_factory.mktemp("models") / "saved"
    signature = mlflow.models.infer_signature(frame, fitted.predict(frame))
    mlflow.sklearn.save_model(fitted, path, signature=signature, pip_requirements=[])
    return path


@pytest.mark.slow
def test_fast_path_takes_requests_with_the_installed_mlflow(
    saved_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Fails where a new version of MLflow makes all requests fall back to its slower parser."""
    from mlflow.pyfunc import scoring_server

    application = Application(scoring_server.load_model_with_mlflow_config(str(saved_model)), 30)
    theirs = scoring_server.invocations(
        body(ROW, ROW).decode(),
        "application/json",
        application._model,
        application._model.metadata.get_input_schema(),
    )

    def fall_back(*_: Any) -> None:
        pytest.fail("the request was left to MLflow")

    monkeypatch.setattr(scoring_server, "invocations", fall_back)
    answer = application._predict(body(ROW, ROW), "application/json")
    assert (answer.status, json.loads(answer.content)) == (200, json.loads(theirs.response))
    assert "fast path" not in caplog.text


@pytest.mark.parametrize("name", ["_enforce_schema", "_enforce_params_schema"])
def test_fall_back_to_mlflow_is_logged_once(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from mlflow.models import utils

    fast_path._mlflow.cache_clear()
    monkeypatch.delattr(utils, name)
    application = Application(model(), 30)
    fast_path._mlflow.cache_clear()
    assert application._fast_path is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no fast path with this version of MLflow" in caplog.text


def test_frame_that_differs_from_that_of_mlflow_turns_the_fast_path_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = FastPath.frame
    monkeypatch.setattr(FastPath, "frame", lambda self, data: kept(self, data) + 1)
    assert build_fast_path(model(x="double")) is None
    assert "DataFrame.iloc" in caplog.text
