"""Bodies cross the proxy byte for byte: requests once they are whole, answers piece by piece."""

import asyncio
import random
from collections.abc import Iterator

import pytest

from tests.support.proxy_front import LIMIT, Serve
from tests.support.raw_http import chunks, post, post_chunked
from tests.support.upstreams import Behave, Peer, answers, echo
from tests.support.waiting import until

KB = 1024
#: Around every limit on the way: a packet, uvicorn's high water mark, what is read whole.
SIZES = [0, 1, 2, 1_460, 64 * KB, 64 * KB + 1, 1024 * KB, 1024 * KB + 1, 5_000_000]


def made_up(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def cut(body: bytes) -> Iterator[bytes]:
    """A body in pieces of all sizes."""
    sizes = random.Random(len(body))
    while body:
        size = min(sizes.randint(1, 2 ** sizes.randint(1, 20)), len(body))
        yield body[:size]
        body = body[size:]


async def echo_chunked(peer: Peer) -> None:
    while request := await peer.next():
        await peer.begin()
        for piece in cut(request.body):
            await peer.send(chunks(piece))
        await peer.send(chunks(end=True))


@pytest.mark.parametrize("behave", [echo, echo_chunked])
@pytest.mark.parametrize("size", SIZES)
async def test_a_body_comes_back_as_it_went(serve: Serve, behave: Behave, size: int) -> None:
    body = made_up(size)
    front = await serve(behave)
    caller = await front.call()
    declared = await caller.ask(post(body))
    chunked = await caller.ask(post_chunked(*cut(body)))
    assert (declared.status, chunked.status) == (200, 200)
    assert declared.body == chunked.body == body
    seen = front.upstream.requests
    assert [request.body for request in seen] == [body, body]
    # The model is told the length, also where the caller did not tell it.
    assert [request.get("content-length") for request in seen] == [str(size)] * 2


async def test_nothing_reaches_the_model_before_the_body_is_whole(serve: Serve) -> None:
    front = await serve(echo)
    slow = await front.call()
    await slow.send(post_chunked(b"first", end=False))
    assert (await front.ask(post(b"of another"))).body == b"of another"
    await slow.send(chunks(b"second"))
    assert (await front.ask(post(b"of another"))).body == b"of another"
    assert front.idle()
    assert (await slow.ask(chunks(b"last", end=True))).body == b"firstsecondlast"
    bodies = [request.body for request in front.upstream.requests]
    assert bodies == [b"of another", b"of another", b"firstsecondlast"]


@pytest.mark.parametrize("length", [None, 3_000_000])
async def test_pieces_reach_the_caller_before_the_last_is_sent(
    serve: Serve, length: int | None
) -> None:
    more = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.next()
        await peer.begin(b"first", length=length)
        await more.wait()
        rest = bytes((length or 10) - 5)
        await peer.send(rest if length else chunks(rest, end=True))
        await peer.ended()

    front = await serve(behave)
    caller = await front.call()
    await caller.send(post())
    answer = await caller.head()
    assert answer
    assert answer.get("content-length") == (str(length) if length else None)
    assert await caller.piece(answer) == b"first"
    more.set()
    await caller.rest(answer)
    assert answer.body == b"first" + bytes((length or 10) - 5)


async def test_an_answer_may_come_before_the_body_is_read(serve: Serve) -> None:
    answered = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.head()
        await peer.answer(b"enough")
        await answered.wait()
        await peer.ended()

    front = await serve(behave, limit=4 * LIMIT)
    caller = await front.call()
    answer = await caller.ask(post(bytes(4 * LIMIT)))
    assert (answer.status, answer.body) == (200, b"enough")
    answered.set()
    await until(front.idle)
    await until(lambda: front.upstream.open == 0, what="the end of a connection of no more use")


async def test_a_declared_body_over_the_limit_reaches_no_model(serve: Serve) -> None:
    front = await serve(echo)
    caller = await front.call()
    problem = (await caller.ask(post(content_length=str(LIMIT + 1)))).problem(413)
    assert f"it has {LIMIT + 1} bytes; the limit is {LIMIT} bytes" in problem["detail"]
    assert "MODEL_DEPLOYMENT_MAX_BODY_BYTES" in problem["detail"]
    assert "a single row is larger" in problem["detail"]
    assert await caller.ended()
    assert not front.upstream.connections


async def test_a_caller_who_sends_all_of_it_still_gets_the_answer(serve: Serve) -> None:
    """Closed with bytes unread, the connection would be reset, and the answer might be lost."""
    front = await serve(echo)
    caller = await front.call()
    answer = await caller.ask(post(bytes(2 * LIMIT)))
    answer.problem(413)
    assert answer.get("connection") == "close"
    assert await caller.ended()


async def test_a_body_is_counted_while_it_comes_in(serve: Serve) -> None:
    front = await serve(echo, limit=100_000)
    caller = await front.call()
    await caller.send(post_chunked(bytes(60_000), end=False))
    (await caller.ask(chunks(bytes(60_000), end=False))).problem(413)
    assert await caller.ended()
    assert not front.upstream.connections
    assert front.idle()
    assert front.failures == 0


async def test_a_body_of_just_the_limit_is_fine(serve: Serve) -> None:
    front = await serve(answers(b"ok"), limit=100_000)
    caller = await front.call()
    assert (await caller.ask(post(bytes(100_000)))).body == b"ok"
    assert (await caller.ask(post_chunked(bytes(50_000), bytes(50_000)))).body == b"ok"
    (await caller.ask(post(bytes(100_001)))).problem(413)


@pytest.mark.parametrize("declared", [10, 2 * LIMIT])
async def test_permission_to_send_is_given_only_for_what_will_be_read(
    serve: Serve, declared: int
) -> None:
    front = await serve(echo)
    caller = await front.call()
    answer = await caller.ask(post(content_length=str(declared), expect="100-continue"))
    if declared > LIMIT:
        answer.problem(413)
        return
    assert answer.start == "HTTP/1.1 100 Continue"
    assert (await caller.ask(bytes(declared))).body == bytes(declared)
    assert front.upstream.requests[0].get("expect") is None
