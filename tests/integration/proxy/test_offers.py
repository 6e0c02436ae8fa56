"""Callers that offer to leave HTTP/1.1: the offer is ignored, and the request is answered as any other.

Java's ``HttpClient`` and ``curl --http2`` make one with each request; a parser that stops at it loses the
body.
"""

import pytest

from tests.support.proxy_front import Serve
from tests.support.raw_http import Message
from tests.support.upstreams import echo

H2C = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
)
OFFERS = {
    "h2c": H2C,
    "h2c without settings": b"Connection: upgrade\r\nUpgrade: h2c\r\n",
    "websocket": b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
    "several": b"Upgrade: h2c, TLS/1.3,foo/2 , websocket\r\nConnection: foo ,UPGRADE\r\n",
    "several lines": b"Connection: foo\r\nUpgrade: a\r\nConnection: Upgrade\r\nUpgrade: b\r\n",
    "no Connection": b"Upgrade: h2c\r\n",
    "no Upgrade": b"Connection: upgrade\r\n",
    "an empty one": b"Connection: upgrade\r\nUpgrade:\r\n",
}
BODIES = (b"", b"a", b"{}" * 150_000, bytes(range(256)) * 12_000)
LINE = b"POST /iris-1 HTTP/1.1\r\nHost: proxy\r\n"


def length(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def chunked(body: bytes) -> bytes:
    pieces = [body[start : start + 70_001] for start in range(0, len(body), 70_001)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return b"Transfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


NEXT = LINE + length(b"next")


@pytest.mark.parametrize("offer", OFFERS)
async def test_a_request_with_an_offer_is_one_like_any_other(serve: Serve, offer: str) -> None:
    front = await serve(echo)
    caller = await front.call()
    for body in BODIES:
        for framed in (length(body), chunked(body)):
            await caller.send(LINE + OFFERS[offer] + framed + NEXT)
            assert (await caller.receive()).body == body
            assert (await caller.receive()).body == b"next"
    assert [one.body for one in front.upstream.requests[::2]] == [
        body for body in BODIES for _ in range(2)
    ]
    for request in front.upstream.requests:
        assert not {"upgrade", "http2-settings"} & {name for name, _ in request.headers}
        assert "pgrade" not in str(request.get("connection"))


@pytest.mark.parametrize("framed", [length, chunked])
async def test_wherever_the_bytes_are_cut(serve: Serve, framed: object) -> None:
    front = await serve(echo)
    data = LINE + H2C + (length if framed is length else chunked)(b"hello") + NEXT
    for place in range(1, len(data)):
        caller = await front.call()
        await caller.send(data[:place])
        await caller.send(data[place:])
        assert [(await caller.receive()).body for _ in range(2)] == [b"hello", b"next"], place
        await caller.close()


async def test_many_offers_in_a_row_are_answered_in_their_order(serve: Serve) -> None:
    front = await serve(echo)
    caller = await front.call()
    bodies = [b"%d" % number for number in range(200)]
    await caller.send(*(LINE + H2C + length(body) for body in bodies))
    assert [(await caller.receive()).body for _ in bodies] == bodies


async def test_a_body_that_waits_to_be_asked_for(serve: Serve) -> None:
    front = await serve(echo)
    caller = await front.call()
    await caller.send(LINE + H2C + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    waiting = await caller.head()
    assert waiting is not None
    assert waiting.status == 100
    assert (await caller.ask(b"hello")).body == b"hello"
    assert (await caller.ask(NEXT)).body == b"next"


async def test_other_methods_and_what_they_are_for(serve: Serve) -> None:
    front = await serve(echo)
    caller = await front.call()
    answer = await caller.ask(b"GET /else?a=%20b HTTP/1.1\r\nHost: proxy\r\n" + H2C + b"\r\n", NEXT)
    assert answer.body == b"inside: /else"
    assert (await caller.receive()).body == b"next"
    last = await caller.ask(b"POST /iris-1 HTTP/1.0\r\nHost: proxy\r\n" + H2C + length(b"old"))
    assert last.body == b"old"
    assert await caller.ended()


async def test_an_offer_hides_no_unclear_end_and_no_request(serve: Serve) -> None:
    front = await serve(echo)
    hidden = LINE + length(b"hidden")
    for framing in (
        b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(hidden),
        b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: gzip, chunked, identity\r\n\r\n",
    ):
        refused = await front.ask(LINE + H2C + framing + hidden)
        assert refused.problem(400)["detail"].startswith("cannot read the request")
    assert not front.upstream.requests


@pytest.mark.parametrize("target", [b"elsewhere:443", b"/iris-1"])
async def test_a_tunnel_is_refused_with_all_that_comes_through_it(
    serve: Serve, target: bytes
) -> None:
    front = await serve(echo)
    caller = await front.call()
    for before in (b"", NEXT):
        caller = await front.call()
        await caller.send(before + b"CONNECT %b HTTP/1.1\r\nHost: proxy\r\n\r\n" % target + NEXT)
        answers: list[Message] = []
        while (answer := await caller.next()) is not None:
            answers.append(answer)
        assert answers[-1].status == 400
    assert all(one.body == b"next" for one in front.upstream.requests)


async def test_what_follows_a_body_is_no_header_of_the_request(serve: Serve) -> None:
    front = await serve(echo)
    caller = await front.call()
    trailers = b"X-Late: 1\r\nContent-Type: text/csv\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
    for offer in (b"", H2C):
        body = chunked(b"hello").removesuffix(b"\r\n") + trailers + b"\r\n"
        assert (await caller.ask(LINE + offer + body)).body == b"hello"
        assert (await caller.ask(NEXT)).body == b"next"
    for request in front.upstream.requests:
        assert not {"x-late", "content-type"} & {name for name, _ in request.headers}
