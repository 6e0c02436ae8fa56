"""What goes into a model and what comes out: forms of requests, answers as JSON, and comparisons."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_deployment_agent.errors import BadInput
from model_deployment_agent.json_values import difference, plain
from model_deployment_agent.onnx_model import OnnxModel
from model_deployment_agent.prediction_input import of_example, parse
from onnx import TensorProto, helper

A_B = (("a", "b"), [[1, 2], [3, None]])
TENSOR = (None, [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3, None]]}}, A_B),
        ({"dataframe_split": {"data": [[1, 2]]}}, (("0", "1"), [[1, 2]])),
        ({"dataframe_split": {"columns": [7, "b"], "data": [[1, 2]]}}, (("7", "b"), [[1, 2]])),
        (
            {
                "dataframe_split": {
                    "columns": ["a", "b"],
                    "index": [7, 8],
                    "data": [[1, 2], [3, None]],
                }
            },
            A_B,
        ),
        ({"dataframe_records": [{"a": 1, "b": 2}, {"a": 3}]}, A_B),
        ({"instances": [{"a": 1, "b": 2}, {"a": 3, "b": None}]}, A_B),
        ({"inputs": {"a": [1, 3], "b": [2, None]}, "params": {}}, A_B),
        ({"instances": [[1, 2], [3, 4]]}, TENSOR),
        ({"inputs": [[1, 2], [3, 4]]}, TENSOR),
        # As on the controller: rows by themselves, and rows where columns could be.
        ({"a": 1, "b": 2}, (("a", "b"), [[1, 2]])),
        ([{"a": 1, "b": 2}, {"a": 3}], A_B),
        ({"inputs": [{"a": 1, "b": 2}, {"a": 3}]}, A_B),
        ({"inputs": {"a": 1, "b": 2}}, (("a", "b"), [[1, 2]])),
        ({"instances": {"a": 1, "b": 2}}, (("a", "b"), [[1, 2]])),
        ({"instances": {"a": [1, 3], "b": [2, None]}}, A_B),
    ],
)
def test_all_forms_of_mlflow_are_read(body: Any, found: Any) -> None:
    given = parse(json.dumps(body).encode())
    assert (given.columns, given.rows) == found


def test_nan_is_missing() -> None:
    assert parse(b'{"inputs": {"a": [NaN, 1]}}').rows == [[None], [1]]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"\xff", b"[]", b"{}", b'{"inputs": []}', b'{"inputs": {}}', b'{"inputs": 1}',
        b'{"inputs": [1], "instances": [1]}', b'{"inputs": {"a": [1], "b": [1, 2]}}',
        b'{"inputs": {"a": 1, "b": [1]}}', b'{"inputs": {"a": []}}', b'{"dataframe_split": {"data": [1]}}',
        b'{"dataframe_split": {"columns": ["a"]}}', b'{"dataframe_split": {"columns": [], "data": [[1]]}}',
        b'{"dataframe_split": {"columns": [1, "1"], "data": [[1, 2]]}}',
        b'{"dataframe_split": {"columns": [true], "data": [[1]]}}',
        b'{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}', b'{"dataframe_records": [1]}',
        b'{"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}',
        b'{"dataframe_split": {"columns": "a", "data": [[1]]}}', b'{"dataframe_records": {}}',
        b'{"inputs": [Infinity]}', b'{"instances": [{"a": 1}, 2]}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_none_of_them_is_an_error_in_words(body: bytes) -> None:
    with pytest.raises(BadInput, match=r"^cannot read"):
        parse(body)


NAMES = ["inputs", "instances", "dataframe_split", "dataframe_records", "columns", "data"]
JSON = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES), inner),
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_nothing_breaks_the_reader(body: bytes) -> None:
    for read in (parse, of_example):
        try:
            given = read(body)
        except BadInput:
            continue
        assert given.rows
        assert given.columns is None or all(len(row) == len(given.columns) for row in given.rows)


@pytest.mark.parametrize(
    ("example", "columns"),
    [
        ({"columns": ["a"], "data": [[1]]}, ("a",)),
        ({"dataframe_split": {"columns": ["a"], "data": [[1]]}}, ("a",)),
        ({"inputs": {"a": [1]}}, ("a",)),
        ({"a": [1]}, ("a",)),
        ([[1]], None),
    ],
)
def test_examples_are_read_as_mlflow_writes_them(example: Any, columns: Any) -> None:
    assert of_example(json.dumps(example).encode()).columns == columns


@pytest.mark.parametrize(
    ("found", "expected", "same"),
    [
        ([1.0], [1.0], True), ([1.00009], [1.0], True), ([1.0002], [1.0], False),
        ([1e6], [1e6 + 50], True), ([[1.0], [2.0]], [1.0, 2.0], True), ([1.0, 2.0], [1.0], False),
        ([None], [1.0], False), ([None], [None], True), (["a"], ["a"], True), (["a"], ["b"], False),
        ([1], [1.0], True), ([True], [1], True), ([{"x": 1.0}], [{"x": 1.00001}], True),
        ([{"x": 1.0}], [{"y": 1.0}], False), ([[1.0, 2.0]], [[1.0, 3.0]], False), (["1"], [1], False),
        (1.0, [1.0], True),
    ],
)  # fmt: skip
def test_answers_are_compared_within_the_tolerance(found: Any, expected: Any, same: bool) -> None:
    assert (difference(found, expected, 1e-4) == "") is same


def test_answers_are_json_whatever_the_model_gives() -> None:
    odd = {1: (math.nan, math.inf, 1.5, True, None, "x", object)}
    found = plain(odd)
    assert found["1"][:6] == [None, None, 1.5, True, None, "x"]
    json.dumps(found, allow_nan=False)


def _identity(tmp_path: Any, kinds: dict[str, tuple[int, list[str] | None, str]]) -> OnnxModel:
    """ONNX whose output is its first input."""
    shape = {
        name: [None, len(columns)] if columns else None for name, (_, columns, _) in kinds.items()
    }
    inputs = [
        helper.make_tensor_value_info(name, kind, shape[name])
        for name, (kind, _, _) in kinds.items()
    ]
    first = next(iter(kinds))
    graph = helper.make_graph(
        [helper.make_node("Identity", [first], ["y"])],
        "graph",
        inputs,
        [helper.make_tensor_value_info("y", kinds[first][0], None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    described = [
        {"name": name, "columns": columns, "type": kind}
        for name, (_, columns, kind) in kinds.items()
    ]
    return OnnxModel(path, described, ["y"])


@pytest.mark.parametrize(
    ("tensor", "kind", "good", "bad"),
    [
        (TensorProto.FLOAT, "float32", [1, 2.5, True], [1e39, "1", [1]]),
        (TensorProto.DOUBLE, "float64", [1e300, 3], [10**400, "x"]),
        (
            TensorProto.INT32,
            "int32",
            [1, 2.0, -(2**31)],
            [1.5, 2**31, None, "1", math.inf, -math.inf],
        ),
        (TensorProto.INT64, "int64", [2**60], [2**63, 0.1, math.inf]),
        (TensorProto.BOOL, "bool", [True, False], [1, None, "true"]),
        (TensorProto.STRING, "string", ["a", "ü", "", "\0"], [1, None, "\ud800", "a\udfff"]),
    ],
)
def test_values_become_tensors_of_their_type(
    tmp_path: Any, tensor: int, kind: str, good: Any, bad: Any
) -> None:
    model = _identity(tmp_path, {"x": (tensor, ["a"], kind)})
    assert model.predict(["other", "a"], [[0, one] for one in good]) == good
    for value in bad:
        with pytest.raises(BadInput, match=f"'a' has to be {kind}|'a' is too large for {kind}"):
            model.predict(["a"], [[value]])
    with pytest.raises(BadInput, match="the columns a are missing"):
        model.predict(["b"], [[1]])
    with pytest.raises(BadInput, match="takes named columns"):
        model.predict(None, [[1]])


def test_missing_numbers_are_nan_and_columns_are_stacked_in_the_order_of_the_manifest(
    tmp_path: Any,
) -> None:
    model = _identity(tmp_path, {"x": (TensorProto.FLOAT, ["b", "a"], "float32")})
    assert model.predict(["a", "b"], [[1, 2], [None, 4]]) == [[2.0, 1.0], [4.0, None]]


def test_tensors_are_taken_as_they_are(tmp_path: Any) -> None:
    model = _identity(tmp_path, {"x": (TensorProto.FLOAT, None, "float32")})
    assert model.predict(None, [[[1, 2], [3, 4]]]) == [[[1.0, 2.0], [3.0, 4.0]]]
    assert model.predict(["x"], [[[1, 2]], [[3, 4]]]) == [[1.0, 2.0], [3.0, 4.0]]
    with pytest.raises(BadInput, match="is not a tensor"):
        model.predict(None, [[1, 2], [3]])


@pytest.mark.parametrize("rows", [[[1, 2, 3]], [1, 2], [[[1, 2]]], [[], []], [[1]]])
def test_a_tensor_of_another_shape_is_the_fault_of_the_request(tmp_path: Any, rows: Any) -> None:
    _identity(tmp_path, {"x": (TensorProto.FLOAT, ["a", "b"], "float32")})
    model = OnnxModel(
        tmp_path / "model.onnx", [{"name": "x", "columns": None, "type": "float32"}], ["y"]
    )
    assert model.predict(None, [[1, 2], [3, 4]]) == [[1.0, 2.0], [3.0, 4.0]]
    with pytest.raises(BadInput, match=r"has the shape \[.*\], and the model takes \[.*2\]"):
        model.predict(None, rows)


def test_deep_lists_are_the_fault_of_the_request(tmp_path: Any) -> None:
    model = _identity(tmp_path, {"x": (TensorProto.FLOAT, None, "float32")})
    for levels in (70, 5_000):
        rows: list[Any] = [1]
        for _ in range(levels):
            rows = [rows]
        with pytest.raises(BadInput, match="is not a tensor"):
            model.predict(None, rows)
