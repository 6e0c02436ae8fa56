"""Requests are checked before the model sees them, and what is sent to it is what was checked."""

import json
import threading
from typing import Any

import pytest

from model_deployment.gate import Gate
from model_deployment.proxy import exchange
from model_deployment.proxy.validate import Validated, validate
from tests.support.gates import column, gate, param, split
from tests.support.proxy_front import KEY, Front, Serve
from tests.support.raw_http import post, post_chunked, post_json
from tests.support.upstreams import echo

JSON = "application/json"
NOT_JSON = {
    "nothing": b"",
    "half of it": b'{"a": ',
    "two of them": b"{} {}",
    "infinity": b'{"a": -Infinity}',
    "a key twice": b'{"a": 1, "a": 2}',
    "not UTF-8": b'{"a": "\xff"}',
    "too deep": b"[" * 100 + b"]" * 100,
}


def sent(front: Front) -> Any:
    """What the model was sent last."""
    return json.loads(front.upstream.requests[-1].body)


async def test_a_body_that_does_not_fit_reaches_no_model(serve: Serve) -> None:
    front = await serve(echo, gate=gate(column("long")))
    caller = await front.call()
    problem = (await caller.ask(post_json(split(1, "2")))).problem(422)
    assert problem["title"] == "Invalid request"
    assert problem["error_count"] == 1
    [error] = problem["errors"]
    assert error == {
        "row": 1,
        "column": "a",
        "kind": "type",
        "expected": "long: a whole number of at most 64 bits",
        "got": "'2'",
    }
    assert "iris-1" in problem["detail"]
    assert "1 violation " in problem["detail"]
    assert not front.upstream.connections
    assert (await caller.ask(post_json(split(1, 2)))).status == 200
    assert front.traffic.answered == 1


async def test_the_first_twenty_violations_are_told_and_all_are_counted(serve: Serve) -> None:
    front = await serve(echo, gate=gate(column("long")))
    problem = (await front.ask(post_json(split(*["x"] * 30)))).problem(422)
    assert [error["row"] for error in problem["errors"]] == list(range(20))
    assert problem["error_count"] == 30
    assert "30 violations" in problem["detail"]


async def test_violations_are_counted_by_column_and_kind(serve: Serve) -> None:
    front = await serve(echo, gate=gate(column("long"), column("string", "b")))
    for value in ({"a": "x", "b": "y"}, {"a": 1}, {"a": 1, "b": "y"}, {"a": 1, "b": "y", "c": 1}):
        await front.ask(post_json(value))
    counters = front.routes.counters(KEY)
    assert counters.checked is True
    assert counters.refused == 3
    expected = {("a", "type"): 1, ("b", "missing"): 1, ("", "unknown"): 1}
    assert counters.violations == expected


@pytest.mark.parametrize(
    ("mode", "status", "wanted"), [("strict", 422, None), ("observe", 200, "1"), ("coerce", 200, 1)]
)
async def test_what_happens_to_a_number_in_quotes(
    serve: Serve, mode: str, status: int, wanted: Any
) -> None:
    front = await serve(echo, gate=gate(column("double"), mode=mode))
    assert (await front.ask(post_json(split("1")))).status == status
    assert front.routes.counters(KEY).refused == (status == 422)
    if wanted is not None:
        assert sent(front) == split(wanted)


async def test_what_is_only_observed_goes_as_it_came(serve: Serve) -> None:
    front = await serve(echo, gate=gate(column("long"), mode="observe"))
    body = b'{"dataframe_split" : {"columns":["b"],"data":[[ "x" ]]}, "c":1}'
    assert (await front.ask(post(body, content_type=JSON))).body == body
    counters = front.routes.counters(KEY)
    assert counters.refused == 0
    assert counters.violations == {("a", "missing"): 1, ("", "unknown"): 2}


async def test_what_can_be_repaired_is_sent_repaired(serve: Serve) -> None:
    check = gate(column("double"), mode="coerce", params=[param("long", 3)])
    front = await serve(echo, gate=check)
    split = {"columns": ["b", "a"], "data": [["x", "1.5"]]}
    answer = await front.ask(post_json({"dataframe_split": split, "params": {"p": 4}}))
    assert answer.status == 200
    split = {"columns": ["a"], "data": [[1.5]]}
    assert sent(front) == {"dataframe_split": split, "params": {"p": 4}}
    assert front.routes.counters(KEY).refused == 0


async def test_what_cannot_be_repaired_is_refused(serve: Serve) -> None:
    front = await serve(echo, gate=gate(column("double"), mode="coerce"))
    (await front.ask(post_json(split("one")))).problem(422)
    assert not front.upstream.connections


@pytest.mark.parametrize("chunked", [False, True])
async def test_what_fits_goes_byte_for_byte(serve: Serve, chunked: bool) -> None:
    front = await serve(echo, gate=gate(column("string")))
    body = '{ "dataframe_split":{"data": [["\\u00e9"],["é"]],\n"columns": ["a"] } }'.encode()
    if chunked:
        data = post_chunked(body[:10], body[10:])
        data = data.replace(b"\r\n", b"\r\ncontent-type: application/json\r\n", 1)
    else:
        data = post(body, content_type=JSON)
    assert (await front.ask(data)).body == body


@pytest.mark.parametrize("value", [{"a": 1}, [{"a": 1}]])
async def test_bare_records_are_put_into_a_form(serve: Serve, value: Any) -> None:
    front = await serve(echo, gate=gate(column("long")))
    assert (await front.ask(post_json(value))).status == 200
    assert sent(front) == {"dataframe_records": [{"a": 1}]}
    [request] = front.upstream.requests
    assert request.get("content-type") == JSON


@pytest.mark.parametrize("name", NOT_JSON)
@pytest.mark.parametrize("check", [gate(), gate(column("long")), gate(mode="observe")])
async def test_what_is_no_json_reaches_no_model(serve: Serve, check: Gate, name: str) -> None:
    front = await serve(echo, gate=check)
    problem = (await front.ask(post(NOT_JSON[name], content_type=JSON))).problem(400)
    assert problem["title"] == "Malformed JSON"
    assert not front.upstream.connections


@pytest.mark.parametrize("name", NOT_JSON)
async def test_without_a_gate_anything_goes(serve: Serve, name: str) -> None:
    front = await serve(echo)
    answer = await front.ask(post(NOT_JSON[name], content_type=JSON))
    assert (answer.status, answer.body) == (200, NOT_JSON[name])
    assert front.routes.counters(KEY).checked is False


async def test_without_a_signature_nothing_is_checked_but_the_form(serve: Serve) -> None:
    front = await serve(echo, gate=gate())
    assert (await front.ask(post_json({"inputs": [1, "x"]}))).status == 200
    assert (await front.ask(post_json({"anything": 1}))).status == 200
    assert sent(front) == {"dataframe_records": [{"anything": 1}]}
    # A column of a frame as likely as a record: nobody knows how many rows are meant.
    problem = (await front.ask(post_json({"anything": [1]}))).problem(422)
    assert "dataframe_split" in problem["detail"]
    (await front.ask(post_json(7))).problem(422)
    assert front.routes.counters(KEY).checked is False


@pytest.mark.parametrize(
    ("body", "status"), [(b"a,b\n1,2\n", 200), (b'a,b\n"1\n",2', 200), (b"a\n1\n", 422)]
)
async def test_the_header_of_a_csv_is_checked(serve: Serve, body: bytes, status: int) -> None:
    front = await serve(echo, gate=gate(column("long"), column("long", "b")))
    answer = await front.ask(post(body, content_type="text/csv"))
    assert answer.status == status
    if status == 200:
        assert answer.body == body
        assert front.upstream.requests[0].get("content-type") == "text/csv"
    else:
        assert answer.problem(422)["error_count"] >= 1
        assert not front.upstream.connections


@pytest.mark.parametrize("body", [b"a\xff\n1", b"", b"a\n", b"a\n1,2\n", b"a\n1\n1,2\n"])
@pytest.mark.parametrize("mode", ["strict", "observe"])
async def test_a_csv_that_is_none(serve: Serve, mode: str, body: bytes) -> None:
    front = await serve(echo, gate=gate(column("long"), mode=mode))
    problem = (await front.ask(post(body, content_type="text/csv"))).problem(400)
    assert problem["title"] == "Malformed CSV"
    assert not front.upstream.connections


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content_type": ""},
        {"content_type": "text/plain"},
        {"content_type": "application/json+x"},
        {"content_type": "application/json; charset=latin-1"},
        {"content_type": "application/json; format=pandas-split"},
        {"content_type": JSON, "content_encoding": "gzip"},
    ],
)
async def test_a_media_type_that_no_model_reads(serve: Serve, headers: dict[str, str]) -> None:
    front = await serve(echo, gate=gate(column("long")))
    caller = await front.call()
    (await caller.ask(post(b'{"a": 1}', **headers))).problem(415)
    assert not front.upstream.connections
    assert (await caller.ask(post_json({"a": 1}))).status == 200


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("Application/JSON", JSON),
        ('application/json; charset="UTF-8"', JSON),
        ("text/csv;charset=utf8", "text/csv"),
        ("application/vnd.apache.parquet", "application/vnd.apache.parquet"),
    ],
)
async def test_media_types_reach_the_model_as_mlflow_spells_them(
    serve: Serve, given: str, seen: str
) -> None:
    front = await serve(echo, gate=gate(column("long", "[1]")))
    body = b'{"[1]":1}' if seen == JSON else b"[1]\n1"
    answer = await front.ask(post(body, content_type=given, content_encoding="identity"))
    assert answer.status == 200
    [request] = front.upstream.requests
    assert request.get("content-type") == seen
    assert request.get("content-encoding") is None


@pytest.mark.parametrize("rows", [1, 50_000])
async def test_large_bodies_are_judged_in_a_thread(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    threads = []

    def spy(check: Gate, media_type: bytes, body: bytes) -> Validated:
        threads.append(threading.current_thread() is threading.main_thread())
        return validate(check, media_type, body)

    monkeypatch.setattr(exchange, "validate", spy)
    front = await serve(echo, gate=gate(column("long"), mode="coerce"))
    good, repaired = split(*range(rows)), split(*map(str, range(rows)))
    assert json.loads((await front.ask(post_json(good))).body) == good
    assert json.loads((await front.ask(post_json(repaired))).body) == good
    problem = (await front.ask(post_json(split(*["x"] * rows)))).problem(422)
    assert problem["error_count"] == rows
    (await front.ask(post(bytes(rows * 10), content_type=JSON))).problem(400)
    assert threads == [rows == 1] * 4


@pytest.mark.parametrize("value", ["x", ["x"], {"x": 1}])
@pytest.mark.parametrize("name", ["messages", "prompt", "input"])
async def test_a_chat_is_no_way_past_the_gate(serve: Serve, name: str, value: Any) -> None:
    front = await serve(echo, gate=gate(column("long")))
    problem = (await front.ask(post_json({"a": 1, name: value}))).problem(422)
    assert [(error["column"], error["kind"]) for error in problem["errors"]] == [(name, "unknown")]
    assert not front.upstream.connections
