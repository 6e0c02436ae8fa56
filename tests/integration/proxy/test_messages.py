"""What of a request reaches a model, what of its answer a caller, and what the proxy says itself."""

import json

import pytest

from model_deployment.core.domain import State
from model_deployment.core.names import ModelKey
from tests.support.gates import gate
from tests.support.proxy_front import KEY, Serve
from tests.support.raw_http import head, post
from tests.support.upstreams import Peer, answers, echo

JSON = ("Content-Type", "application/json")
HOP_BY_HOP = {
    "keep-alive": "timeout=5",
    "proxy-authenticate": "Basic",
    "proxy-connection": "keep-alive",
    "te": "trailers",
    "trailer": "x-sum",
    "upgrade": "h2c",
}


async def test_a_model_gets_what_it_needs_and_no_more(serve: Serve) -> None:
    front = await serve(echo)
    caller = await front.call()
    await caller.ask(
        post(
            b"{}",
            content_type="application/json",
            accept="text/csv",
            accept_encoding="gzip",
            user_agent="test",
            x_request_id="7",
            connection="X-Internal, keep-alive",
            x_internal="secret",
            authorization="Basic c2VjcmV0",
            proxy_authorization="Basic c2VjcmV0",
            cookie="session=secret",
            forwarded="for=10.0.0.1",
            x_real_ip="10.0.0.1",
            x_forwarded_for="10.0.0.1",
            x_forwarded_proto="https",
            x_forwarded_host="example.org",
            x_forwarded_user="admin",
            **HOP_BY_HOP,
        )
    )
    [request] = front.upstream.requests
    assert dict(request.headers) == {
        "host": f"127.0.0.1:{front.upstream.port}",
        "content-type": "application/json",
        "accept": "text/csv",
        "user-agent": "test",
        "x-request-id": "7",
        "content-length": "2",
    }


async def test_nothing_but_a_name_is_added_for_a_caller_who_says_little(serve: Serve) -> None:
    front = await serve(echo)
    await front.ask(post(b"{}"))
    [request] = front.upstream.requests
    assert {name for name, _ in request.headers} == {"host", "content-length", "x-request-id"}


async def test_a_repeated_header_stays_repeated(serve: Serve) -> None:
    front = await serve(answers(headers=[("X-A", "1"), ("X-A", "2")]))
    fields = [("Host", "proxy"), ("X-A", "1"), ("Content-Length", "0"), ("X-A", "2")]
    answer = await front.ask(head("POST /iris-1 HTTP/1.1", fields))
    [request] = front.upstream.requests
    for message in (request, answer):
        assert [value for name, value in message.headers if name == "x-a"] == ["1", "2"]


async def test_a_caller_gets_what_the_model_says_and_no_more(serve: Serve) -> None:
    front = await serve(
        answers(
            b'{"predictions": [1]}',
            headers=[
                JSON,
                ("X-Model", "iris"),
                ("Connection", "X-Internal"),
                ("X-Internal", "secret"),
                ("Set-Cookie", "session=secret"),
                ("Server", "uvicorn"),
                ("X-Request-Id", "the model's own"),
                ("X-Model-Version", "the model's own"),
                ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
                *HOP_BY_HOP.items(),
            ],
        )
    )
    answer = await front.ask(post(x_request_id="7"))
    assert answer.body == b'{"predictions": [1]}'
    date = answer.get("date")
    assert date != "Thu, 01 Jan 1970 00:00:00 GMT"
    assert dict(answer.headers) == {
        "content-type": "application/json",
        "x-model": "iris",
        "content-length": "20",
        "x-model-version": "1",
        "date": date,
        "x-request-id": "7",
        "x-content-type-options": "nosniff",
    }


@pytest.mark.parametrize("status", [200, 201, 202, 206, 299])
async def test_a_status_of_success_is_passed_on_as_it_is(serve: Serve, status: int) -> None:
    front = await serve(answers(b"made up", status, [JSON, ("Location", "/elsewhere")]))
    answer = await front.ask(post())
    assert (answer.status, answer.body) == (status, b"made up")
    assert answer.get("location") == "/elsewhere"
    assert answer.get("content-type") == "application/json"
    assert len(front.upstream.requests) == 1
    assert front.failures == 0


async def test_an_answer_without_a_body(serve: Serve) -> None:
    async def behave(peer: Peer) -> None:
        while await peer.next():
            await peer.send(b"HTTP/1.1 204 No Content\r\nX-Model: iris\r\n\r\n")

    front = await serve(behave)
    caller = await front.call()
    for _ in range(2):
        answer = await caller.ask(post())
        assert (answer.status, answer.get("x-model")) == (204, "iris")
        # RFC 9110, section 8.6.
        assert answer.get("content-length") is None


async def test_compressed_bodies_are_passed_on_compressed(serve: Serve) -> None:
    front = await serve(answers(b"\x1f\x8bnot really", headers=[("Content-Encoding", "gzip")]))
    answer = await front.ask(post(b"\x1f\x8balso not", content_encoding="gzip"))
    assert answer.body == b"\x1f\x8bnot really"
    assert answer.get("content-encoding") == "gzip"


@pytest.mark.parametrize("query", ["", "?", "?a=1&b=%2F%20", "?a=b+c&a=", "?x=|<>{}&%zz;~'\"\\^`"])
async def test_the_query_goes_along_as_it_is(serve: Serve, query: str) -> None:
    front = await serve(echo)
    assert (await front.ask(post(path=f"/iris-1{query}"))).status == 200
    [request] = front.upstream.requests
    assert request.target == "/invocations" + ("" if query == "?" else query)


async def test_two_paths_lead_to_a_model(serve: Serve) -> None:
    front = await serve(echo)
    front.publish(front.route(), front.route(ModelKey("my model", 12)))
    paths = ["/iris-1", "/iris-1/invocations", "/my%20model-12", "/my%20model-12/invocations"]
    for path in paths:
        assert (await front.ask(post(b"x", path))).body == b"x"
    assert {request.start for request in front.upstream.requests} == {"POST /invocations HTTP/1.1"}


@pytest.mark.parametrize(
    "path",
    ["/", "/iris-2", "/iris-1/", "/iris-1/ping", "/iris%2D1", "/iris-1/../iris-1", "//iris-1"],
)
async def test_all_else_goes_to_the_application_inside(serve: Serve, path: str) -> None:
    front = await serve(echo)
    assert (await front.ask(post(b"x", path))).body == b"inside: " + path.encode()
    assert not front.upstream.connections


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_predictions_are_asked_for_with_post(serve: Serve, method: str) -> None:
    front = await serve(echo)
    caller = await front.call()
    answer = await caller.ask(head(f"{method} /iris-1 HTTP/1.1", [("Host", "proxy")]))
    answer.problem(405)
    assert answer.get("allow") == "POST"
    assert (await caller.ask(post(b"x"))).body == b"x"
    assert len(front.upstream.requests) == 1


@pytest.mark.parametrize("state", [state for state in State if state is not State.READY])
async def test_a_deployment_that_does_not_serve_says_so(serve: Serve, state: State) -> None:
    front = await serve(echo)
    front.publish(front.route(state=state, reason="no luck"))
    caller = await front.call()
    answer = await caller.ask(post(b"x"))
    problem = answer.problem(503)
    assert problem["state"] == state
    assert problem["detail"] == f"cannot predict with {KEY}: it is {state} (no luck)"
    # At rest it stays as it is, so there is no point in trying again.
    at_rest = state in (State.STOPPED, State.FAILED)
    assert (answer.get("retry-after") is None) == at_rest
    front.publish(front.route())
    assert (await caller.ask(post(b"x"))).body == b"x"


async def test_a_problem_is_one_document_and_no_more(serve: Serve) -> None:
    front = await serve(echo)
    front.publish(front.route(state=State.STARTING))
    answer = await front.ask(post())
    assert json.loads(answer.body) == {
        "type": "urn:model-deployment:problem:not-ready",
        "title": "Not ready",
        "status": 503,
        "detail": "cannot predict with iris-1: it is starting",
        "state": "starting",
    }
    assert {name for name, _ in answer.headers} == {
        "content-type",
        "content-length",
        "retry-after",
        "x-model-version",
        "date",
        "x-request-id",
        "x-content-type-options",
    }


async def test_a_fault_of_the_proxy_itself_is_told_without_internals(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(headers: object) -> bytes:
        raise RuntimeError("canary")

    front = await serve(echo, gate=gate())
    monkeypatch.setattr("model_deployment.proxy.headers.media_type", broken)
    caller = await front.call()
    for _ in range(2):
        answer = await caller.ask(post(b"x", x_request_id="mine"))
        answer.problem(500)
        assert b"canary" not in answer.body
        assert answer.get("x-request-id") == "mine"
    assert {getattr(record, "request_id", "") for record in caplog.records} == {"mine"}
    assert "canary" in caplog.text
    assert front.idle()
