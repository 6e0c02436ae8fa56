"""Answers of a model are made fit for callers: valid JSON, the right status, no internals, a name."""

import json
import threading
from collections.abc import Iterable
from typing import Any

import pytest

from model_deployment.proxy import exchange
from model_deployment.proxy.answers import valid_json
from tests.support.proxy_front import LAUNCH, Serve
from tests.support.raw_http import Message, chunks, head, post
from tests.support.upstreams import Behave, Peer, answers

JSON = ("Content-Type", "application/json")
CANARY = "canary-4711"
#: What MLflow's server says of an exception inside the model.
BAD_REQUEST = {
    "error_code": "BAD_REQUEST",
    "message": "Encountered an unexpected error while evaluating the model. Verify that the input is "
    f"compatible with the model for inference. Error '{CANARY}'",
    "stack_trace": f'Traceback (most recent call last):\n  File "/srv/x.py"\nValueError: {CANARY}',
}
#: Of what it does not take.
INVALID = {
    "error_code": "INVALID_PARAMETER_VALUE",
    "message": f"Failed to parse input data {CANARY}. Error: the columns\nare too few",
}


def chunked(
    *pieces: bytes, status: int = 200, whole: bool = True, media_type: str = JSON[1]
) -> Behave:
    """Answers every request in pieces; one that is not whole ends with the connection."""

    async def behave(peer: Peer) -> None:
        while await peer.next():
            fields = [("Content-Type", media_type), ("Transfer-Encoding", "chunked")]
            await peer.send(head(f"HTTP/1.1 {status} Whatever", fields))
            for piece in pieces:
                await peer.send(chunks(piece))
            if not whole:
                return
            await peer.send(chunks(end=True))

    return behave


def said(value: Any, status: int) -> Behave:
    return answers(json.dumps(value).encode(), status, [JSON])


def is_told_nowhere(answer: Message) -> None:
    """Neither what the model said, nor its headers."""
    assert CANARY not in answer.body.decode()
    assert "Traceback" not in answer.body.decode()
    assert CANARY not in str(answer.headers)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b'{"predictions": [NaN, 1.5]}', b'{"predictions": [null, 1.5]}'),
        (b'{"predictions": [Infinity, -Infinity]}', b'{"predictions": [null, null]}'),
        (b'{"predictions":[["NaN",NaN]]}', b'{"predictions":[["NaN",null]]}'),
        (b'{"a \\"NaN": "-Infinity\\\\", "b": NaN}', b'{"a \\"NaN": "-Infinity\\\\", "b": null}'),
        (b'{"predictions": ["NaN"]}', b'{"predictions": ["NaN"]}'),
        (b'{ "predictions" : [1.50] }', b'{ "predictions" : [1.50] }'),
    ],
)
@pytest.mark.parametrize("in_pieces", [False, True])
async def test_what_json_has_no_word_for_is_null(
    serve: Serve, content: bytes, wanted: bytes, in_pieces: bool
) -> None:
    half = len(content) // 2
    whole, cut = answers(content, headers=[JSON]), chunked(content[:half], content[half:])
    front = await serve(cut if in_pieces else whole)
    answer = await front.ask(post())
    assert (answer.status, answer.body) == (200, wanted)
    assert answer.get("content-length") == str(len(wanted))
    json.loads(answer.body)


@pytest.mark.parametrize("media_type", ["Application/JSON", "application/json; charset=utf-8"])
async def test_json_is_known_by_any_spelling(serve: Serve, media_type: str) -> None:
    front = await serve(answers(b"[NaN]", headers=[("Content-Type", media_type)]))
    answer = await front.ask(post())
    assert answer.body == b"[null]"
    assert answer.get("content-type") == media_type


@pytest.mark.parametrize(
    "headers",
    [[], [("Content-Type", "text/plain")], [JSON, ("Content-Encoding", "gzip")]],
)
async def test_what_is_no_json_is_left_alone(
    serve: Serve, headers: Iterable[tuple[str, str]]
) -> None:
    front = await serve(answers(b"[NaN]", headers=headers))
    assert (await front.ask(post())).body == b"[NaN]"


async def test_a_stream_that_is_no_json_is_left_alone(serve: Serve) -> None:
    front = await serve(chunked(b"[NaN, ", b"NaN]", media_type="text/plain"))
    answer = await front.ask(post())
    assert answer.body == b"[NaN, NaN]"
    assert answer.get("transfer-encoding") == "chunked"


@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.parametrize("rows", [1, 100_000, 400_000])
async def test_large_answers_are_looked_into_in_a_thread(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, rows: int, in_pieces: bool
) -> None:
    threads = []

    def spy(content: bytes) -> bytes:
        threads.append(threading.current_thread() is threading.main_thread())
        return valid_json(content)

    monkeypatch.setattr(exchange, "valid_json", spy)
    content = b'["NaN"' + b",NaN" * rows + b"]"
    front = await serve(chunked(content) if in_pieces else answers(content, headers=[JSON]))
    answer = await front.ask(post())
    assert answer.body == b'["NaN"' + b",null" * rows + b"]"
    assert threads == [rows == 1]


@pytest.mark.parametrize("size", [10, 3_000_000])
async def test_json_that_breaks_off_is_no_answer(serve: Serve, size: int) -> None:
    front = await serve(chunked(bytes(size), whole=False))
    (await front.ask(post())).problem(502)
    assert front.traffic.answered == 0
    assert front.failures == 1


@pytest.mark.parametrize("in_pieces", [False, True])
async def test_of_an_exception_inside_the_model_only_its_log_knows(
    serve: Serve, in_pieces: bool
) -> None:
    content = json.dumps(BAD_REQUEST).encode()
    front = await serve(chunked(content, status=400) if in_pieces else said(BAD_REQUEST, 400))
    answer = await front.ask(post(x_request_id="mine"))
    problem = answer.problem(502)
    assert problem["title"] == "Model failed"
    assert "X-Request-Id" in problem["detail"]
    assert answer.get("x-request-id") == "mine"
    is_told_nowhere(answer)
    [(launch, text)] = front.traces
    assert launch == LAUNCH
    assert text.startswith(
        "request mine: answered 502 (Model failed); the model server answered 400: Traceback"
    )
    assert CANARY in text
    # The process is well, and nobody need look at it.
    assert front.failures == 0
    assert front.traffic.answered == 1


async def test_a_trace_is_found_under_a_name_the_proxy_gave(serve: Serve) -> None:
    front = await serve(said(BAD_REQUEST, 400))
    names = [(await front.ask(post())).get("x-request-id") for _ in range(2)]
    assert [text.split()[1] for _, text in front.traces] == [f"{name}:" for name in names]


async def test_of_a_long_trace_the_end_is_kept(serve: Serve) -> None:
    trace = "x" * 100_000 + CANARY
    front = await serve(said({**BAD_REQUEST, "stack_trace": trace}, 400))
    is_told_nowhere(await front.ask(post()))
    [(_, text)] = front.traces
    assert text.endswith("x" + CANARY)
    assert len(text) < 25_000


async def test_an_exception_without_a_trace_is_one_all_the_same(serve: Serve) -> None:
    front = await serve(said({**BAD_REQUEST, "stack_trace": ""}, 400))
    answer = await front.ask(post())
    answer.problem(502)
    is_told_nowhere(answer)
    assert CANARY in front.traces[0][1]


@pytest.mark.parametrize("status", [400, 422])
async def test_what_mlflow_refuses_is_the_callers_to_put_right(serve: Serve, status: int) -> None:
    front = await serve(said(INVALID, status))
    answer = await front.ask(post())
    problem = answer.problem(422)
    assert problem["detail"] == "cannot predict with iris-1: the columns are too few"
    is_told_nowhere(answer)
    assert not front.traces


async def test_what_the_model_raised_in_mlflow_s_name_is_a_failure_of_it(serve: Serve) -> None:
    message = f"Failed to predict data '[[1]]'. \nError: cannot reach the table {CANARY}"
    front = await serve(said({"error_code": "INVALID_PARAMETER_VALUE", "message": message}, 400))
    answer = await front.ask(post())
    answer.problem(502)
    is_told_nowhere(answer)
    [(_, text)] = front.traces
    assert text.endswith(message)


async def test_what_mlflow_s_check_refuses_is_the_callers_to_put_right(serve: Serve) -> None:
    message = (
        f"Failed to predict data '{CANARY}'. \nError: Failed to enforce schema of data '{CANARY}' "
        "with schema '[]'. Error: Model is missing inputs \ud800 ['a']."
    )
    front = await serve(said({"error_code": "INVALID_PARAMETER_VALUE", "message": message}, 400))
    answer = await front.ask(post())
    problem = answer.problem(422)
    assert problem["detail"] == "cannot predict with iris-1: Model is missing inputs ? ['a']."
    is_told_nowhere(answer)
    assert not front.traces


@pytest.mark.parametrize("status", [301, 304, 401, 404, 413, 429, 500, 502, 503, 599])
@pytest.mark.parametrize("media_type", ["text/html", "application/json"])
async def test_any_other_status_is_a_failure_of_the_model(
    serve: Serve, status: int, media_type: str
) -> None:
    content = b"" if status == 304 else f"<html>Internal error: {CANARY}</html>".encode()
    headers = [("Content-Type", media_type), ("Location", CANARY), ("Retry-After", "7")]
    front = await serve(answers(content, status, headers))
    answer = await front.ask(post())
    assert answer.problem(502)["title"] == "Model failed"
    is_told_nowhere(answer)
    assert answer.get("location") is None
    assert answer.get("retry-after") is None
    [(_, text)] = front.traces
    assert text.partition("; ")[2] == f"the model server answered {status}: {content.decode()}"
    assert len(front.upstream.requests) == 1
    assert front.failures == 0


@pytest.mark.parametrize("content", [b"", b"no json", b"[]", b'"x"', b"{}", b'{"message": ""}'])
async def test_a_400_that_says_nothing_is_a_failure_of_the_model(
    serve: Serve, content: bytes
) -> None:
    front = await serve(answers(content, 400, [JSON]))
    (await front.ask(post())).problem(502)
    assert len(front.traces) == 1


@pytest.mark.parametrize(
    ("status", "title"), [(504, "Model timed out"), (415, "Unsupported media type")]
)
async def test_some_statuses_mean_the_same_here(serve: Serve, status: int, title: str) -> None:
    front = await serve(said(BAD_REQUEST, status))
    answer = await front.ask(post())
    assert answer.problem(status)["title"] == title
    is_told_nowhere(answer)
    assert not front.traces
    assert front.traffic.timeouts_in_row == (status == 504)


async def test_a_failure_leaves_the_connection_as_good_as_before(serve: Serve) -> None:
    statuses = iter([400, 200, 500, 200])

    async def behave(peer: Peer) -> None:
        while await peer.next():
            await peer.answer(json.dumps(BAD_REQUEST).encode(), next(statuses), [JSON])

    front = await serve(behave)
    caller = await front.call()
    assert [(await caller.ask(post())).status for _ in range(4)] == [502, 200, 502, 200]
    assert front.upstream.connections == 1
