"""Every answer has a name, the same that the model is told: the caller's own, or a new one."""

import re

import pytest

from model_deployment.core.domain import State
from model_deployment.core.names import ModelKey
from tests.support.gates import column, gate
from tests.support.proxy_front import LIMIT, Serve
from tests.support.raw_http import Wire, chunks, head, post
from tests.support.upstreams import Behave, Peer, answers

JSON = ("Content-Type", "application/json")
REFUSED = b'{"message": "Error: too few columns"}'
FAILED = b'{"message": "Error: oh", "stack_trace": "Traceback"}'


async def _named(caller: Wire, data: bytes, status: int) -> str:
    answer = await caller.ask(data)
    assert answer.status == status, answer
    name = answer.get("x-request-id")
    assert name
    return name


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (post(b"a\n1", content_type="text/csv"), 200),
        (post(b"b\n1", content_type="text/csv"), 422),
        (post(b"{", content_type="application/json"), 400),
        (post(b"x"), 415),
        (post(content_length=str(2 * LIMIT)), 413),
        (head("GET /iris-1 HTTP/1.1", [("Host", "proxy")]), 405),
        (post(path="/nothing-1"), 200),
        (post(path="/stopped-1"), 503),
    ],
)
async def test_every_answer_has_a_name_of_its_own(serve: Serve, data: bytes, status: int) -> None:
    front = await serve(answers(b"[1]", headers=[JSON]), gate=gate(column("long")))
    stopped = front.route(ModelKey("stopped", 1), State.STOPPED)
    front.publish(front.route(), stopped)
    first = await _named(await front.call(), data, status)
    caller = await front.call()
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert await _named(caller, data, status) != first
    given = data.replace(b"\r\n", b"\r\nx-request-id: My.own_name-1\r\n", 1)
    assert await _named(await front.call(), given, status) == "My.own_name-1"


@pytest.mark.parametrize(
    "behave", [answers(FAILED, 400, [JSON]), answers(REFUSED, 400, [JSON]), answers(b"", 504)]
)
async def test_problems_of_a_model_have_a_name_as_well(serve: Serve, behave: Behave) -> None:
    front = await serve(behave)
    answer = await front.ask(post(x_request_id="mine"))
    assert answer.status >= 400
    assert answer.get("x-request-id") == "mine"


@pytest.mark.parametrize("size", [10, 3_000_000])
async def test_a_stream_has_a_name_as_well(serve: Serve, size: int) -> None:
    async def behave(peer: Peer) -> None:
        await peer.next()
        await peer.begin(bytes(size))
        await peer.send(chunks(end=True))

    front = await serve(behave)
    answer = await front.ask(post(x_request_id="mine"))
    assert answer.body == bytes(size)
    assert answer.get("transfer-encoding") == "chunked"
    assert answer.get("x-request-id") == "mine"


@pytest.mark.parametrize("given", ["mine", "a b", "x" * 129, "", "é", '"quoted"', None])
async def test_the_model_is_told_the_name_that_the_caller_is(
    serve: Serve, given: str | None
) -> None:
    front = await serve(answers(b"[1]", headers=[JSON, ("X-Request-Id", "another")]))
    answer = await front.ask(post() if given is None else post(x_request_id=given))
    [request] = front.upstream.requests
    name = request.get("x-request-id")
    assert name == answer.get("x-request-id")
    assert name == given if given == "mine" else re.fullmatch("[0-9a-f]{32}", str(name))
