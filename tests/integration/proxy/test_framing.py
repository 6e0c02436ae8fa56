"""Where a request ends is clear, or it is no request: uvicorn and the model must not differ on that.

uvicorn reads with httptools, which is llhttp in its strict mode: whatever leaves the end of a body
open is answered 400, and the connection is closed. The proxy writes each request anew, with the body
it has read, so that a request in a body stays a body.
"""

import asyncio

import pytest

from tests.support.proxy_front import Serve
from tests.support.raw_http import head, post, post_chunked
from tests.support.upstreams import HeldUpstream, echo
from tests.support.waiting import until

START = b"POST /iris-1 HTTP/1.1\r\nHost: proxy\r\n"
SMUGGLED = b"POST /iris-1/invocations HTTP/1.1\r\nHost: proxy\r\nContent-Length: 1\r\n\r\n!"
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
LENGTH = b"Content-Length: %d\r\n" % len(SMUGGLED)
TE = b"Transfer-Encoding: chunked\r\n"

AMBIGUOUS = {
    "length and chunked": START + LENGTH + TE + b"\r\n" + CHUNKED,
    "chunked and length": START + TE + LENGTH + b"\r\n" + CHUNKED,
    "two lengths": START + b"Content-Length: 0\r\n" + LENGTH + b"\r\n" + SMUGGLED,
    "the same length twice": START + LENGTH + LENGTH + b"\r\n" + SMUGGLED,
    "a list of lengths": START + b"Content-Length: 0, 1\r\n\r\n" + SMUGGLED,
    "a signed length": START + b"Content-Length: +0\r\n\r\n" + SMUGGLED,
    "a hexadecimal length": START + b"Content-Length: 0x0\r\n\r\n" + SMUGGLED,
    "chunked is not last": START + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + CHUNKED,
    "chunked misspelt": START + b"Transfer-Encoding: xchunked\r\n" + LENGTH + b"\r\n" + SMUGGLED,
    "chunked after a space": START + b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKED,
    "a folded header": START + b"X: a\r\n " + TE + LENGTH + b"\r\n" + SMUGGLED,
    "bare line feeds": (START + LENGTH + b"\r\n").replace(b"\r\n", b"\n") + SMUGGLED,
    "a bare line feed after a header": START + b"X: a\n" + LENGTH + b"\r\n" + SMUGGLED,
    "a bare carriage return": START + b"X: a\rContent-Length: 0\r\n\r\n" + SMUGGLED,
    "bare line feeds in chunks": START + TE + b"\r\n" + CHUNKED.replace(b"\r\n", b"\n"),
    "a chunk longer than it says": START + TE + b"\r\n1\r\n" + SMUGGLED + b"\r\n0\r\n\r\n",
    "a chunk size with a sign": START + TE + b"\r\n-1\r\n" + SMUGGLED + b"\r\n0\r\n\r\n",
    "a null byte": START + b"X: a\0\r\n" + LENGTH + b"\r\n" + SMUGGLED,
    "a header without a name": START + b": a\r\n" + LENGTH + b"\r\n" + SMUGGLED,
}


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_a_request_with_an_unclear_end_is_refused(serve: Serve, name: str) -> None:
    front = await serve(echo)
    caller = await front.call()
    assert (await caller.ask(AMBIGUOUS[name])).status == 400
    assert await caller.ended()
    await until(front.idle)
    assert not front.upstream.requests


@pytest.mark.parametrize("behind", [b"nonsense\r\n\r\n", AMBIGUOUS["two lengths"]])
async def test_what_is_no_request_is_refused_behind_the_answers_to_earlier_ones(
    serve: Serve, behind: bytes
) -> None:
    model = HeldUpstream()
    front = await serve(model)
    caller = await front.call()
    await caller.send(post(b"first"), post(b"second"), behind)
    await until(lambda: model.held, what="the first request at the model")
    model.open()
    assert (await caller.receive()).body == b"first"
    assert (await caller.receive()).body == b"second"
    assert (await caller.receive()).status == 400
    assert await caller.ended()


BROKEN_CHUNK = post_chunked(b"x", end=False) + b"nonsense\r\n"


async def test_a_body_that_breaks_off_in_nonsense_is_refused(serve: Serve) -> None:
    model = HeldUpstream()
    front = await serve(model)
    caller = await front.call()
    assert (await caller.ask(BROKEN_CHUNK)).status == 400
    assert await caller.ended()

    caller = await front.call()
    await caller.send(post(b"first"), BROKEN_CHUNK)
    await until(lambda: model.held, what="the first request at the model")
    model.open()
    assert (await caller.receive()).body == b"first"
    assert (await caller.receive()).status == 400
    assert await caller.ended()
    await until(front.idle)
    assert [request.body for request in front.upstream.requests] == [b"first"]


ENDLESS = {
    "target": b"POST /" + b"a" * 1000,
    "header": START + b"X: a" + b"a" * 1000,
    "headers": START + b"X: a\r\n" * 100,
    "trailer": post_chunked(b"x", end=False) + b"0\r\nX: a",
    "chunk extension": post_chunked(b"x", end=False) + b"1;a",
}


@pytest.mark.parametrize("name", ENDLESS)
async def test_a_head_without_end_is_refused(serve: Serve, name: str) -> None:
    front = await serve(echo)
    caller = await front.call()
    piece = b"X: a\r\n" * 6000 if name == "headers" else b"a" * 36_000
    await caller.send(ENDLESS[name])
    answer = asyncio.ensure_future(caller.receive())
    for _ in range(20):
        # The proxy reads the piece meanwhile. A further one might reset the connection.
        if (await asyncio.wait({answer}, timeout=0.1))[0]:
            break
        await caller.send(piece)
    assert (await answer).status == 431
    assert await caller.ended()
    await until(front.idle)
    assert not front.upstream.requests


@pytest.mark.parametrize(
    "data", [post(SMUGGLED), post_chunked(SMUGGLED), post_chunked(b"", SMUGGLED)]
)
async def test_a_request_in_a_body_stays_a_body(serve: Serve, data: bytes) -> None:
    front = await serve(echo)
    caller = await front.call()
    assert (await caller.ask(data)).body == SMUGGLED
    assert (await caller.ask(post(b"next"))).body == b"next"
    assert [request.body for request in front.upstream.requests] == [SMUGGLED, b"next"]


async def test_without_a_length_there_is_no_body(serve: Serve) -> None:
    front = await serve(echo)
    caller = await front.call()
    answer = await caller.ask(START + b"\r\n" + SMUGGLED)
    assert answer.body == b""
    # What follows is the next request, for the model as for the proxy.
    assert (await caller.receive()).body == b"!"
    assert [request.body for request in front.upstream.requests] == [b"", b"!"]


@pytest.mark.parametrize(
    "start",
    ["POST http://elsewhere/iris-1 HTTP/1.1", "POST /iris-1 HTTP/1.0", "POST /iris-1 HTTP/1.1"],
)
async def test_forms_of_the_first_line(serve: Serve, start: str) -> None:
    front = await serve(echo)
    caller = await front.call()
    fields = [("Host", "proxy"), ("Content-Length", "1")]
    assert (await caller.ask(head(start, fields) + b"x")).body == b"x"
    [request] = front.upstream.requests
    assert request.start == "POST /invocations HTTP/1.1"
    if start.endswith("1.0"):
        assert await caller.ended()


async def test_requests_in_a_row_are_answered_in_their_order(serve: Serve) -> None:
    front = await serve(echo)
    caller = await front.call()
    bodies = [b"%d" % number * (number * 1000) for number in range(10)]
    requests = [(post, post_chunked)[number % 2](body) for number, body in enumerate(bodies)]
    await caller.send(*requests)
    assert [(await caller.receive()).body for _ in bodies] == bodies
    assert [request.body for request in front.upstream.requests] == bodies


async def test_one_request_at_a_time_of_a_connection_reaches_a_model(serve: Serve) -> None:
    gate = HeldUpstream()
    front = await serve(gate)
    caller = await front.call()
    await caller.send(post(b"1"), post(b"2"))
    await until(lambda: gate.held, what="a request at the model")
    await until(lambda: front.traffic.oldest > 0.1, what="time for a second one")
    assert (front.traffic.in_flight, len(front.upstream.requests)) == (1, 1)
    gate.open()
    assert [(await caller.receive()).body for _ in range(2)] == [b"1", b"2"]


async def test_a_caller_of_requests_in_a_row_hangs_up(serve: Serve) -> None:
    """The request under way may end; the one behind it never reaches the model."""
    gate = HeldUpstream()
    front = await serve(gate)
    caller = await front.call()
    await caller.send(post(b"1"), post(b"2"))
    await until(lambda: gate.held, what="a request at the model")
    await caller.close()
    gate.open()
    await until(front.idle)
    assert [request.body for request in front.upstream.requests] == [b"1"]
