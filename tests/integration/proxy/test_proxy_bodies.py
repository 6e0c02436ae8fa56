"""Bodies cross the proxy byte for byte, both ways, and piece by piece as they come."""

import asyncio
import random
from collections.abc import Iterator

import pytest

from tests.integration.proxy.front import LIMIT, Serve
from tests.integration.proxy.upstreams import Behave, Peer, answers, echo
from tests.integration.proxy.wire import chunks, post, post_chunked
from tests.waiting import until

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
    # The model is told the length the caller told, also where the body goes on piece by piece.
    assert seen[0].get("content-length") == str(size)


async def test_pieces_reach_the_model_before_the_last_is_sent(serve: Serve) -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def behave(peer: Peer) -> None:
        request = await peer.head()
        assert request
        while piece := await peer.piece(request):
            arrived.put_nowait(piece)
        await peer.answer(request.body)

    front = await serve(behave)
    caller = await front.call()
    await caller.send(post_chunked(b"first", end=False))
    assert await arrived.get() == b"first"
    await caller.send(chunks(b"second"))
    assert await arrived.get() == b"second"
    answer = await caller.ask(chunks(b"last", end=True))
    assert answer.body == b"firstsecondlast"


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


async def test_pieces_go_both_ways_at_once(serve: Serve) -> None:
    async def behave(peer: Peer) -> None:
        request = await peer.head()
        assert request
        await peer.begin()
        while piece := await peer.piece(request):
            await peer.send(chunks(piece))
        await peer.send(chunks(end=True))

    front = await serve(behave)
    caller = await front.call()
    await caller.send(post_chunked(b"0", end=False))
    answer = await caller.head()
    assert answer
    for number in range(1, 20):
        assert await caller.piece(answer) == b"%d" % (number - 1)
        await caller.send(chunks(b"%d" % number))
    await caller.send(chunks(end=True))
    assert await caller.piece(answer) == b"19"
    assert await caller.piece(answer) == b""


async def test_an_answer_may_come_before_the_body_is_complete(serve: Serve) -> None:
    async def behave(peer: Peer) -> None:
        await peer.head()
        await peer.answer(b"enough", 400)
        await peer.ended()

    front = await serve(behave)
    caller = await front.call()
    answer = await caller.ask(post_chunked(b"first", end=False))
    assert (answer.status, answer.body) == (400, b"enough")
    await until(front.idle)
    await until(lambda: front.upstream.open == 0, what="the end of a connection of no more use")


async def test_a_declared_body_over_the_limit_reaches_no_model(serve: Serve) -> None:
    front = await serve(echo)
    caller = await front.call()
    problem = (await caller.ask(post(content_length=str(LIMIT + 1)))).problem(413)
    assert str(LIMIT) in problem["detail"]
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
    broken_off = asyncio.Event()

    async def behave(peer: Peer) -> None:
        try:
            await peer.next()
        except asyncio.IncompleteReadError:
            broken_off.set()
            raise

    front = await serve(behave, limit=100_000)
    caller = await front.call()
    await caller.send(post_chunked(bytes(60_000), end=False))
    await until(lambda: front.upstream.requests, what="the first piece at the model")
    (await caller.ask(chunks(bytes(60_000), end=False))).problem(413)
    await broken_off.wait()
    assert len(front.upstream.requests) == 1
    assert front.idle()
    assert front.broke == 0


async def test_a_body_grows_too_large_while_it_is_being_answered(serve: Serve) -> None:
    async def behave(peer: Peer) -> None:
        await peer.head()
        await peer.begin(b"first")
        await peer.ended()

    front = await serve(behave, limit=100_000)
    caller = await front.call()
    await caller.send(post_chunked(b"first", end=False))
    answer = await caller.head()
    assert answer
    assert await caller.piece(answer) == b"first"
    await caller.send(chunks(bytes(100_000)))
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await caller.piece(answer)
    await until(front.idle)


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
