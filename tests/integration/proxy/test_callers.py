"""Callers who hang up, dawdle or come in crowds take nothing from the others."""

import asyncio
from typing import cast

import pytest

from model_deployment.proxy import model_pool
from tests.support.proxy_front import Front, Serve
from tests.support.raw_http import Wire, chunks, post, post_chunked
from tests.support.upstreams import HeldUpstream, Peer, echo, silent
from tests.support.waiting import until

#: Far less than any time limit: what happens within it happens because of the caller.
PROMPT = 5.0


async def hang_up(caller: Wire, *, reset: bool) -> None:
    if reset:
        caller.reset()
    else:
        await caller.close()


async def nothing_left(front: Front) -> None:
    def idle() -> bool:
        return front.idle() and front.upstream.open == 0

    await until(idle, timeout=PROMPT, what="the end of the call and of the model's connection")


@pytest.mark.parametrize("reset", [False, True])
async def test_a_caller_hangs_up_while_the_model_thinks(serve: Serve, reset: bool) -> None:
    front = await serve(silent)
    caller = await front.call()
    await caller.send(post(b"x"))
    await until(lambda: front.upstream.open, what="the request at the model")
    await hang_up(caller, reset=reset)
    await nothing_left(front)
    assert front.traffic.answered == 0
    assert front.failures == 0


@pytest.mark.parametrize("reset", [False, True])
async def test_a_caller_hangs_up_after_a_body_in_pieces(serve: Serve, reset: bool) -> None:
    gate = HeldUpstream()
    front = await serve(gate)
    caller = await front.call()
    await caller.send(post_chunked(b"first", end=False))
    await caller.send(chunks(b"last", end=True))
    await until(lambda: gate.held, what="the request at the model")
    await hang_up(caller, reset=reset)
    await nothing_left(front)


@pytest.mark.parametrize("reset", [False, True])
async def test_a_caller_hangs_up_after_a_body_larger_than_the_buffer(
    serve: Serve, reset: bool
) -> None:
    # Reading is paused when the last byte comes.
    gate = HeldUpstream()
    front = await serve(gate)
    caller = await front.call()
    await caller.send(post(b"x" * 200_000))
    await until(lambda: gate.held, what="the request at the model")
    await hang_up(caller, reset=reset)
    await nothing_left(front)


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("behind", [post(b"y" * 150_000), post(b"y") * 100])
async def test_a_caller_hangs_up_behind_requests_that_are_not_read_yet(
    serve: Serve, reset: bool, behind: bytes
) -> None:
    gate = HeldUpstream()
    front = await serve(gate)
    caller = await front.call()
    await caller.send(post(b"x"))
    await until(lambda: gate.held, what="the request at the model")
    await caller.send(behind)
    await hang_up(caller, reset=reset)
    await nothing_left(front)


@pytest.mark.parametrize("reset", [False, True])
async def test_a_caller_hangs_up_in_the_middle_of_the_body(serve: Serve, reset: bool) -> None:
    front = await serve(echo)
    caller = await front.call()
    await caller.send(post_chunked(b"first", end=False))
    await hang_up(caller, reset=reset)
    assert (await front.ask(post(b"of another"))).body == b"of another"
    assert [request.body for request in front.upstream.requests] == [b"of another"]
    assert front.idle()
    assert front.failures == 0


@pytest.mark.parametrize("reset", [False, True])
async def test_a_caller_hangs_up_in_the_middle_of_the_answer(serve: Serve, reset: bool) -> None:
    async def behave(peer: Peer) -> None:
        await peer.head()
        await peer.begin(b"first")
        await peer.ended()

    front = await serve(behave)
    caller = await front.call()
    await caller.send(post_chunked(b"first"))
    answer = await caller.head()
    assert answer
    assert await caller.piece(answer) == b"first"
    await hang_up(caller, reset=reset)
    await nothing_left(front)


async def test_a_caller_hangs_up_while_waiting_for_others(serve: Serve) -> None:
    gate = HeldUpstream()
    front = await serve(gate, connections=1)
    first, second, third = [await front.call() for _ in range(3)]
    await first.send(post(b"1"))
    await until(lambda: gate.held, what="the first request at the model")
    await second.send(post(b"2"))
    await third.send(post(b"3"))
    await until(lambda: front.traffic.in_flight == 3, what="three callers")
    await second.close()
    await until(lambda: front.traffic.in_flight == 2, timeout=PROMPT, what="two callers")
    gate.open()
    assert (await first.receive()).body == b"1"
    assert (await third.receive()).body == b"3"
    assert [request.body for request in front.upstream.requests] == [b"1", b"3"]


async def test_callers_beyond_the_connections_wait_and_are_answered(serve: Serve) -> None:
    gate = HeldUpstream()
    front = await serve(gate, connections=8)
    callers = [await front.call() for _ in range(100)]
    for number, caller in enumerate(callers):
        await caller.send(post(b"%d" % number))
    await until(lambda: (gate.held, front.traffic.in_flight) == (8, 100), what="all callers")
    gate.open()
    answered = [(await caller.receive()).body for caller in callers]
    assert answered == [b"%d" % number for number in range(100)]
    assert front.upstream.connections == 8


async def test_waiting_for_others_is_not_counted_against_the_model(serve: Serve) -> None:
    """A queue must not make a busy model look like one that hangs."""
    gate = HeldUpstream()
    front = await serve(gate, connections=1)
    first, second = await front.call(), await front.call()
    await first.send(post(b"1"))
    await second.send(post(b"2"))
    await until(lambda: front.traffic.oldest > 0.3, what="a request that is not answered")
    started = asyncio.get_running_loop().time()
    await first.close()
    await until(lambda: front.traffic.in_flight == 1, what="the second one's turn")
    await until(lambda: gate.held == 1 and len(front.upstream.requests) == 2, what="its arrival")
    assert front.traffic.oldest <= asyncio.get_running_loop().time() - started
    gate.open()
    await second.receive()
    assert front.idle()


async def test_the_oldest_request_counts(serve: Serve) -> None:
    gate = HeldUpstream()
    front = await serve(gate)
    old, young = await front.call(), await front.call()
    await old.send(post())
    await until(lambda: front.traffic.oldest > 0.2, what="an old request")
    await young.send(post())
    await until(lambda: gate.held == 2, what="both requests at the model")
    assert front.traffic.oldest > 0.2
    assert front.traffic.in_flight == 2
    await old.close()
    await until(lambda: front.traffic.in_flight == 1, what="the end of the older one")
    assert front.traffic.oldest < 10
    gate.open()
    await young.receive()


async def test_a_slow_upload_is_not_counted_against_the_model(serve: Serve) -> None:
    """Else a caller could have a healthy model restarted."""
    gate = HeldUpstream()
    front = await serve(gate)
    slow, quick = await front.call(), await front.call()
    await slow.send(post_chunked(b"first", end=False))
    await quick.send(post(b"quick"))
    await until(lambda: gate.held, what="the quick request at the model")
    assert front.traffic.in_flight == 1
    await slow.send(chunks(b"last", end=True))
    await until(lambda: (gate.held, front.traffic.in_flight) == (2, 2), what="the slow one too")
    gate.open()
    assert (await slow.receive()).body == b"firstlast"
    await quick.receive()


async def test_a_slow_download_is_not_counted_against_the_model(serve: Serve) -> None:
    async def behave(peer: Peer) -> None:
        await peer.next()
        await peer.begin(b"first")
        await peer.ended()

    front = await serve(behave)
    caller = await front.call()
    await caller.send(post())
    assert await caller.head()
    assert front.traffic.in_flight == 1
    assert front.traffic.oldest == 0.0


@pytest.mark.parametrize(
    "data", [post_chunked(b"first", end=False), post_chunked(end=False), post(content_length="9")]
)
async def test_a_caller_who_stops_sending(serve: Serve, data: bytes) -> None:
    """A machine that is gone never hangs up, and would keep a connection for ever."""
    front = await serve(echo, patience=0.1)
    caller = await front.call()
    (await caller.ask(data)).problem(408)
    assert not front.upstream.connections
    assert front.idle()
    assert front.failures == 0


async def test_a_caller_who_never_comes_to_an_end(serve: Serve) -> None:
    front = await serve(echo, patience=5, body_timeout=0.5)
    caller = await front.call()
    await caller.send(post_chunked(b"x", end=False))
    answer = asyncio.create_task(caller.receive())

    async def given_up() -> bool:
        await caller.send(chunks(b"x"))
        return answer.done()

    await until(given_up, what="an answer to a caller who goes on and on")
    (await answer).problem(408)
    assert not front.upstream.connections


async def test_a_caller_who_stops_reading(serve: Serve) -> None:
    async def behave(peer: Peer) -> None:
        await peer.next()
        await peer.begin()
        while True:
            await peer.send(chunks(bytes(1024 * 1024)))

    front = await serve(behave, patience=0.1)
    caller = await front.call()
    await caller.send(post())
    await nothing_left(front)
    # What is on its way is read, and is not the end.
    answer = await caller.head()
    assert answer
    with pytest.raises(asyncio.IncompleteReadError):
        await caller.rest(answer)


async def test_an_idle_connection_that_the_model_closed_is_not_used(serve: Serve) -> None:
    closed = asyncio.Event()

    async def behave(peer: Peer) -> None:
        request = await peer.next()
        assert request
        await peer.answer(request.body)
        peer.writer.write_eof()
        await peer.ended()
        closed.set()

    front = await serve(behave)
    caller = await front.call()
    for number in range(5):
        assert (await caller.ask(post(b"%d" % number))).body == b"%d" % number
        await closed.wait()
        closed.clear()
    assert front.upstream.connections == 5
    assert front.failures == 0


async def test_a_request_is_never_sent_twice(serve: Serve) -> None:
    """The model closes just when the next request is there: it may have worked on it."""

    async def behave(peer: Peer) -> None:
        request = await peer.next()
        assert request
        await peer.answer(request.body)
        await peer.next()

    front = await serve(behave)
    caller = await front.call()
    for _ in range(5):
        assert (await caller.ask(post(b"fine"))).body == b"fine"
        (await caller.ask(post(b"lost"))).problem(502)
    assert [request.body for request in front.upstream.requests] == [b"fine", b"lost"] * 5


async def test_a_connection_is_not_used_when_the_model_may_be_closing_it(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert model_pool.KEEPALIVE < 5, "uvicorn closes idle connections after 5 s"
    monkeypatch.setattr(model_pool, "KEEPALIVE", 0.0)
    front = await serve(echo)
    caller = await front.call()
    for _ in range(3):
        assert (await caller.ask(post(b"x"))).body == b"x"
    assert front.upstream.connections == 3


async def test_refusals_that_nobody_reads_do_not_pile_up(serve: Serve) -> None:
    front = await serve(echo, patience=1)
    caller = await front.call()
    cast(asyncio.Transport, caller.writer.transport).pause_reading()
    request = b"GET /iris-1 HTTP/1.1\r\nHost: proxy\r\n\r\n" * 1000
    sent = 0

    async def flood() -> None:
        nonlocal sent
        while True:
            await caller.send(request)
            sent += len(request)

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(flood(), 2 * PROMPT)
    assert sent < 100_000_000
