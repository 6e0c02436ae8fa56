"""Columns whose names are no text: found as MLflow finds them, and refused where it finds none."""

import json
from typing import Any

import pytest

from model_deployment.gate import dumps, loads
from model_deployment.proxy.headers import CSV
from model_deployment.proxy.validate import validate
from tests.support.enforcement import enforced
from tests.support.gates import Spec, column, gate, kinds

ROWS = [[0.25, 7], [-1.5, 8]]


def named(*names: Any) -> list[Spec]:
    """Numbers by turns with a point and without."""
    return [
        {**column(("double", "long")[place % 2]), "name": name} for place, name in enumerate(names)
    ]


def table(body: Any, specs: list[Spec], mode: str = "strict") -> list[list[Any]] | None:
    """What the model gets, column by column, names included; None if the gate refuses."""
    raw = json.dumps(body).encode()
    validated = validate(gate(*specs, mode=mode), b"application/json", raw)
    if validated.result.refused:
        return None
    frame = enforced(validated.content, specs)[0]
    return [[name, *frame[name].tolist()] for name in frame.columns]


WHOLE = [[0, 0.25, -1.5], [1, 7, 8]]
FORMS: list[Any] = [
    {"dataframe_split": {"columns": [0, 1], "data": ROWS}},
    {"dataframe_split": {"columns": [1, 0], "data": [row[::-1] for row in ROWS]}},
    {"dataframe_split": {"columns": [0.0, 1.0], "data": ROWS}},
    {"dataframe_split": {"data": ROWS}},
    {"dataframe_records": ROWS},
    {"inputs": ROWS},
    {"instances": ROWS},
    # JSON has no numbers for keys, so what they say is clear though MLflow does not take it.
    {"dataframe_records": [{"0": a, "1": b} for a, b in ROWS]},
    {"instances": [{"1": b, "0": a} for a, b in ROWS]},
    {"inputs": [{"0": a, "1": b} for a, b in ROWS]},
    {"inputs": {"0": [0.25, -1.5], "1": [7, 8]}},
    [{"0": a, "1": b} for a, b in ROWS],
]


@pytest.mark.parametrize("body", FORMS)
def test_numbered_columns_in_every_form(body: Any) -> None:
    assert table(body, named(0, 1)) == WHOLE


def test_a_bare_record_of_numbered_columns() -> None:
    assert table({"0": 0.25, "1": 7}, named(0, 1)) == [[0, 0.25], [1, 7]]


@pytest.mark.parametrize(
    "names",
    [
        ["0", "1"], [7, 3], [-1, 2], [0.5, 1.5], [0, "a"], ["a", 1], [0, "0"], [True, "a"], [2**70, 1],
        ["a", 1.0],
    ],
)  # fmt: skip
def test_names_of_all_kinds_in_a_split_frame(names: list[Any]) -> None:
    specs = named(*names)
    split = {"columns": names, "data": ROWS}
    got = table({"dataframe_split": split}, specs)
    assert got == [[names[0], 0.25, -1.5], [names[1], 7, 8]]
    backwards = {"columns": names[::-1], "data": [row[::-1] for row in ROWS]}
    assert table({"dataframe_split": backwards}, specs) == got


@pytest.mark.parametrize(
    ("names", "body"),
    [
        ([0, 1], {"dataframe_split": {"columns": ["0", "1"], "data": ROWS}}),
        ([0, 1], {"dataframe_split": {"columns": ["0", 1], "data": ROWS}}),
        (["0", "1"], {"dataframe_split": {"columns": [0, 1], "data": ROWS}}),
        (["0", "1"], {"dataframe_split": {"data": ROWS}}),
        ([5, 6], {"dataframe_split": {"data": ROWS}}),
        ([5, 6], {"inputs": ROWS}),
        ([0, "0"], {"dataframe_records": [{"0": 1.5}]}),
        ([0, 1], {"inputs": [[0.25], [1.5]]}),
        ([0, 1], {"inputs": [[0.25, 7], [1.5]]}),
        ([0, 1], {"dataframe_split": {"columns": [0, 0], "data": ROWS}}),
        ([0, 1], {"dataframe_split": {"columns": [0, None], "data": ROWS}}),
        ([0, 1], {"dataframe_split": {"columns": [[0], 1], "data": ROWS}}),
    ],
)
def test_other_names_are_refused_as_mlflow_does(names: list[Any], body: Any) -> None:
    assert table(body, named(*names)) is None


def test_a_further_column_is_told_by_its_name_and_left_out_by_coerce() -> None:
    body = {"dataframe_split": {"columns": [0, 1, 2.5], "data": [[0.25, 7, 1]]}}
    (told,) = gate(*named(0, 1)).check(body).violations
    assert (told.column, str(told.kind)) == ("2.5", "unknown")
    assert table(body, named(0, 1), "coerce") == [[0, 0.25], [1, 7]]


@pytest.mark.parametrize(
    ("names", "sent", "expected"),
    [([0, 1], ["0", 1], "the number 0"), (["0", "1"], [0, "1"], 'the text "0"')],
)
def test_a_name_of_the_other_kind_is_told_apart(
    names: list[Any], sent: list[Any], expected: str
) -> None:
    body = {"dataframe_split": {"columns": sent, "data": ROWS}}
    result = gate(*named(*names)).check(body)
    assert (result.violations[0].column, result.violations[0].expected) == ("0", expected)


def test_a_wrong_value_is_told_by_the_number_of_its_column() -> None:
    (told,) = gate(*named(0, 1)).check({"inputs": [[0.25, 7], [0.25, "x"]]}).violations
    assert (told.column, told.row) == ("1", 1)


@pytest.mark.parametrize(
    "names",
    [
        [["a", 1], ["b", 2]],
        ["", "b"],
        [True, False],
        [5, 0],
        [1, 0],
        [float("nan"), 1.0],
        [{}, "b"],
    ],
)
def test_a_model_that_mlflow_cannot_ask_says_so(names: list[Any]) -> None:
    specs = named(*names)
    for body in ({"dataframe_split": {"columns": names, "data": ROWS}}, {"inputs": ROWS}, {"b": 1}):
        result = gate(*specs).check(loads(dumps(body)))
        assert kinds(result) == ["form"]
        assert "log the model with text as column names" in result.violations[0].expected
    assert kinds(gate(*specs).check_csv("a,b\n1,2\n")) == ["form"]


def test_csv_has_no_numbers_for_names() -> None:
    result = validate(gate(*named(0, 1)), CSV, b"0,1\n0.25,7\n").result
    assert (result.refused, kinds(result)) == (True, ["missing", "missing"])
    assert "JSON" in result.violations[0].expected


def test_rows_of_numbered_columns_are_joined() -> None:
    specs = named(0, 1)
    gated = gate(*specs)
    tables = [gated.check(body).table for body in FORMS[:6]]
    got = enforced(dumps(gated.join([one for one in tables if one is not None])), specs)[0]
    assert got[0].tolist() == [0.25, -1.5] * 6
    assert got[1].tolist() == [7, 8] * 6


@pytest.mark.parametrize("name", [None, 0])
@pytest.mark.parametrize(
    ("kind", "data"),
    [("string", ["a", ""]), ("long", [1, 2**53 + 1]), ("integer", [3]), ("double", [1.5, 2])],
)
def test_records_of_one_column_without_a_name_may_be_its_values(
    name: int | None, kind: str, data: list[Any]
) -> None:
    spec = {"type": kind, "required": True} | ({} if name is None else {"name": name})
    result = gate(spec).check({"dataframe_records": data})
    assert (result.refused, result.rows) == (False, len(data))
    frame, _ = enforced(json.dumps(result.payload).encode(), [spec])
    assert frame.iloc[:, 0].tolist() == data
    assert kinds(gate(spec).check({"dataframe_records": [*data, None]})) == ["null"]
    assert gate(spec | {"name": "x"}).check({"dataframe_records": data}).refused
