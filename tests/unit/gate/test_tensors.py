"""Tensors: shape and numbers, in all forms, by example and against MLflow's own enforcement."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.gate import dumps, loads
from tests.support.cases import each
from tests.support.enforcement import enforced
from tests.support.gates import gate, kinds, tensor

MATRIX = tensor("float64", -1, 2)
CUBES = tensor("int64", -1, 2, 2, name="x")
CODES = tensor("int8", -1, name="y")


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (tensor("float64", -1), [1.5, 2]),
        (MATRIX, [[1.5, 2], [0, 1]]),
        (tensor("float32", -1, -1), [[0.1, 0.2, 0.3]]),
        (tensor("int64", 2, 1), [[2**63 - 1], [-(2**63)]]),
        (tensor("uint64", -1), [2**64 - 1, 0]),
        (tensor("uint8", -1), [0, 255]),
        (tensor("bool", -1), [True, False]),
        (tensor("str", -1), ["a", ""]),
        (tensor("bytes", -1), ["a", "bc"]),
        (tensor("object", -1), ["a", 1, None, [1, 2]]),
        (tensor("datetime64[ns]", -1), ["2026-01-31", "2026-01-31T12:00:00.5"]),
        (tensor("float64"), 1.5),
        (tensor("complex128", -1), [1.5]),
    ],
)
def test_what_fits_passes_as_it_is_and_mlflow_takes_it(spec: Any, value: Any) -> None:
    body = {"inputs": value}
    result = gate(spec).check(body)
    assert (result.refused, result.payload) == (False, None)
    enforced(dumps(body), [spec])


@each(
    "spec, value, kind",
    [
        (MATRIX, [1, 2], "shape"),
        (MATRIX, [[1, 2, 3]], "shape"),
        (MATRIX, [[[1], [2]]], "shape"),
        (MATRIX, [[1, 2], [1]], "ragged"),
        (MATRIX, [[1, 2], 3], "shape"),
        (MATRIX, [[1, [2]]], "shape"),
        (MATRIX, [], "form"),
        (MATRIX, [[]], "shape"),
        (MATRIX, 5, "shape"),
        (MATRIX, {"x": [[1, 2]]}, "form"),
        (MATRIX, [{"x": [1, 2]}], "form"),
        (MATRIX, [[1, None]], "null"),
        (MATRIX, [[1, "2"]], "type"),
        (MATRIX, [[1, True]], "lossy"),
        (MATRIX, [[1, 2**53 + 1]], "lossy"),
        (tensor("int64", 2, -1), [[1]], "shape"),
        (tensor("int64", -1), [1.5], "lossy"),
        (tensor("int64", -1), [1e30], "lossy"),
        (tensor("int8", -1), [128], "range"),
        (tensor("uint8", -1), [-1], "range"),
        (tensor("float16", -1), [70000.0], "range"),
        (tensor("float16", -1), [2049], "lossy"),
        (tensor("float32", -1), [1e39], "range"),
        (tensor("bool", -1), [1], "type"),
        (tensor("str", -1), [1], "type"),
        (tensor("str", -1), ["a\0"], "lossy"),
        (tensor("bytes", -1), ["é"], "type"),
        (tensor("datetime64[ns]", -1), ["1600-01-01"], "range"),
        (tensor("datetime64[ns]", -1), ["2026-01-31T00:00:00+02:00"], "type"),
        (tensor("float64"), [1.5], "shape"),
    ],
)
def test_what_does_not_fit_is_refused(spec: Any, value: Any, kind: str) -> None:
    for form in ("inputs", "instances"):
        result = gate(spec).check({form: value})
        assert result.refused
        assert kinds(result) == [kind]
        observed = gate(spec, mode="observe").check({form: value})
        assert (observed.refused, observed.payload, observed.count) == (False, None, 1)


def test_a_number_is_told_by_its_row() -> None:
    (violation,) = (
        gate(CUBES).check({"inputs": {"x": [[[1, 2], [3, 4]], [[5, 6], [7.5, 8]]]}}).violations
    )
    assert (violation.row, violation.column, violation.got) == (1, "x", "7.5")


def test_only_the_first_twenty_are_told_and_all_are_counted() -> None:
    result = gate(MATRIX).check({"inputs": [["x", 1]] * 100})
    assert (len(result.violations), result.count) == (20, 100)
    assert result.tally == {("", "type"): 100}


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ({"inputs": {"x": [[[1, 2], [3, 4]]], "y": [1]}}, None),
        ({"instances": [{"x": [[1, 2], [3, 4]], "y": 1}]}, None),
        ({"instances": {"x": [[[1, 2], [3, 4]]], "y": [1]}}, None),
        ({"inputs": [{"x": [[1, 2], [3, 4]], "y": 1}]}, 1),
        ({"dataframe_records": [{"x": [1, 2, 3, 4], "y": 1}]}, 1),
        ({"dataframe_records": [{"x": [[1, 2], [3, 4]], "y": 1}]}, 1),
        ({"dataframe_split": {"columns": ["y", "x"], "data": [[1, [1, 2, 3, 4]]]}}, 1),
        ({"x": [[1, 2], [3, 4]], "y": 1}, 1),
    ],
)
def test_tensors_with_names_in_all_forms(body: Any, sent: Any) -> None:
    result = gate(CUBES, CODES).check(body)
    assert not result.refused
    assert result.rows == 1
    payload = {"inputs": {"x": [[[1, 2], [3, 4]]], "y": [1]}} if sent else None
    assert result.payload == payload
    data, _ = enforced(dumps(body if payload is None else payload), [CUBES, CODES])
    assert data["x"].tolist() == [[[1, 2], [3, 4]]]
    assert data["y"].tolist() == [1]


@pytest.mark.parametrize(
    ("body", "kinds_"),
    [
        ({"inputs": {"x": [[[1, 2], [3, 4]]]}}, ["missing"]),
        ({"inputs": {"x": [[[1, 2], [3, 4]]], "y": [1], "z": 1}}, ["unknown"]),
        ({"instances": [{"x": [[1, 2], [3, 4]], "y": 1}, {"y": 1}]}, ["missing"]),
        ({"instances": {"x": [[[1, 2], [3, 4]]], "y": [1, 2]}}, ["ragged"]),
        ({"inputs": [1]}, ["form"]),
        ({"inputs": 5}, ["form"]),
        ({"dataframe_records": [{"x": [1, 2, 3], "y": 1}]}, ["shape"]),
    ],
)
def test_tensors_with_names_that_do_not_fit(body: Any, kinds_: list[str]) -> None:
    result = gate(CUBES, CODES).check(body)
    assert result.refused
    assert kinds(result) == kinds_


def test_an_unknown_input_is_dropped_by_coerce() -> None:
    result = gate(CODES, mode="coerce").check({"inputs": {"y": ["1", 2.0], "z": 1}})
    assert result.payload == {"inputs": {"y": [1, 2]}}
    assert (result.refused, result.tally) == (False, {("", "unknown"): 1})


def test_coerce_converts_inside() -> None:
    result = gate(MATRIX, mode="coerce").check({"inputs": [["1", 2], [3, "0.5"]], "params": None})
    assert result.payload == {"inputs": [[1, 2], [3, 0.5]]}


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["u", "v"], "data": [[1, 2], [3, 4]]}},
        {"dataframe_split": {"data": [[1, 2], [3, 4]]}},
        {"dataframe_split": {"columns": ["u"], "data": [[[1, 2]], [[3, 4]]]}},
        {"dataframe_records": [{"u": 1, "v": 2}, {"v": 4, "u": 3}]},
        [{"u": 1, "v": 2}, {"u": 3, "v": 4}],
    ],
)
def test_a_table_may_be_a_matrix(body: Any) -> None:
    assert gate(MATRIX).check(body).payload == {"inputs": [[1, 2], [3, 4]]}


def test_a_column_of_numbers_may_be_a_vector() -> None:
    body = {"dataframe_split": {"columns": ["u"], "data": [[1], [2]]}}
    assert gate(tensor("float64", -1)).check(body).payload == {"inputs": [1, 2]}
    assert gate(tensor("float64", -1, 1)).check(body).payload == {"inputs": [[1], [2]]}


DTYPES = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64", "float16", "float32",
    "float64", "str", "bytes", "object", "datetime64[ns]",
]  # fmt: skip
LEAVES: list[Any] = [
    None, True, False, 0, 1, -1, 127, 128, 255, 256, 2048, 2049, 2**31, 2**32, 2**53 + 1, 2**63, -(2**63),
    2**64, 10**30, 1.0, 1.5, 0.1, 65519.0, 65520.0, 1e39, 1e30, 1e-46, "1", "a", "", "a\0", "é", "nan",
    "true", "2026-01-31", "2026-01-31T12:00:00.5", "2026-01-31T00:00:00Z", "1600-01-01", "now", "NaT", {},
]  # fmt: skip
_NUMBERS = {
    "bool": st.booleans(),
    "str": st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
    "bytes": st.text("abc", max_size=3),
    "object": st.sampled_from(LEAVES),
    "datetime64[ns]": st.sampled_from(["2026-01-31", "1999-12-31T23:59:59"]),
}


@st.composite
def tensors(draw: st.DrawFn, fewest: int = 0) -> tuple[Any, Any]:
    """A tensor of a signature, and a value that mostly fits."""
    dtype = draw(st.sampled_from(DTYPES))
    sizes = draw(st.lists(st.integers(0, 3), min_size=fewest, max_size=3))
    shape = [draw(st.sampled_from([size, -1])) for size in sizes]
    plain = _NUMBERS.get(
        dtype,
        st.integers(0, 9) | st.sampled_from([0.5, 1.5]) if dtype[0] == "f" else st.integers(0, 9),
    )
    leaf = plain if draw(st.integers(0, 2)) else plain | st.sampled_from(LEAVES)
    if not draw(st.integers(0, 5)):
        sizes = [*sizes[:1], *draw(st.lists(st.integers(0, 2), max_size=2))]

    def fill(dims: list[int]) -> Any:
        if not dims:
            return draw(leaf)
        cut = not draw(st.integers(0, 15))
        return [fill(dims[1:]) for _ in range(max(0, dims[0] - cut))]

    return tensor(dtype, *shape), fill(sizes)


def same(sent: Any, got: Any, dtype: str) -> bool:
    """Whether an array holds what was sent, or what a numeral in it says."""
    if type(sent) is list:
        return len(sent) == len(got) and all(
            same(a, b, dtype) for a, b in zip(sent, got, strict=True)
        )
    if dtype == "object":
        return bool(sent == got)
    if dtype == "datetime64[ns]":
        instant = sent.removesuffix("Z") if type(sent) is str else sent  # or nanoseconds
        return bool(np.datetime64(instant, "ns").astype("int64") == got)
    if dtype == "bytes":
        return bool(sent.encode() == got)
    if dtype in ("str", "bool"):
        meant = {"true": True, 0: False, 1: True}.get(sent, sent) if dtype == "bool" else sent
        return bool(meant == got) and type(got) in (str, bool)
    sent = json.loads(sent) if type(sent) is str else sent
    if type(sent) is bool:
        return False
    if type(sent) is float and dtype in ("float16", "float32"):
        with np.errstate(over="ignore"):
            narrow = float(np.dtype(dtype).type(sent))
        return narrow == got and not math.isinf(got) and bool(got) == bool(sent)
    return bool(sent == got)


@given(tensors(), st.sampled_from(["inputs", "instances"]), st.sampled_from(["strict", "coerce"]))
def test_what_passes_mlflow_takes_and_does_not_change(
    drawn: tuple[Any, Any], form: str, mode: str
) -> None:
    spec, value = drawn
    raw = dumps({form: value})
    result = gate(spec, mode=mode).check(loads(raw))
    if result.refused:
        return
    assert mode == "coerce" or result.payload is None
    data, _ = enforced(raw if result.payload is None else dumps(result.payload), [spec])
    assert same(value, data.tolist(), spec["tensor-spec"]["dtype"])


@given(tensors(fewest=1), st.sampled_from(["columns", "records", "split"]))
def test_rows_of_a_table_become_the_tensor_they_say(drawn: tuple[Any, Any], form: str) -> None:
    spec, value = {**drawn[0], "name": "x"}, drawn[1]
    rows = value if type(value) is list else [value]
    body = {
        "columns": {"inputs": {"x": value}},
        "records": {"dataframe_records": [{"x": row} for row in rows]},
        "split": {"dataframe_split": {"columns": ["x"], "data": [[row] for row in rows]}},
    }[form]
    result = gate(spec).check(body)
    if result.refused:
        return
    data, _ = enforced(dumps(result.payload or body), [spec])
    got = data["x"].tolist()
    flat = got if got == value else [row[0] if type(row) is list else row for row in got]
    assert same(value, got, spec["tensor-spec"]["dtype"]) or same(
        value, flat, spec["tensor-spec"]["dtype"]
    )


@pytest.mark.parametrize(
    "value", [0.5, -3, 0, 1e-46, 1e39, 16777217, 2**200, "1", None, [1], {"a": 1}, 16777216.5, 1e30]
)
def test_a_text_without_truths_is_checked_alike(value: Any) -> None:
    one = gate(tensor("float32", -1))
    body = {"inputs": [0.25, value]}
    slow, fast = one.check(body), one.check(body, truths=False)
    assert (slow.refused, slow.violations, slow.payload, slow.rows) == (
        fast.refused, fast.violations, fast.payload, fast.rows,
    )  # fmt: skip
    assert (slow.table and [*slow.table.values[0]]) == (fast.table and [*fast.table.values[0]])
