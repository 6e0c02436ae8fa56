"""What is held for callers has one budget: who is over it hears so, and nobody keeps it for ever."""

import asyncio
import json

import pytest

from model_deployment.proxy.held_bytes import HeldKind
from tests.support.proxy_front import Front, Serve
from tests.support.raw_http import Message, Wire, chunks, post, post_chunked
from tests.support.upstreams import Peer, echo
from tests.support.waiting import until

MB = 1024 * 1024
BUDGET = 4 * MB
#: Bytes of one kind that fit.
MOST = BUDGET * 11 // 16


def is_refused(answer: Message) -> None:
    problem = answer.problem(429)
    assert problem["title"] == "Too many bodies"
    assert "MODEL_DEPLOYMENT_MAX_HELD_BYTES" in problem["detail"]
    assert answer.get("retry-after") == "2"


def held(front: Front) -> int:
    return front.context.held.held


async def hold(front: Front, size: int) -> Wire:
    """A caller who holds the last byte back."""
    caller = await front.call()
    before = held(front)
    await caller.send(post(content_length=str(size + 1)), bytes(size))
    await until(lambda: held(front) == before + size, what="the body")
    return caller


async def test_a_body_over_the_budget_is_refused_and_its_connection_ends(serve: Serve) -> None:
    front = await serve(echo, held_bytes=BUDGET)
    first = await hold(front, MOST)
    for data in (post(bytes(MB)), post_chunked(bytes(MB))):
        caller = await front.call()
        answer = await caller.ask(data)  # all of it is sent, and the answer is read all the same
        is_refused(answer)
        assert answer.get("connection") == "close"
        assert await caller.ended()
    assert held(front) == MOST
    # Small bodies, and those that a connection takes itself, find room beside it.
    for size in (0, 10, 4096, 60_000):
        assert len((await front.ask(post(bytes(size)))).body) == size
    assert len((await first.ask(b"x")).body) == MOST + 1
    await until(lambda: held(front) == 0, what="room")
    assert len((await front.ask(post(bytes(6 * MB)))).body) == 6 * MB
    await until(lambda: held(front) == 0, what="room")


async def test_who_waits_for_100_is_refused_without_it(serve: Serve) -> None:
    front = await serve(echo, held_bytes=BUDGET)
    await hold(front, MOST)
    caller = await front.call()
    head = post(bytes(MB)).partition(b"\r\n\r\n")[0]
    is_refused(await caller.ask(head + b"\r\nExpect: 100-continue\r\n\r\n"))


async def test_who_hangs_up_gives_the_bytes_back(serve: Serve) -> None:
    front = await serve(echo, held_bytes=BUDGET)
    for _ in range(3):
        caller = await hold(front, MOST)
        await caller.close()
        await until(lambda: held(front) == 0, what="room")


async def test_bodies_that_wait_for_the_model_count(serve: Serve) -> None:
    opened, asked = asyncio.Event(), 0

    async def behave(peer: Peer) -> None:
        nonlocal asked
        while await peer.next():
            asked += 1
            await opened.wait()
            await peer.answer(b"ok")

    front = await serve(behave, held_bytes=BUDGET)
    waiting = [await front.call() for _ in range(2)]
    for caller in waiting:
        await caller.send(post(bytes(MB)))
    await until(lambda: asked == 2, what="two requests at the model")
    assert held(front) == 2 * MB
    is_refused(await front.ask(post(bytes(MB))))
    opened.set()
    assert [(await caller.receive()).body for caller in waiting] == [b"ok", b"ok"]
    await until(lambda: held(front) == 0, what="room")


async def test_a_body_byte_by_byte_is_whole(serve: Serve) -> None:
    front = await serve(echo, held_bytes=BUDGET)
    body = bytes(range(256)) * 200
    for size in (1, 2, 7):
        parts = [body[at : at + size] for at in range(0, len(body), size)]
        assert (await front.ask(post_chunked(*parts))).body == body


async def test_a_pause_and_a_trickle_end_with_408(serve: Serve) -> None:
    front = await serve(echo, patience=0.3, body_timeout=30)
    silent = await hold(front, MB)
    (await silent.receive()).problem(408)
    assert await silent.ended()
    front = await serve(echo, patience=30, body_timeout=0.3)
    trickle = await front.call()
    await trickle.send(post_chunked(b"x", end=False))
    answer = asyncio.create_task(trickle.receive())

    async def given_up() -> bool:
        await trickle.send(chunks(b"x"))
        return answer.done()

    await until(given_up, what="an answer to a caller who sends a byte now and then")
    (await answer).problem(408)


#: More than the kernel takes of an answer that nobody reads.
LARGE = b'{"predictions": ["%s"]}' % (b"x" * MB * 20)
ROOM = 40 * MB


async def large(peer: Peer) -> None:
    while await peer.next():
        await peer.answer(LARGE, headers=[("Content-Type", "application/json")])


async def stuck(front: Front) -> Wire:
    """A caller who does not read an answer."""
    caller = await front.call()
    await caller.send(post(b"{}"))
    kind = HeldKind.ANSWER
    await until(lambda: front.context.held.own(kind) >= len(LARGE), what="an answer that is held")
    return caller


async def test_an_answer_counts_until_its_caller_has_read_it(serve: Serve) -> None:
    front = await serve(large, held_bytes=ROOM, limit=MB)
    caller = await stuck(front)
    is_refused(await front.ask(post(b"{}")))
    answer = await caller.receive()
    assert json.loads(answer.body) == json.loads(LARGE)
    await until(lambda: held(front) == 0, what="room")
    assert (await front.ask(post(b"{}"))).body == LARGE


@pytest.mark.parametrize("leaves", [False, True])
async def test_who_reads_nothing_is_cut_off(serve: Serve, leaves: bool) -> None:
    front = await serve(large, held_bytes=ROOM, patience=30 if leaves else 0.5)
    caller = await stuck(front)
    if leaves:
        await caller.close()
    await until(lambda: held(front) == 0, what="the end of the connection")
    assert (await front.ask(post(b"{}"))).body == LARGE


@pytest.mark.parametrize("path", ["/iris-1", "/inside"])
async def test_a_head_of_too_many_headers_is_refused(serve: Serve, path: str) -> None:
    front = await serve(echo)
    many = "".join(f"x-{number}: 1\r\n" for number in range(256))
    caller = await front.call()
    behind = post(b"not asked")
    answer = await caller.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\n{many}\r\n".encode(), behind)
    assert answer.status == 431
    assert await caller.ended()
    assert not front.upstream.requests
    fewer = "".join(f"x-{number}: 1\r\n" for number in range(250))
    data = f"POST /iris-1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n{fewer}\r\nok".encode()
    assert (await front.ask(data)).body == b"ok"


async def test_who_closes_one_way_behind_a_refused_body_is_answered(serve: Serve) -> None:
    front = await serve(echo, held_bytes=BUDGET)
    first = await hold(front, MOST)
    callers = [await front.call() for _ in range(20)]
    for caller in callers:
        caller.writer.write(post(content_length=str(8 * MB)) + bytes(2 * MB))
        caller.writer.write_eof()
    for caller in callers:
        is_refused(await caller.receive())
        assert await caller.ended()
    await first.close()
