"""What of a body goes to the model, and how a refusal reads."""

import json
from typing import Any

import pytest

from model_deployment.core.names import ModelKey
from model_deployment.core.signature import Signature
from model_deployment.gate import Gate, MalformedJson, loads
from model_deployment.proxy.headers import CSV, JSON, PARQUET
from model_deployment.proxy.validate import MalformedText, judge, refused
from tests.support.gates import column, gate, param, split

KEY = ModelKey("diabetes", 1)
GATE = gate(column("long"))


def body(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()  # as no program of ours would write it


def test_what_fits_is_sent_byte_for_byte() -> None:
    sent = body(split(1, 2))
    judged = judge(GATE, JSON, sent)
    assert judged.content is sent
    assert not judged.verdict.refused
    assert judged.table is not None
    assert judged.table.rows == 2


def test_what_is_converted_is_sent_as_converted() -> None:
    judged = judge(gate(column("long"), mode="coerce"), JSON, body(split("1")))
    assert loads(judged.content) == split(1)
    assert judged.table is not None
    assert [[*values] for values in judged.table.values] == [[1]]


def test_what_does_not_fit_is_refused_and_goes_nowhere_with_others() -> None:
    judged = judge(GATE, JSON, body(split("x")))
    assert judged.verdict.refused
    assert judged.table is None


def test_what_is_only_observed_is_sent_byte_for_byte() -> None:
    sent = body(split("x"))
    judged = judge(gate(column("long"), mode="observe"), JSON, sent)
    assert judged.content is sent
    assert (judged.verdict.refused, judged.verdict.count) == (False, 1)


@pytest.mark.parametrize("sent", [b"", b"{", b"NaN", b'{"a": 1, "a": 2}', b"\xff", b"a\n1\n"])
def test_what_is_no_json_is_malformed(sent: bytes) -> None:
    for one in (GATE, Gate(None, {}, "observe")):  # type: ignore[arg-type]
        with pytest.raises(MalformedJson, match="cannot"):
            judge(one, JSON, sent)


@pytest.mark.parametrize("sent", [b"a\n1\n", b"a\r\n1\r\n", b"a\n1", b'"a"\n1'])
def test_csv_that_fits_is_sent_byte_for_byte(sent: bytes) -> None:
    judged = judge(GATE, CSV, sent)
    assert judged.content is sent
    assert not judged.verdict.refused
    assert judged.table is None


def test_csv_without_a_column_of_the_signature_is_refused() -> None:
    judged = judge(GATE, CSV, b"b\n1\n")
    assert judged.verdict.refused
    assert {violation.column for violation in judged.verdict.violations} >= {"a"}


@pytest.mark.parametrize(
    "sent", [b"a\n\xff\n", b"\xff\n1\n", "é".encode("latin-1"), b"\xfe\xff\x00a"]
)
def test_csv_in_another_encoding_is_malformed(sent: bytes) -> None:
    with pytest.raises(MalformedText, match="UTF-8") as caught:
        judge(GATE, CSV, sent)
    assert caught.value.status == 400


TWO = gate(column("string"), column("string", "b"))


@pytest.mark.parametrize(
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
    judged = judge(TWO, CSV, sent)
    assert judged.content is sent
    assert not judged.verdict.refused


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (b"1,2,3\n", "line 2 has 3 values, its header 2"),
        (b"1,2\n3\n", "line 3 has 1 values, its header 2"),
        (b"1,2\n3,4,\n", "line 3 has 3 values, its header 2"),
        (b"1,2\n,,\n", "line 3 has 3 values, its header 2"),
        (b'1,2\n"3,4"\n', "line 3 has 1 values, its header 2"),
        (b"1,2\n" * 198 + b"1,2,3\n", "line 200 has 3 values, its header 2"),
        (b'1,"2\n', "cannot read the body as CSV: "),
        (b'1,"2"3\n', "cannot read the body as CSV: "),
    ],
)
def test_csv_of_rows_of_another_width_is_malformed(rows: bytes, words: str) -> None:
    for one in (TWO, Gate(None, {}, "observe")):  # type: ignore[arg-type]
        with pytest.raises(MalformedText, match=words) as caught:
            judge(one, CSV, b"a,b\n" + rows)
        assert caught.value.status == 400


@pytest.mark.parametrize("header", [b'"x,a",b\n1,2\n', b'\xef\xbb\xbf"x,a",b\n1,2\n'])
def test_a_comma_in_a_name_of_the_header_is_none(header: bytes) -> None:
    judge(gate(column("string", "x,a"), column("string", "b")), CSV, header)


@pytest.mark.parametrize("row", [b"1,2,3\n", b"1\n", b"1,2,\n"])
def test_all_rows_are_looked_at(row: bytes) -> None:
    with pytest.raises(MalformedText, match=r"line 30001 has \d values, its header 2"):
        judge(TWO, CSV, b"a,b\n" + b"1,2\n" * 29_999 + row + b"1,2\n" * 5)


def test_a_line_is_counted_as_an_editor_does() -> None:
    with pytest.raises(MalformedText, match="line 6 has 1 values, its header 2"):
        judge(TWO, CSV, b'a,b\n"1\n\n",2\n\n3\n')


@pytest.mark.parametrize(
    "sent", [b"", b"\n", b"a,b", b"a,b\n", b"a,b\r\n\r\n", b"\xef\xbb\xbfa,b\n"]
)
def test_csv_without_rows_is_malformed(sent: bytes) -> None:
    with pytest.raises(MalformedText, match="it has no rows below its header"):
        judge(TWO, CSV, sent)


def test_parquet_passes_unread() -> None:
    judged = judge(GATE, PARQUET, b"\xff{")
    assert (judged.content, judged.verdict.count, judged.table) == (b"\xff{", 0, None)


def test_a_refusal_tells_the_first_violation_and_lists_all() -> None:
    error = refused(KEY, judge(GATE, JSON, body(split(1, "x"))).verdict)
    assert error.status == 422
    assert error.detail.startswith(
        "cannot predict with diabetes-1: 1 violation of its signature; column 'a' row 1: expected "
    )
    problem = error.problem()
    assert problem["error_count"] == 1
    assert [(one["row"], one["column"], one["kind"]) for one in problem["errors"]] == [
        (1, "a", "type")
    ]


def test_of_many_violations_the_first_twenty_are_listed() -> None:
    error = refused(KEY, judge(GATE, JSON, body(split(*["x"] * 30))).verdict)
    assert "30 violations of its signature, the first 20 of them below; column 'a' row 0:" in (
        error.detail
    )
    assert len(error.problem()["errors"]) == 20
    assert error.problem()["error_count"] == 30


def test_what_has_no_place_is_just_the_first() -> None:
    error = refused(KEY, judge(GATE, JSON, b"[1]").verdict)
    assert "1 violation of its signature; first: expected " in error.detail


def test_names_from_the_caller_cannot_steer_a_terminal() -> None:
    strange = {"dataframe_split": {"columns": ["\x1b[2J\n"], "data": [[1]]}}
    error = refused(KEY, judge(GATE, JSON, body(strange)).verdict)
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
        judged = judge(one, JSON, body(sent))
        assert judged.verdict.refused
        assert [str(found.kind) for found in judged.verdict.violations] == ["form"]
    detail = refused(KEY, judge(FREE, JSON, body(sent)).verdict).detail
    assert "dataframe_split with columns and data" in detail
    assert "signature" not in detail
    observed = judge(Gate(None, {}, "observe"), JSON, body(sent))  # type: ignore[arg-type]
    assert (observed.verdict.refused, observed.verdict.count) == (False, 1)


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
    assert not judge(FREE, JSON, body(sent)).verdict.count


def test_a_column_of_the_signature_may_be_a_list_in_a_bare_record() -> None:
    lists = column({"type": "array", "items": {"type": "long"}})
    assert not judge(gate(lists), JSON, body({"a": [1, 3, 5]})).verdict.refused
    hinted = Gate(Signature([{"type": "long"}], None, None, from_type_hint=True), {}, "strict")  # type: ignore[arg-type]
    assert not judge(hinted, JSON, body({"a": [1, 3, 5]})).verdict.refused


def test_without_a_signature_a_nan_reaches_the_model_as_one() -> None:
    for sent in (b'{"inputs": [[1, NaN]]}', b'{"dataframe_records": [{"a": NaN}, {"a": 1.5}]}'):
        judged = judge(FREE, JSON, sent)
        assert judged.content is sent
        assert judged.table is None
    judged = judge(FREE, JSON, b'{"a": NaN, "b": "NaN"}')
    assert judged.content == b'{"dataframe_records":[{"a":NaN,"b":"NaN"}]}'


@pytest.mark.parametrize("sent", [b'{"a": Infinity}', b'{"a": NaN, "a": 1}', b'{"a": -Infinity}'])
def test_infinities_and_keys_there_twice_are_refused_without_a_signature_too(sent: bytes) -> None:
    with pytest.raises(MalformedJson):
        judge(FREE, JSON, sent)


def test_params_are_called_params() -> None:
    known = gate(column("long"), params=[param("long", 1, "k")])
    unknown = {**split(1), "params": {"q": 1}}
    detail = refused(KEY, judge(known, JSON, body(unknown)).verdict).detail
    assert "param 'q': expected one of the params k, got another param" in detail
    detail = refused(KEY, judge(GATE, JSON, body(unknown)).verdict).detail
    assert "param 'q': expected no params: the model takes none, got another param" in detail
    wrong = refused(KEY, judge(known, JSON, body({**split(1), "params": {"k": "x"}})).verdict)
    assert "param 'k': expected long" in wrong.detail
    assert not judge(known, JSON, body({**split(1), "params": {"k": None}})).verdict.refused


def test_a_refusal_of_thousands_of_rows_is_short_and_counts_them_all() -> None:
    rows = [{"a": "x" * 100 if place % 2 else 1} for place in range(20_000)]
    error = refused(KEY, judge(GATE, JSON, body({"dataframe_records": rows})).verdict)
    assert "10000 violations of its signature, the first 20 of them below; column 'a' row 1:" in (
        error.detail
    )
    assert [one["row"] for one in error.problem()["errors"]] == list(range(1, 41, 2))
    assert error.problem()["error_count"] == 10_000
    assert len(json.dumps(error.problem())) < 10_000
    ragged = {"dataframe_split": {"columns": ["a"], "data": [[1]] * 100 + [[1, 2]] * 5000}}
    error = refused(KEY, judge(GATE, JSON, body(ragged)).verdict)
    assert "5000 violations of its signature, the first 20 of them below; row 100:" in error.detail
