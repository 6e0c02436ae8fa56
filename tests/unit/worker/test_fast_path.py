"""Which requests are answered without MLflow's detours, and that their answers are MLflow's."""

import json
from typing import Any

import numpy as np
import pytest

from model_deployment.worker.fast_path import FastPath, build_fast_path
from model_deployment.worker.param_defaults import copy_defaults

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


def lean(answer: Any = None, **columns: str) -> FastPath:
    found = build_fast_path(model(answer, **columns))
    assert isinstance(found, FastPath)
    return found


def body(*rows: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"dataframe_records": [*rows], **more}).encode()


def test_a_frame_of_fitting_values_is_answered() -> None:
    assert lean()(body(ROW, ROW)) == b'{"predictions":[1.5,1.5]}'
    split = {"dataframe_split": {"columns": ["n", "x"], "data": [[1, None], [2, 7]]}}
    assert lean()(json.dumps(split).encode()) == b'{"predictions": [NaN, 7.0]}'


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"1", body(), body({}), body({**ROW, "n": 1.0}), body({**ROW, "x": "1"}),
        body({**ROW, "x": True}), body({**ROW, "y": 1}), body({"x": 1}), body(ROW, {"x": 1}),
        body(ROW, unknown=1), body({**ROW, "n": 2**63}), body({**ROW, "n": 2**70}),
        body({**ROW, "x": float("nan")}), b'{"instances": [{"x": 1, "n": 1}]}',
    ],
)  # fmt: skip
def test_every_other_request_is_left_to_mlflow(content: bytes) -> None:
    assert lean()(content) is None


def test_columns_that_mlflow_converts_are_left_to_it_only_where_they_are_given() -> None:
    short = lean(x="double", at="datetime")
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
    assert lean(answer)(body(ROW)) == said


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
def test_what_a_model_does_to_its_frame_no_other_request_sees(
    spoil: Any, columns: dict[str, str]
) -> None:
    import pandas as pd

    short = lean(**columns)
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
def test_a_model_that_writes_into_its_params_does_so_for_one_request(short: bool) -> None:
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


def test_few_sets_of_columns_are_kept() -> None:
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
