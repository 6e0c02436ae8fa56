"""The predict form: fields from a signature, values from an example."""

from typing import Any

import pytest

from model_deployment.dashboard.predict_form import form


def columns(**kinds: Any) -> dict[str, Any]:
    return {
        "inputs": [{"name": name, "type": kind, "required": True} for name, kind in kinds.items()]
    }


@pytest.mark.parametrize(
    "example",
    [
        {"dataframe_split": {"columns": ["b", "a"], "data": [["x", 2**60 + 1], ["y", 2]]}},
        {"dataframe_records": [{"a": 2**60 + 1, "b": "x"}]},
        {"inputs": {"a": [2**60 + 1], "b": ["x"]}},
        {"instances": [{"a": 2**60 + 1, "b": "x"}]},
    ],
)
def test_fields_are_filled_from_every_form_of_example(example: Any) -> None:
    made = form(columns(a="long", b="string"), example)
    assert made.columns is not None
    assert [(one.name, one.widget, one.value) for one in made.columns] == [
        ("a", "number", str(2**60 + 1)),
        ("b", "text", "x"),
    ]


def test_fields_of_optional_columns_params_and_nested_values() -> None:
    signature = columns(a="boolean", b="array") | {
        "params": [{"name": "depth", "type": "long", "default": 3, "shape": None}]
    }
    signature["inputs"][0]["required"] = False
    made = form(signature, {"dataframe_records": [{"b": [1, 2]}]})
    assert made.columns is not None
    optional, nested = made.columns
    assert (optional.required, optional.value, optional.widget) == (False, "", "boolean")
    assert (nested.widget, nested.value) == ("json", "[1,2]")
    assert made.params[0].hint == "default 3"


@pytest.mark.parametrize(
    "example",
    [
        {"dataframe_split": {"columns": ["a"], "data": [5]}},
        {"dataframe_split": {"columns": None, "data": [[1]]}},
        {"dataframe_split": {"columns": [["a"]], "data": [[1]]}},
        {"dataframe_split": {"columns": ["a"], "data": {"a": 1}}},
        {"dataframe_split": {"columns": ["a"], "data": "a"}},
        {"dataframe_split": {"columns": ["a"], "data": []}},
        {"dataframe_split": 1},
        {"dataframe_records": {"a": 1}},
        {"inputs": [[1]]},
        {"inputs": {"a": []}},
        ["a"],
        "a",
        1,
    ],
)
def test_malformed_example_leaves_fields_empty(example: Any) -> None:
    made = form(columns(a="long"), example)
    assert made.columns is not None
    assert [one.value in ("", "[]") for one in made.columns] == [True]


def test_example_that_cannot_be_written_is_replaced() -> None:
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    made = form(None, deep)
    assert "inputs" in made.body


@pytest.mark.parametrize(
    "signature",
    [
        {"inputs": [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]},
        {"inputs": [{"type": "long"}]},
        columns(**{f"c{n}": "long" for n in range(400)}),
    ],
)
def test_signature_without_named_columns_has_a_json_form(signature: Any) -> None:
    made = form(signature, {"inputs": [[0, 1], [2, 3]]})
    assert made.columns is None
    assert made.why
    assert made.body == '{\n  "inputs": [\n    [0, 1],\n    [2, 3]\n  ]\n}'


def test_model_of_which_nothing_is_known_has_an_empty_form() -> None:
    assert form(None, {"inputs": ["a, b"]}).body == '{\n  "inputs": ["a, b"]\n}'
    made = form(None, None)
    assert (made.columns, made.body) == (None, "")
    assert "no example" in made.why


def test_rows_of_the_example_are_offered() -> None:
    example = {"dataframe_split": {"columns": ["b", "a"], "data": [["x", 1], ["y", None]]}}
    assert form(columns(a="long", b="string"), example).rows == (("1", "x"), ("", "y"))
    assert form(columns(a="long"), {"inputs": {"a": [[1]]}}).rows == (("[1]",),)


def test_model_that_takes_texts_has_a_field_for_each() -> None:
    made = form({"inputs": [{"type": "string"}]}, {"inputs": ["so", "or so"]})
    assert (made.unnamed, made.rows) == (True, (("so",), ("or so",)))
    assert made.columns is not None
    assert (made.columns[0].widget, made.columns[0].value) == ("text", "so")
