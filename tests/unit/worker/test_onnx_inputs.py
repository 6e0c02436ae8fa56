"""What an ONNX form takes of a request, and when its answers are those of the model."""

import math
from typing import Any

import numpy as np
import pytest

from model_deployment.worker.onnx_compare import TOLERANCE, largest_difference, without_nan
from model_deployment.worker.onnx_inputs import FormInput, NoForm, feeds

SPLIT = {
    "dataframe_split": {
        "columns": ["a", "b", "s", "g"],
        "data": [[1, 2.5, "x", 1], [3, None, "y", None]],
    }
}
RECORDS = [{"a": 1, "b": 2.5, "s": "x"}, {"a": 3, "s": "y"}]
COLUMNS = {"a": [1, 3], "b": [2.5, None], "s": ["x", "y"]}


@pytest.mark.parametrize(
    "request_",
    [
        SPLIT,
        {"dataframe_records": RECORDS},
        {"instances": RECORDS},
        {"inputs": RECORDS},
        {"inputs": COLUMNS},
    ],
)
def test_columns_are_found_in_each_form_of_a_request(request_: dict[str, Any]) -> None:
    found = feeds(
        request_,
        [
            FormInput("stacked", ("b", "a"), "float32"),
            FormInput("whole", ("a",), "int64"),
            FormInput("text", ("s",), "string"),
        ],
    )
    assert found["stacked"].dtype == np.float32
    assert found["stacked"].tolist()[0] == [2.5, 1.0]
    assert math.isnan(found["stacked"][1, 0])
    assert (found["whole"].dtype, found["whole"].tolist()) == (np.int64, [[1], [3]])
    assert (found["text"].dtype, found["text"].tolist()) == (np.object_, [["x"], ["y"]])


def test_columns_with_numbers_for_names_are_found() -> None:
    for columns in ({"columns": [0, 1]}, {}):  # MLflow leaves them out
        split = {"dataframe_split": {**columns, "data": [[1.5, 2.5]]}}
        assert feeds(split, [FormInput("x", ("1", "0"), "float64")])["x"].tolist() == [[2.5, 1.5]]


@pytest.mark.parametrize(
    ("request_", "name", "type", "expected"),
    [
        ({"inputs": [[1, 2], [3, None]]}, "x", "float64", [[1.0, 2.0], [3.0, math.nan]]),
        ({"instances": [[[1]], [[2]]]}, "x", "int32", [[[1]], [[2]]]),
        ({"inputs": {"x": [[True]], "y": [[False]]}}, "y", "bool", [[False]]),
        ({"inputs": ["a", "b"]}, "x", "string", ["a", "b"]),
    ],
)
def test_a_tensor_is_taken_as_it_is(
    request_: dict[str, Any], name: str, type: str, expected: Any
) -> None:
    found = feeds(request_, [FormInput(name, None, type)])[name]
    assert found.dtype == (np.object_ if type == "string" else np.dtype(type))
    np.testing.assert_equal(found.tolist(), expected)


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (FormInput("x", ("g",), "int64"), "'g' of its example has missing values"),
        (FormInput("x", ("s",), "float64"), "'s' of its example has values that are no float64"),
        (FormInput("x", ("a",), "string"), "no string"),
        (FormInput("x", ("a",), "bool"), "no bool"),
        (FormInput("x", ("c",), "float64"), "lacks the column 'c'"),
        (FormInput("x", None, "float32"), "has no tensor for the input 'x'"),
    ],
)
def test_what_an_input_cannot_take_is_said(one: FormInput, words: str) -> None:
    with pytest.raises(NoForm, match=words):
        feeds(SPLIT, [one])


@pytest.mark.parametrize(
    ("value", "type"), [([["x"]], "float32"), ([[1, None]], "int64"), ([[1], [2, 3]], "float64")]
)
def test_a_tensor_of_another_type_is_said(value: Any, type: str) -> None:
    with pytest.raises(NoForm, match=f"none of {type}"):
        feeds({"inputs": value}, [FormInput("x", None, type)])


@pytest.mark.parametrize("request_", [{"inputs": [[1, 2]]}, {"inputs": "x"}, {"messages": []}, {}])
def test_a_request_without_columns_is_said(request_: dict[str, Any]) -> None:
    with pytest.raises(NoForm, match="no table"):
        feeds(request_, [FormInput("x", ("a",), "float32")])


@pytest.mark.parametrize(
    ("answer", "expected", "difference"),
    [
        ([1.5, 2.5], [1.5, 2.5 + TOLERANCE / 2], TOLERANCE / 2),
        ([[1e6 + 50.0]], [[1e6]], 50.0),
        (["a", None, True, 3], ["a", None, True, 3], 0.0),
        ([], [], 0.0),
        ([2], [2.0], 0.0),
    ],
)
def test_answers_that_agree(answer: Any, expected: Any, difference: float) -> None:
    assert largest_difference(answer, expected) == pytest.approx(difference)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ([1.0], [1.0 + 2 * TOLERANCE]),
        ([1e6], [1e6 + 101]),
        ([1, 2], [1, 3]),  # labels, however near
        ([1000000], [1000001]),
        ([1], [True]),
        (["a"], ["A"]),
        ([1.0], ["1.0"]),
        ([None], [1.0]),
        ([1.0], [None]),
        ([1.0], [1.0, 1.0]),
        ([[1.0]], [1.0]),
        ([1.0], {"a": 1.0}),
    ],
)
def test_answers_that_differ(answer: Any, expected: Any) -> None:
    with pytest.raises(NoForm, match="its answers on the example differ"):
        largest_difference(answer, expected)


def test_what_is_no_number_is_null() -> None:
    nan = float("nan")
    assert without_nan([1.5, nan, {"a": [float("inf"), "x"]}]) == [1.5, None, {"a": [None, "x"]}]
