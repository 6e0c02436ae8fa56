"""Which requests are answered without MLflow's detours, and that their answers are MLflow's."""

import json
from typing import Any

import numpy as np
import pytest

from model_deployment.worker.lean import Lean, compiled

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


def lean(answer: Any = None, **columns: str) -> Lean:
    found = compiled(model(answer, **columns))
    assert isinstance(found, Lean)
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
    assert compiled(model(x="double", blob="binary")) is None


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


def test_a_model_that_names_its_columns_does_so_for_one_request() -> None:
    short = lean(x="double")
    for _ in range(2):
        frame = short.frame({"dataframe_records": [{"x": 1.0}]})
        assert frame.columns.name is None
        frame.columns.name = "features"
        frame.columns.names = ["features"]


def test_few_sets_of_columns_are_kept() -> None:
    from itertools import product

    from mlflow.types import ColSpec, Schema

    names = [f"c{number}" for number in range(6)]
    found = model(**dict.fromkeys(names, "double"))
    inputs = Schema([ColSpec("double", name, required=False) for name in names])
    found.metadata.signature.inputs = inputs
    short = Lean(found)
    for given in product([True, False], repeat=6):
        row = {name: 1.0 for name, wanted in zip(names, given, strict=True) if wanted}
        if row:
            assert [*short.frame({"dataframe_records": [row]}).columns] == [*row]
    assert len(short._indexes) <= 32
