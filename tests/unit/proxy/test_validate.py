"""What of a body goes to the model, and how a refusal reads."""

import json
from typing import Any

import pytest

from model_deployment.core.names import ModelKey
from model_deployment.core.signature import Signature
from model_deployment.gate import Gate, MalformedJson, MalformedText, loads
from model_deployment.proxy.headers import CSV, JSON, PARQUET
from model_deployment.proxy.validate import rejection, validate
from tests.support.cases import each
from tests.support.gates import column, gate, param, split

KEY = ModelKey("diabetes", 1)
GATE = gate(column("long"))


def body(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()  # as no program of ours would write it


def test_valid_body_is_sent_byte_for_byte() -> None:
    sent = body(split(1, 2))
    validated = validate(GATE, JSON, sent)
    assert validated.content is sent
    assert not validated.result.refused
    assert validated.result.table is not None
    assert validated.result.table.rows == 2


def test_coerced_body_is_sent_as_coerced() -> None:
    validated = validate(gate(column("long"), mode="coerce"), JSON, body(split("1")))
    assert loads(validated.content) == split(1)
    assert validated.result.table is not None
    assert [[*values] for values in validated.result.table.values] == [[1]]


def test_invalid_body_is_refused_and_not_merged() -> None:
    validated = validate(GATE, JSON, body(split("x")))
    assert validated.result.refused
    assert validated.result.table is None


def test_observed_body_is_sent_byte_for_byte() -> None:
    sent = body(split("x"))
    validated = validate(gate(column("long"), mode="observe"), JSON, sent)
    assert validated.content is sent
    assert (validated.result.refused, validated.result.count) == (False, 1)


@pytest.mark.parametrize("sent", [b"", b"{", b"NaN", b'{"a": 1, "a": 2}', b"\xff", b"a\n1\n"])
def test_json_malformed_is_refused(sent: bytes) -> None:
    for one in (GATE, Gate(None, {}, "observe")):  # type: ignore[arg-type]
        with pytest.raises(MalformedJson, match="cannot"):
            validate(one, JSON, sent)


@pytest.mark.parametrize("sent", [b"a\n1\n", b"a\r\n1\r\n", b"a\n1", b'"a"\n1'])
def test_csv_that_fits_is_sent_byte_for_byte(sent: bytes) -> None:
    validated = validate(GATE, CSV, sent)
    assert validated.content is sent
    assert not validated.result.refused
    assert validated.result.table is None


def test_csv_without_a_column_of_the_signature_is_refused() -> None:
    validated = validate(GATE, CSV, b"b\n1\n")
    assert validated.result.refused
    assert {violation.column for violation in validated.result.violations} >= {"a"}


@pytest.mark.parametrize(
    "sent", [b"a\n\xff\n", b"\xff\n1\n", "é".encode("latin-1"), b"\xfe\xff\x00a"]
)
def test_csv_in_another_encoding_is_malformed(sent: bytes) -> None:
    with pytest.raises(MalformedText, match="UTF-8") as caught:
        validate(GATE, CSV, sent)
    assert caught.value.status == 400


TWO = gate(column("string"), column("string", "b"))


@each(
    "rows",
    [
        b"1,2\n3,4\n",
        b"1,2\r\n3,4\r\n",
        b"1,2\r3,4",
        b'"1\n1",2\n3,4\n',
        b'"1,\r\n",2\n"""","\'"\n',
        b" , \n",
        b"1,2\n\n3,4\n\n\n",
        b"1,2\n  \n3,4\n\t\n",
        b"1,2\n" * 10_000,
        b'"' + b"x" * 1_000_000 + b'",2\n',
        "é,\U0001f600\n".encode(),
    ],
)
@pytest.mark.parametrize("header", [b"a,b\n", b"\xef\xbb\xbfa,b\n", b'\xef\xbb\xbf"a",b\n'])
def test_csv_of_rows_as_wide_as_the_header_is_sent_byte_for_byte(
    header: bytes, rows: bytes
) -> None:
    sent = header + rows
    validated = validate(TWO, CSV, sent)
    assert validated.content is sent
    assert not validated.result.refused


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (b"1,2,3\n", "line 2 has 3 values, but the header has 2"),
        (b"1,2\n3\n", "line 3 has 1 values, but the header has 2"),
        (b"1,2\n3,4,\n", "line 3 has 3 values, but the header has 2"),
        (b"1,2\n,,\n", "line 3 has 3 values, but the header has 2"),
        (b'1,2\n"3,4"\n', "line 3 has 1 values, but the header has 2"),
        (b"1,2\n" * 198 + b"1,2,3\n", "line 200 has 3 values, but the header has 2"),
        (b'1,"2\n', "cannot read the body as CSV: "),
        (b'1,"2"3\n', "cannot read the body as CSV: "),
    ],
)
def test_csv_of_rows_of_another_width_is_malformed(rows: bytes, words: str) -> None:
    for one in (TWO, Gate(None, {}, "observe")):  # type: ignore[arg-type]
        with pytest.raises(MalformedText, match=words) as caught:
            validate(one, CSV, b"a,b\n" + rows)
        assert caught.value.status == 400


@pytest.mark.parametrize("header", [b'"x,a",b\n1,2\n', b'\xef\xbb\xbf"x,a",b\n1,2\n'])
def test_a_comma_in_a_name_of_the_header_is_none(header: bytes) -> None:
    validate(gate(column("string", "x,a"), column("string", "b")), CSV, header)


@pytest.mark.parametrize("row", [b"1,2,3\n", b"1\n", b"1,2,\n"])
def test_csv_all_rows_are_checked(row: bytes) -> None:
    with pytest.raises(MalformedText, match=r"line 30001 has \d values, but the header has 2"):
        validate(TWO, CSV, b"a,b\n" + b"1,2\n" * 29_999 + row + b"1,2\n" * 5)


def test_csv_lines_are_counted_as_an_editor_does() -> None:
    with pytest.raises(MalformedText, match="line 6 has 1 values, but the header has 2"):
        validate(TWO, CSV, b'a,b\n"1\n\n",2\n\n3\n')


@pytest.mark.parametrize(
    "sent", [b"", b"\n", b"a,b", b"a,b\n", b"a,b\r\n\r\n", b"\xef\xbb\xbfa,b\n"]
)
def test_csv_without_rows_is_malformed(sent: bytes) -> None:
    with pytest.raises(MalformedText, match="it has no rows below its header"):
        validate(TWO, CSV, sent)


def test_parquet_passes_unread() -> None:
    validated = validate(GATE, PARQUET, b"\xff{")
    assert (validated.content, validated.result.count, validated.result.table) == (
        b"\xff{",
        0,
        None,
    )


def test_rejection_tells_the_first_violation_and_lists_all() -> None:
    error = rejection(KEY, validate(GATE, JSON, body(split(1, "x"))).result)
    assert error.status == 422
    assert error.detail.startswith(
        "cannot predict with diabetes-1: 1 violation of its signature; column 'a' row 1: expected "
    )
    problem = error.problem()
    assert problem["error_count"] == 1
    assert [(one["row"], one["column"], one["kind"]) for one in problem["errors"]] == [
        (1, "a", "type")
    ]


def test_rejection_lists_the_first_twenty_violations() -> None:
    error = rejection(KEY, validate(GATE, JSON, body(split(*["x"] * 30))).result)
    assert "30 violations of its signature, the first 20 of them below; column 'a' row 0:" in (
        error.detail
    )
    assert len(error.problem()["errors"]) == 20
    assert error.problem()["error_count"] == 30


def test_rejection_of_a_violation_without_a_place() -> None:
    error = rejection(KEY, validate(GATE, JSON, b"[1]").result)
    assert "1 violation of its signature; first: expected " in error.detail


def test_names_from_the_caller_cannot_steer_a_terminal() -> None:
    strange = {"dataframe_split": {"columns": ["\x1b[2J\n"], "data": [[1]]}}
    error = rejection(KEY, validate(GATE, JSON, body(strange)).result)
    assert error.detail.isprintable()


FREE = Gate(None, {}, "strict")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "sent",
    [
        {"columns": ["a", "b"], "data": [[1, 2], [3, 4], [5, 6]]},
        {"a": [1, 3, 5]},
        {"a": {"0": 1, "1": 3}, "b": {"0": 2, "1": 4}},
        {"a": 1, "b": [2]},
        {"a": [1, 3, 5], "params": {"k": 1}},
    ],
)
def test_without_a_signature_a_record_of_lists_may_be_a_table_and_is_refused(sent: Any) -> None:
    for one in (FREE, gate({"type": "any"}), gate(params=[param("long", 1, "k")])):
        validated = validate(one, JSON, body(sent))
        assert validated.result.refused
        assert [str(found.kind) for found in validated.result.violations] == ["form"]
    detail = rejection(KEY, validate(FREE, JSON, body(sent)).result).detail
    assert "dataframe_split with columns and data" in detail
    assert "signature" not in detail
    observed = validate(Gate(None, {}, "observe"), JSON, body(sent))  # type: ignore[arg-type]
    assert (observed.result.refused, observed.result.count) == (False, 1)


@pytest.mark.parametrize(
    "sent",
    [
        {"a": 1, "b": "x", "c": None},
        {"dataframe_records": [{"a": [1, 3, 5]}]},
        [{"a": [1, 3]}, {"a": [2]}],
        {"inputs": {"a": [1, 3, 5]}},
        {"messages": [{"role": "user", "content": "x"}]},
    ],
)
def test_without_a_signature_what_says_its_rows_passes(sent: Any) -> None:
    assert not validate(FREE, JSON, body(sent)).result.count


def test_a_column_of_the_signature_may_be_a_list_in_a_bare_record() -> None:
    lists = column({"type": "array", "items": {"type": "long"}})
    assert not validate(gate(lists), JSON, body({"a": [1, 3, 5]})).result.refused
    hinted = Gate(Signature([{"type": "long"}], None, None, from_type_hint=True), {}, "strict")  # type: ignore[arg-type]
    assert not validate(hinted, JSON, body({"a": [1, 3, 5]})).result.refused


def test_without_a_signature_a_nan_reaches_the_model_as_one() -> None:
    for sent in (b'{"inputs": [[1, NaN]]}', b'{"dataframe_records": [{"a": NaN}, {"a": 1.5}]}'):
        validated = validate(FREE, JSON, sent)
        assert validated.content is sent
        assert validated.result.table is None
    validated = validate(FREE, JSON, b'{"a": NaN, "b": "NaN"}')
    assert validated.content == b'{"dataframe_records":[{"a":NaN,"b":"NaN"}]}'


@pytest.mark.parametrize("sent", [b'{"a": Infinity}', b'{"a": NaN, "a": 1}', b'{"a": -Infinity}'])
def test_infinities_and_keys_there_twice_are_refused_without_a_signature_too(sent: bytes) -> None:
    with pytest.raises(MalformedJson):
        validate(FREE, JSON, sent)


def test_params_are_called_params() -> None:
    known = gate(column("long"), params=[param("long", 1, "k")])
    unknown = {**split(1), "params": {"q": 1}}
    detail = rejection(KEY, validate(known, JSON, body(unknown)).result).detail
    assert "param 'q': expected one of the params k, got another param" in detail
    detail = rejection(KEY, validate(GATE, JSON, body(unknown)).result).detail
    assert "param 'q': expected no params: the model takes none, got another param" in detail
    wrong = rejection(KEY, validate(known, JSON, body({**split(1), "params": {"k": "x"}})).result)
    assert "param 'k': expected long" in wrong.detail
    assert not validate(known, JSON, body({**split(1), "params": {"k": None}})).result.refused


def test_a_refusal_of_thousands_of_rows_is_short_and_counts_them_all() -> None:
    rows = [{"a": "x" * 100 if place % 2 else 1} for place in range(20_000)]
    error = rejection(KEY, validate(GATE, JSON, body({"dataframe_records": rows})).result)
    assert "10000 violations of its signature, the first 20 of them below; column 'a' row 1:" in (
        error.detail
    )
    assert [one["row"] for one in error.problem()["errors"]] == list(range(1, 41, 2))
    assert error.problem()["error_count"] == 10_000
    assert len(json.dumps(error.problem())) < 10_000
    ragged = {"dataframe_split": {"columns": ["a"], "data": [[1]] * 100 + [[1, 2]] * 5000}}
    error = rejection(KEY, validate(GATE, JSON, body(ragged)).result)
    assert "5000 violations of its signature, the first 20 of them below; row 100:" in error.detail
