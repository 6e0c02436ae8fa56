"""The forms of a body: which are taken, and what is sent on."""

from typing import Any

import pytest

from model_deployment.gate import MergeableTable
from tests.support.cases import each
from tests.support.gates import column, gate, kinds, param
from tests.support.people import ADA, AGE, BOB, FRAME, NAME, NOTE, PEOPLE

#: Both of them as the gate writes them itself.
BOTH = {"dataframe_split": {"columns": ["age", "name"], "data": [(36, "Ada"), (41, "Bob")]}}


@pytest.mark.parametrize("body", [FRAME, {"dataframe_records": [ADA, BOB]}])
def test_frames_pass_as_they_are(body: Any) -> None:
    result = PEOPLE.check(body)
    assert (result.refused, result.payload, result.rows) == (False, None, 2)
    assert isinstance(result.table, MergeableTable)
    assert (result.table.columns, result.table.rows) == (("age", "name"), 2)
    assert [list(one) for one in result.table.values] == [[36, 41], ["Ada", "Bob"]]


def test_records_may_have_their_columns_in_any_order() -> None:
    result = PEOPLE.check([ADA, {"name": "Bob", "age": 41}])
    assert result.table is not None
    assert [list(one) for one in result.table.values] == [[36, 41], ["Ada", "Bob"]]


def test_columns_may_come_in_any_order() -> None:
    body = {"dataframe_split": {"columns": ["name", "age"], "data": [["Ada", 36]]}}
    result = PEOPLE.check(body)
    assert (result.refused, result.payload) == (False, None)
    assert result.table == MergeableTable(("age", "name"), ((36,), ("Ada",)), 1)


def test_a_bare_record_is_one_row() -> None:
    result = PEOPLE.check(ADA)
    assert result.payload == {"dataframe_records": [ADA]}
    assert result.rows == 1


def test_a_bare_list_of_records_is_several() -> None:
    result = PEOPLE.check([ADA, BOB])
    assert result.payload == {"dataframe_records": [ADA, BOB]}
    assert result.rows == 2


def test_a_bare_record_may_bring_params() -> None:
    gated = gate(AGE, NAME, params=[param("long", 1)])
    result = gated.check({**ADA, "params": {"p": 2}})
    assert result.payload == {"dataframe_records": [ADA], "params": {"p": 2}}


def test_params_is_a_column_of_a_bare_record_if_the_signature_has_one() -> None:
    result = gate(AGE, column("string", "params")).check({"age": 1, "params": "x"})
    assert result.payload == {"dataframe_records": [{"age": 1, "params": "x"}]}


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [ADA, BOB]},
        {"inputs": [ADA, BOB]},
        {"instances": {"age": [36, 41], "name": ["Ada", "Bob"]}},
        {"inputs": {"age": [36, 41], "name": ["Ada", "Bob"]}},
    ],
)
def test_instances_and_inputs_are_sent_on_as_a_frame(body: Any) -> None:
    """MLflow converts these by other rules: 1600-01-01 to the year 2184, null to "None"."""
    result = PEOPLE.check(body)
    assert (result.refused, result.payload, result.rows) == (False, BOTH, 2)


def test_inputs_of_values_alone_are_one_row() -> None:
    result = PEOPLE.check({"inputs": ADA})
    assert result.payload == {
        "dataframe_split": {"columns": ["age", "name"], "data": [(36, "Ada")]}
    }


def test_a_single_column_may_be_a_list_of_values() -> None:
    result = gate(AGE).check({"inputs": [1, 2]})
    assert result.payload == {"dataframe_split": {"columns": ["age"], "data": [(1,), (2,)]}}


@pytest.mark.parametrize(
    ("data", "rows"),
    [([[1, 0.5], [2, 1]], [[1, 0.5], [2, 1]]), ([{"x": 1, "y": 0.5}], [[1, 0.5]])],
)
def test_columns_without_names_are_told_by_their_place(data: Any, rows: Any) -> None:
    gated = gate({"type": "long"}, {"type": "double"})
    for form in ("inputs", "instances"):
        result = gated.check({form: data})
        assert [list(row) for row in result.payload["dataframe_split"]["data"]] == rows
    assert not gated.check({"dataframe_split": {"data": rows}}).refused
    assert not gated.check({"dataframe_split": {"columns": ["u", "v"], "data": rows}}).refused
    assert kinds(gated.check({"dataframe_split": {"data": [[1]]}})) == ["missing"]
    assert kinds(gated.check({"dataframe_split": {"data": [[1, 1.5, 2]]}})) == ["unknown"]
    assert kinds(gated.check({"inputs": [[1.5, 2]]})) == ["lossy"]


def test_a_single_column_without_a_name_may_be_one_value() -> None:
    result = gate({"type": "string"}).check({"inputs": "text"})
    assert result.payload == {"dataframe_split": {"columns": [0], "data": [("text",)]}}


def test_inputs_stay_as_they_are_for_a_model_of_arrays() -> None:
    """Such a model would otherwise get a list where MLflow gives it an array."""
    arrays = column({"type": "array", "items": {"type": "double"}}, "v")
    gated = gate(arrays, column("long", "n"))
    assert gated.check({"inputs": {"v": [1.5, 2.5], "n": 1}}).payload is None
    assert gated.check({"inputs": [{"v": [1.5], "n": 1}]}).payload is None
    assert gated.check({"inputs": [{"v": [1], "n": 1}]}).payload["dataframe_split"]["data"] == [
        ([1.0], 1)
    ]
    assert gated.check({"instances": [{"v": [1.5], "n": 1}]}).payload is not None
    gated = gate(arrays, column("string", "s", required=False))
    assert gated.check({"inputs": {"v": [1.5], "s": "a"}}).payload is None
    # MLflow makes "None" of the one, and "a" of the other.
    assert gated.check({"inputs": {"v": [1.5], "s": None}}).payload is not None
    assert gated.check({"inputs": {"v": [1.5], "s": "a\0"}}).payload is not None


@each(
    "body, kind",
    [
        (None, "form"),
        (5, "form"),
        ("text", "form"),
        (True, "form"),
        ([], "form"),
        ([1, 2], "form"),
        ([[1, "a"]], "form"),
        ([ADA, None], "form"),
        ({}, "form"),
        ({"dataframe_split": {}, "inputs": []}, "form"),
        ({"dataframe_split": None}, "form"),
        ({"dataframe_split": []}, "form"),
        ({"dataframe_split": {"columns": ["age", "name"]}}, "form"),
        ({"dataframe_split": {**FRAME["dataframe_split"], "more": 1}}, "form"),
        ({"dataframe_split": {"columns": ["age", "name"], "data": None}}, "form"),
        ({"dataframe_split": {"columns": ["age", "name"], "data": {"age": [1]}}}, "form"),
        ({"dataframe_split": {"columns": ["age"], "data": [1, 2]}}, "form"),
        ({"dataframe_split": {"columns": ["age", "name"], "data": [ADA]}}, "form"),
        ({"dataframe_split": {"columns": "age", "data": [[1]]}}, "form"),
        ({"dataframe_split": {"columns": [["age"]], "data": [[1]]}}, "form"),
        ({"dataframe_split": {"columns": ["age", "name", "age"], "data": [[1, "a", 1]]}}, "form"),
        ({"dataframe_split": {"columns": ["age", "name"], "data": [[1, "a"]], "index": 5}}, "form"),
        (
            {"dataframe_split": {"columns": ["age", "name"], "data": [[1, "a"]], "index": [[1]]}},
            "form",
        ),
        (
            {"dataframe_split": {"columns": ["age", "name"], "data": [[1, "a"]], "index": []}},
            "ragged",
        ),
        ({"dataframe_split": {"columns": ["age", "name"], "data": [[1, "a"], [1]]}}, "ragged"),
        ({"dataframe_split": {"columns": ["age", "name"], "data": [[1, "a", 1]]}}, "ragged"),
        ({"dataframe_split": {"columns": ["age"], "data": [[1]]}}, "missing"),
        ({"dataframe_split": {"columns": [], "data": []}}, "missing"),
        ({"dataframe_records": ADA}, "form"),
        ({"dataframe_records": [[36, "Ada"]]}, "form"),
        ({"dataframe_records": [ADA, None]}, "form"),
        ({"dataframe_records": []}, "missing"),
        ({"dataframe_records": [{}]}, "missing"),
        ({"inputs": [[36, "Ada"]]}, "form"),
        ({"inputs": 5}, "form"),
        ({"inputs": None}, "form"),
        ({"instances": [ADA, 5]}, "form"),
        ({"inputs": {"age": [1, 2], "name": ["a"]}}, "ragged"),
        ({"inputs": {"age": [1, 2], "name": "a"}}, "ragged"),
        ({"inputs": {"age": {}, "name": "a"}}, "ragged"),
        ({"inputs": {}}, "missing"),
        ({"age": 1}, "missing"),
        ({**ADA, "Age": 1}, "unknown"),
        ({**FRAME, "signature_name": "x"}, "unknown"),
        ({**FRAME, "input": "x"}, "unknown"),
    ],
)
def test_what_is_no_request_is_refused_and_observed(body: Any, kind: str) -> None:
    result = PEOPLE.check(body)
    assert result.refused
    assert set(kinds(result)) == {kind}
    assert result.payload is None
    observed = gate(AGE, NAME, NOTE, mode="observe").check(body)
    assert not observed.refused
    assert (observed.violations, observed.tally) == (result.violations, result.tally)


def test_records_that_are_mostly_empty_are_not_written_out() -> None:
    wide = gate(*(column("double", f"c{place}", required=False) for place in range(600)))
    full = {f"c{place}": 0.5 for place in range(600)}
    assert kinds(wide.check([full] + [{}] * 10_000)) == ["ragged"]
    assert not wide.check([full] + [{"c1": 1}] * 100).refused


def test_an_optional_column_missing_in_some_records_is_null_there() -> None:
    """MLflow would make NaN of it, and then refuse that where it wants a list."""
    lists = column({"type": "array", "items": {"type": "long"}}, "v", required=False)
    result = gate(AGE, lists).check({"dataframe_records": [{"age": 1}, {"age": 2, "v": [1]}]})
    data = result.payload["dataframe_split"]
    assert data == {"columns": ["age", "v"], "data": [(1, None), (2, [1])]}


def test_a_gap_where_anything_goes_is_null_in_what_is_sent_on() -> None:
    records = [{"age": "1", "x": [1]}, {"age": 2}]
    result = gate(AGE, column("any", "x"), mode="coerce").check({"dataframe_records": records})
    assert kinds(result) == ["missing"]
    optional = gate(AGE, column("any", "x", required=False), mode="coerce")
    sent = optional.check({"dataframe_records": records}).payload
    assert sent == {"dataframe_split": {"columns": ["age", "x"], "data": [(1, [1]), (2, None)]}}


def test_rows_without_any_known_column_are_refused() -> None:
    """Pandas makes an empty frame of them, and the model answers nothing."""
    for mode in ("strict", "coerce"):
        gated = gate(NOTE, mode=mode)
        assert kinds(gated.check({"dataframe_records": [{}, {}]})) == ["form"]
        assert gated.check({"dataframe_records": [{"x": 1}]}).refused
    assert not gate(NOTE).check({"dataframe_split": {"columns": [], "data": []}}).refused


def test_no_rows_at_all_are_the_models_to_answer() -> None:
    result = PEOPLE.check({"dataframe_split": {"columns": ["age", "name"], "data": []}})
    assert (result.refused, result.rows, result.table) == (False, 0, None)


def test_an_unknown_column_is_refused_dropped_or_observed() -> None:
    body = {"dataframe_records": [{**ADA, "agee": 1, "x" * 100: 2}]}
    strict = PEOPLE.check(body)
    assert strict.refused
    assert [one.column for one in strict.violations] == ["agee", "x" * 60 + "…"]
    coerced = gate(AGE, NAME, mode="coerce").check(body)
    assert not coerced.refused
    assert coerced.payload == {
        "dataframe_split": {"columns": ["age", "name"], "data": [(36, "Ada")]}
    }
    observed = gate(AGE, NAME, mode="observe").check(body)
    assert (observed.refused, observed.payload) == (False, None)
    for result in (strict, coerced, observed):
        # A caller could send a million names, so they are not counted one by one.
        assert result.tally == {("", "unknown"): 2}


def test_a_member_mlflow_would_ignore_is_dropped_by_coerce() -> None:
    result = gate(AGE, NAME, mode="coerce").check({**FRAME, "input": "x", "params": None})
    assert result.payload == FRAME
    assert kinds(result) == ["unknown"]


def test_observe_passes_bare_records_in_a_form_the_model_knows() -> None:
    result = gate(AGE, mode="observe").check({"age": 1.5})
    assert result.payload == {"dataframe_records": [{"age": 1.5}]}
    assert (result.refused, result.tally, result.table) == (False, {("age", "lossy"): 1}, None)
