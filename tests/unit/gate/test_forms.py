"""The forms of a body: which are taken, what is sent on, and which tables may become one call."""

from typing import Any

import pytest

from model_deployment.core.signature import Signature, from_mlmodel
from model_deployment.gate import Gate, MergeableTable, Validation, ViolationKind
from tests.support.gates import MAPPING, column, gate, kinds, param, split, tensor

AGE, NAME = column("long", "age"), column("string", "name")
NOTE = column("string", "note", required=False)
PEOPLE = gate(AGE, NAME, NOTE)
ADA, BOB = {"age": 36, "name": "Ada"}, {"age": 41, "name": "Bob"}
#: Both of them as the gate writes them itself.
BOTH = {"dataframe_split": {"columns": ["age", "name"], "data": [(36, "Ada"), (41, "Bob")]}}
FRAME = {"dataframe_split": {"columns": ["age", "name"], "data": [[36, "Ada"], [41, "Bob"]]}}


def table(gated: Gate, body: Any) -> MergeableTable:
    found = gated.check(body).table
    assert isinstance(found, MergeableTable)
    return found


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


@pytest.mark.parametrize(
    ("body", "kind"),
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


def test_ragged_rows_are_told_by_row() -> None:
    body = {"dataframe_split": {"columns": ["age", "name"], "data": [[1, "a"], [1], [], [1, "b"]]}}
    assert [one.row for one in PEOPLE.check(body).violations] == [1, 2]


def test_records_that_are_mostly_empty_are_not_written_out() -> None:
    wide = gate(*(column("double", f"c{place}", required=False) for place in range(600)))
    full = {f"c{place}": 0.5 for place in range(600)}
    assert kinds(wide.check([full] + [{}] * 10_000)) == ["ragged"]
    assert not wide.check([full] + [{"c1": 1}] * 100).refused


def test_a_column_missing_in_some_records_is_told_by_row() -> None:
    result = PEOPLE.check({"dataframe_records": [ADA, {"age": 1}, {"name": "x"}]})
    assert [(one.row, one.column, one.kind) for one in result.violations] == [
        (1, "name", "missing"),
        (2, "age", "missing"),
    ]


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


def test_a_million_unknown_columns_are_not_read() -> None:
    records = [{**ADA, f"x{place}": place} for place in range(20_000)]
    result = PEOPLE.check({"dataframe_records": records})
    assert (result.count, len(result.violations)) == (20_000, 20)


@pytest.mark.parametrize(
    "body",
    [
        [dict.fromkeys(map(str, range(100_000)), 1), *({} for _ in range(100_000))],
        {"dataframe_split": dict.fromkeys(map(str, range(100_000)), 1)},
        {"dataframe_split": {"columns": [], "data": [[1]] * 100_000}},
        {"dataframe_split": {"columns": list(map(str, range(100_000))), "data": []}},
        {**FRAME, **dict.fromkeys(map(str, range(100_000)), 1)},
        {**FRAME, "params": dict.fromkeys(map(str, range(100_000)), 1)},
        {"dataframe_records": [ADA] + [{}] * 100_000},
        {"dataframe_records": [{"age": "x", "name": 1}] * 100_000},
        {"inputs": dict.fromkeys(map(str, range(100_000)), 1)},
        {"inputs": [[1, [2]]] * 100_000},
    ],
)
def test_much_of_a_wrong_thing_is_told_in_few_words(body: Any) -> None:
    result = PEOPLE.check(body)
    assert result.refused
    assert len(result.violations) <= 20
    assert all(len(one.expected) + len(one.got) < 300 for one in result.violations)


@pytest.mark.parametrize("mode", ["strict", "coerce"])
def test_an_index_stays_and_keeps_a_table_from_being_joined(mode: str) -> None:
    body = {"dataframe_split": {"columns": ["age", "x"], "data": [[1, 2]], "index": [7]}}
    result = gate(AGE, column("double", "x", required=False), mode=mode).check(body)
    assert (result.refused, result.payload, result.table) == (False, None, None)
    result = gate(AGE, mode="coerce").check(body)
    assert result.payload["dataframe_split"]["index"] == [7]


@pytest.mark.parametrize("name", ["messages", "prompt", "input"])
def test_calls_of_chat_models_pass_unchecked(name: str) -> None:
    body = {name: ["a"], "temperature": 1}
    for gated in (gate(column("string", name)), Gate(None, MAPPING, Validation.STRICT)):
        result = gated.check(body)
        assert (result.refused, result.payload, result.table) == (False, None, None)


@pytest.mark.parametrize("mode", ["strict", "coerce", "observe"])
@pytest.mark.parametrize("name", ["messages", "prompt", "input"])
def test_a_record_for_a_model_of_columns_is_no_chat(name: str, mode: str) -> None:
    gated = gate(column("long"), mode=mode)
    for value in ("x", ["x"], {"x": 1}):
        result = gated.check({"a": 1, name: value})
        assert kinds(result) == ["unknown"]
        assert result.violations[0].column == name
        assert result.refused == (mode == "strict")
        if mode == "coerce":
            frame = result.payload["dataframe_split"]
            assert (frame["columns"], [[*row] for row in frame["data"]]) == (["a"], [[1]])
        # Alone it is no way past the gate either.
        assert gated.check({name: value}).refused == (mode != "observe")


def test_a_chat_with_one_column_of_the_signature_is_one() -> None:
    gated = gate(column("string", "prompt"), column("long"))
    result = gated.check({"prompt": "x", "messages": ["y"]})
    assert (result.refused, result.payload, result.count) == (False, None, 0)
    assert gated.check({"messages": ["y"]}).refused


def test_a_number_in_a_column_named_input_is_no_chat() -> None:
    result = gate(column("double", "input")).check({"input": 1.5})
    assert result.payload == {"dataframe_records": [{"input": 1.5}]}


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["x"], "data": [[1.5], [None]]}, "params": {"a": 1}},
        {"dataframe_split": "anything"},
        {"dataframe_records": [1, {}]},
        {"inputs": [[1]]},
        {"instances": "x", "more": 1},
    ],
)
def test_without_a_signature_all_forms_pass_unchecked(body: Any) -> None:
    gated = Gate(None, MAPPING, Validation.STRICT)
    assert not gated.checked
    result = gated.check(body)
    assert (result.refused, result.payload, result.count) == (False, None, 0)


def test_without_a_signature_records_are_wrapped_and_nonsense_refused() -> None:
    gated = Gate(None, MAPPING, Validation.STRICT)
    assert gated.check({"x": 1}).payload == {"dataframe_records": [{"x": 1}]}
    assert gated.check([{"x": 1}]).payload == {"dataframe_records": [{"x": 1}]}
    assert gated.check({"x": 1, "params": {"p": 1}}).payload["params"] == {"p": 1}
    for body in (5, [], [[1]], {"inputs": 1, "instances": 1}):
        assert gated.check(body).refused


@pytest.mark.parametrize(
    "inputs",
    [
        [1],
        ["age"],
        [{"name": "x"}],
        [{"name": "x", "type": []}],
        [{"name": "x", "type": "decimal"}],
        [{"name": "x", "type": "array"}],
        [{"type": "tensor"}],
        [{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": ["?"]}}],
        [{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [1]}}] * 2,
    ],
)
def test_a_signature_of_another_shape_checks_nothing(
    inputs: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gated = Gate(Signature(inputs, None, None), MAPPING, Validation.STRICT)
    assert not gated.checked
    assert "cannot read the signature" in caplog.text
    assert not gated.check({"inputs": [1]}).refused


def test_a_model_with_type_hints_takes_inputs_alone() -> None:
    signature = Signature([{"type": "string"}], None, None, from_type_hint=True)
    gated = Gate(signature, MAPPING, Validation.STRICT)
    assert gated.check({"inputs": [{"any": "thing"}]}).payload is None
    assert gated.check(ADA).payload == {"inputs": [ADA]}
    assert gated.check([ADA]).payload == {"inputs": [ADA]}
    assert kinds(gated.check({"dataframe_records": [ADA]})) == ["form"]


@pytest.mark.parametrize("hinted", [True, False])
def test_a_model_file_tells_whether_its_signature_is_of_type_hints(hinted: bool) -> None:
    document = {
        "signature": {"inputs": '[{"type": "string"}]'},
        "is_signature_from_type_hint": hinted,
    }
    signature = from_mlmodel(document)
    assert signature is not None
    assert signature.from_type_hint is hinted


def test_observe_passes_bare_records_in_a_form_the_model_knows() -> None:
    result = gate(AGE, mode="observe").check({"age": 1.5})
    assert result.payload == {"dataframe_records": [{"age": 1.5}]}
    assert (result.refused, result.tally, result.table) == (False, {("age", "lossy"): 1}, None)


# Tables that become one call


def test_tables_of_one_key_are_joined_in_order() -> None:
    tables = [
        table(PEOPLE, FRAME),
        table(PEOPLE, {"dataframe_split": {"columns": ["name", "age"], "data": [["Cy", 1]]}}),
        table(PEOPLE, ADA),
        table(PEOPLE, {"inputs": [BOB]}),
    ]
    assert len({one.key for one in tables}) == 1
    data = PEOPLE.join(tables)["dataframe_split"]
    assert data["columns"] == ["age", "name"]
    assert data["data"] == [(36, "Ada"), (41, "Bob"), (1, "Cy"), (36, "Ada"), (41, "Bob")]
    assert not PEOPLE.check(
        {"dataframe_split": {**data, "data": list(map(list, data["data"]))}}
    ).refused


def test_tables_with_other_params_or_columns_are_not_joined() -> None:
    gated = gate(AGE, column("double", "x", required=False), params=[param("long", 1)])
    keys = {
        table(gated, {"age": 1}).key,
        table(gated, {"age": 1, "params": {"p": 1}}).key,
        table(gated, {"age": 1, "params": {"p": 2}}).key,
        table(gated, {"age": 1, "x": 1}).key,
    }
    assert len(keys) == 4
    joined = gated.join([table(gated, {"age": 1, "params": {"p": 2}})] * 2)
    assert joined == {
        "dataframe_split": {"columns": ["age"], "data": [(1,), (1,)]},
        "params": {"p": 2},
    }


def test_joined_times_are_of_one_format() -> None:
    gated = gate(column("datetime"))
    joined = gated.join(
        [table(gated, split("2026-01-31")), table(gated, split("2026-01-31T12:00"))]
    )
    assert [row[0] for row in joined["dataframe_split"]["data"]] == [
        "2026-01-31T00:00:00.000000000",
        "2026-01-31T12:00:00.000000000",
    ]


@pytest.mark.parametrize(
    ("spec", "value"), [(NOTE, None), (column("any", "note"), 1), (column("any", "note"), None)]
)
def test_what_other_rows_would_change_is_not_joined(spec: Any, value: Any) -> None:
    result = gate(AGE, spec).check({"age": 1, "note": value})
    assert (result.refused, result.table) == (False, None)


def test_without_a_signature_only_tables_of_equal_types_are_joined() -> None:
    gated = Gate(None, MAPPING, Validation.STRICT)
    keys = {table(gated, {"x": value}).key for value in (1, 2, 1.5, "a", True)}
    assert len(keys) == 4
    assert gated.join([table(gated, {"x": 1}), table(gated, split(2, name="x"))]) == {
        "dataframe_split": {"columns": ["x"], "data": [(1,), (2,)]}
    }
    bodies: list[Any] = [
        {"x": None},
        {"x": []},
        {"x": 2**64},
        split(1, 1.5),
        split(),
        [{"x": 1}, {"y": 1}],
    ]
    assert all(gated.check(body).table is None for body in bodies)
    assert gated.check(split(*range(2000))).rows == 2000


# CSV


@pytest.mark.parametrize(
    ("line", "problems"),
    [
        ("age,name", []),
        ("name,age,note\r\n", []),
        ('\ufeff"age","name"\n', []),
        ("age", ["missing"]),
        ("age,name,x", ["unknown"]),
        ("age,name,age", ["form"]),
        (",age,name", ["unknown"]),
        ("", ["form"]),
        ("\n", ["form"]),
        ('"age,name', ["form"]),
        ("36,Ada", ["missing", "missing", "unknown", "unknown"]),
    ],
)
def test_the_header_of_a_csv_body_is_compared(line: str, problems: list[str]) -> None:
    result = PEOPLE.check_csv(line)
    assert kinds(result) == problems
    assert result.refused == bool(problems)
    lenient = gate(AGE, NAME, NOTE, mode="coerce").check_csv(line)
    assert lenient.refused == bool(set(problems) - {"unknown"})
    assert not gate(AGE, NAME, NOTE, mode="observe").check_csv(line).refused


def test_csv_for_a_model_that_mlflow_reads_none_for_is_refused() -> None:
    lists: Any = {"type": "array", "items": {"type": "long"}}
    for kind in ("datetime", "binary", "any", lists):
        assert kinds(gate(column(kind)).check_csv("a")) == ["form"]
    for kind in ("any", lists):
        assert kinds(gate(AGE, column(kind, required=False)).check_csv("age")) == ["form"]
    for kind in ("datetime", "binary"):
        assert not gate(AGE, column(kind, required=False)).check_csv("age").refused
    assert kinds(gate(tensor("float64", -1, 2)).check_csv("a,b")) == ["form"]


def test_csv_for_columns_without_names_is_counted() -> None:
    gated = gate({"type": "long"}, {"type": "double"})
    assert not gated.check_csv("x,y").refused
    assert kinds(gated.check_csv("x")) == ["missing"]
    assert kinds(gated.check_csv("x,y,z")) == ["unknown"]


def test_csv_for_a_model_without_a_signature_passes() -> None:
    assert not Gate(None, MAPPING, Validation.STRICT).check_csv("").refused


def test_kinds_are_what_monitoring_counts_by() -> None:
    assert {str(kind) for kind in ViolationKind} == {
        "missing", "unknown", "null", "type", "lossy", "range", "ragged", "shape", "params", "form",
    }  # fmt: skip
