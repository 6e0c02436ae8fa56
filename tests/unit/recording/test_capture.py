"""A record is taken apart into columns, rows and predictions, and secrets stay out."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.recording.capture import decode, document, encode, envelope, redacted

HEAD: dict[str, Any] = {
    "model": "diabetes",
    "version": 1,
    "launch_id": "launch",
    "at": 1_700_000_000.25,
    "request_id": "r1",
    "latency_ms": 1.5,
    "media_type": "application/json",
}
ANSWER = b'{"predictions": [1.5]}'
SALT = b"salt"


def taken(body: Any, answer: bytes = ANSWER, *, limit: int = 10_000, **head: Any) -> dict[str, Any]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return document("id", b"".join(encode(HEAD | head, content, answer)), limit, SALT)


def test_a_record_becomes_a_document() -> None:
    assert taken({"dataframe_split": {"columns": ["x", "y"], "data": [[1, "a"], [2, None]]}}) == {
        "_id": "id",
        "model": "diabetes",
        "version": 1,
        "ts": datetime(2023, 11, 14, 22, 13, 20, 250_000, tzinfo=UTC),
        "request_id": "r1",
        "launch_id": "launch",
        "typed": False,
        "latency_ms": 1.5,
        "columns": ["x", "y"],
        "data": [[1, "a"], [2, None]],
        "predictions": [1.5],
        "rows": 2,
        "truncated": False,
        "left_out": "",
        "hidden": [],
        "params": False,
        "note": "",
    }


def test_a_capture_tells_that_params_were_sent() -> None:
    assert taken({"inputs": [[1]], "params": {"k": 2}})["params"]
    assert not taken({"inputs": [[1]], "params": {}})["params"]


@given(st.dictionaries(st.text(), st.text() | st.integers(-9, 9)), st.binary(), st.binary())
def test_record_encoded_is_decoded(head: dict[str, Any], body: bytes, answer: bytes) -> None:
    assert decode(b"".join(encode(head, body, answer))) == (head, body, answer)


@given(st.binary(max_size=60))
def test_decode_of_garbage_raises_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(payload)
    assert len(redacted(payload)) <= 12


def test_parts_of_other_lengths_are_refused() -> None:
    payload = b"".join(encode(HEAD, b"body", b"answer"))
    for odd in (payload[:-1], payload + b"x", payload[:10], b""):
        with pytest.raises(ValueError, match=r"it has no head|the lengths of its parts differ"):
            decode(odd)


def test_record_with_a_malformed_head_is_refused() -> None:
    with pytest.raises(LookupError):
        document("id", b"".join(encode({}, b"", b"")), 100, SALT)
    with pytest.raises(ValueError, match="invalid literal"):
        taken({"x": 1}, version="one")


@pytest.mark.parametrize(
    ("odd", "missing"),
    [
        ({}, set()),
        ({"model": 7}, {"model", "version"}),
        ({"version": "1"}, {"model", "version"}),
        ({"version": True}, {"model", "version"}),
        ({"request_id": 7}, {"request_id"}),
        ({"at": None}, {"ts"}),
        ({"at": 1e300}, {"ts"}),
        ({"at": "now"}, {"ts"}),
    ],
)
def test_envelope_has_all_that_is_readable(odd: dict[str, Any], missing: set[str]) -> None:
    told = envelope(b"".join(encode(HEAD | odd, b"{", b"")))
    whole = taken({"x": 1})
    names = {"model", "version", "request_id", "ts"} - missing
    assert told == {name: whole[name] for name in names}


@given(st.binary(max_size=60))
def test_envelope_of_garbage_is_empty(payload: bytes) -> None:
    assert envelope(payload) == {}
    assert envelope(b"".join(encode([1], b"", b""))) == {}  # type: ignore[arg-type]


# Forms of the body


@pytest.mark.parametrize(
    ("body", "columns", "data"),
    [
        ({"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]]}}, ["a", "b"], [[1, 2]]),
        (
            {"dataframe_split": {"columns": [0, "b"], "index": [7], "data": [[1, 2]]}},
            ["f0", "b"],
            [[1, 2]],
        ),
        ({"dataframe_split": {"columns": ["a"], "data": []}}, ["a"], []),
        ({"dataframe_split": {"data": [[1, 2]]}}, ["f0", "f1"], [[1, 2]]),
        ({"dataframe_records": [{"a": 1}, {"b": 2}]}, ["a", "b"], [[1, None], [None, 2]]),
        ({"instances": [{"a": 1}, {"a": 2}]}, ["a"], [[1], [2]]),
        ({"instances": [[1, 2], [3, 4]]}, ["f0", "f1"], [[1, 2], [3, 4]]),
        ({"inputs": {"a": [1, 2], "b": ["x", "y"]}}, ["a", "b"], [[1, "x"], [2, "y"]]),
        ({"inputs": {"a": 1, "b": "x"}}, ["a", "b"], [[1, "x"]]),
        ({"inputs": [[1], [2]], "params": {"t": 1}}, ["f0"], [[1], [2]]),
        ({"a": 1, "b": [2]}, ["a", "b"], [[1, [2]]]),
        ([{"a": 1}, {"a": 2}], ["a"], [[1], [2]]),
    ],
)
def test_each_form_of_a_body_is_a_table(body: Any, columns: list[str], data: Any) -> None:
    found = taken(body)
    assert (found["columns"], [*map(list, found["data"])]) == (columns, data)
    assert (found["rows"], found["note"]) == (len(data), "")


def test_chat_is_stored_as_one_row_and_marked() -> None:
    messages = [{"role": "user", "content": "hi"}]
    found = taken({"messages": messages, "stream": True})
    assert (found["columns"], found["data"]) == (["messages", "stream"], [[messages, True]])
    assert (found["rows"], found["chat"], found["left_out"]) == (1, True, "")


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [[1], [1, 2]]},
        {"instances": [1, [2]]},
        {"instances": [[]]},
        {"inputs": {"a": [1, 2], "b": [1]}},
        {"inputs": "text"},
        {"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}},
        {"dataframe_records": [{"a": 1}, 2]},
        {"inputs": [1], "instances": [1]},
        {},
        [],
        5,
        b"{",
        b'{"a": 1, "a": 2}',
        b"\xff",
    ],
)
def test_body_without_a_table_is_stored_with_its_predictions(body: Any) -> None:
    found = taken(body)
    assert found["note"] == "no table of rows in the body (application/json)"
    assert (found["columns"], found["data"], found["rows"]) == ([], [], 0)
    assert found["predictions"] == [1.5]


def test_a_csv_body_is_a_table() -> None:
    body = b'\xef\xbb\xbfx,y\r\n1,"a, ""b"""\r\n-2.5e3,\r\n\r\n'
    found = taken(body, media_type="text/csv")
    assert (found["columns"], found["data"]) == (["x", "y"], [[1, 'a, "b"'], [-2500.0, None]])
    assert found["rows"] == 2


@pytest.mark.parametrize("body", [b"", b"\n", b"a,b\n1,2,3\n", b"a\n\xff\n", b'a\n"x'])
def test_csv_body_without_a_table_is_marked_unreadable(body: bytes) -> None:
    found = taken(body, media_type="text/csv")
    assert found["note"] == "no table of rows in the body (text/csv)"


def test_body_that_only_pandas_reads_is_marked_unreadable() -> None:
    found = taken(b"PAR1...PAR1", media_type="application/vnd.apache.parquet")
    assert found["note"] == "no table of rows in the body (application/vnd.apache.parquet)"
    assert found["predictions"] == [1.5]


def test_record_too_large_is_stored_without_values() -> None:
    body = json.dumps({"x": 1}).encode()
    size = len(body) + len(ANSWER)
    assert taken(body, limit=size)["truncated"] is False
    found = taken(body, limit=size - 1)
    assert found["truncated"] is True
    assert found["note"] == f"body and answer have {size} bytes"
    assert (found["columns"], found["data"], found["predictions"]) == ([], [], None)
    assert found["request_id"] == "r1"


# Predictions


@pytest.mark.parametrize(
    ("answer", "predictions"),
    [
        (b'{"predictions": {"a": [1]}, "model": "m"}', {"a": [1]}),
        (b'{"predictions": null}', None),
        (b"[1, 2]", [1, 2]),
        (b'{"choices": []}', {"choices": []}),
        (b'"text"', "text"),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
    ],
)
def test_odd_predictions_are_kept_as_they_are(answer: bytes, predictions: Any) -> None:
    assert taken({"x": 1}, answer)["predictions"] == predictions


@pytest.mark.parametrize("answer", [b"", b"plain text", b'{"a": 1, "a": 2}'])
def test_answer_without_json_is_stored_without_predictions(answer: bytes) -> None:
    found = taken({"x": 1}, answer)
    assert (found["predictions"], found["note"]) == (None, "the answer is no JSON")
    assert found["data"] == [[1]]


# Columns that are not to be seen


def test_excluded_columns_are_left_out() -> None:
    found = taken([{"a": 1, "name": "Ann", "b": 2}], exclude=["name", "unknown"])
    assert (found["columns"], found["data"]) == (["a", "b"], [[1, 2]])


def test_hashed_columns_are_stored_as_digests() -> None:
    records = [{"id": "7", "a": 1}, {"id": "7", "a": 2}, {"id": 7, "a": 3}, {"id": None, "a": 4}]
    found = taken(records, hash=["id"])
    same, again, number, nothing = (row[0] for row in found["data"])
    assert same == again != number
    assert nothing is None
    assert len(same) == 24
    assert [row[1] for row in found["data"]] == [1, 2, 3, 4]
    assert taken(records, hash=["id"])["data"] == found["data"]


def test_digests_cannot_be_looked_up_without_the_salt() -> None:
    payload = b"".join(encode(HEAD | {"hash": ["id"]}, b'{"id": 7}', ANSWER))
    digests = {document("id", payload, 1000, salt)["data"][0][0] for salt in (b"", b"a", b"b" * 99)}
    assert len(digests) == 3


def test_an_integer_of_any_size_has_a_digest() -> None:
    assert len(taken({"id": 10**30}, hash=["id"])["data"][0][0]) == 24


def test_a_column_that_is_both_excluded_and_hashed_is_left_out() -> None:
    found = taken({"a": 1, "b": 2}, exclude=["a"], hash=["a"])
    assert (found["columns"], found["data"]) == (["b"], [[2]])


@pytest.mark.parametrize("secret", ["exclude", "hash"])
def test_redacted_record_has_no_hidden_columns(secret: str) -> None:
    payload = b"".join(encode(HEAD, b'{"name": "Ann"}', b'"Bob"'))
    assert redacted(payload) == payload
    shown = redacted(b"".join(encode(HEAD | {secret: ["name"]}, b'{"name": "Ann"}', b'"Bob"')))
    assert b"diabetes" in shown
    assert b"Ann" not in shown
    assert b"Bob" not in shown
