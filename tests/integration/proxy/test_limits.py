"""A model that is slower than its callers are many: some wait, and the others are told to come again."""

import pytest

from model_deployment.core.names import ModelKey
from model_deployment.proxy.route_entry import RouteEntry
from tests.support.held_requests import batching
from tests.support.held_requests import send as send_question
from tests.support.proxy_front import Front, Serve
from tests.support.raw_http import Message, Wire, post, post_chunked
from tests.support.upstreams import HeldUpstream, echo, silent
from tests.support.waiting import until


async def full(serve: Serve, **options: int) -> tuple[Front, HeldUpstream, list[Wire]]:
    """A model of one connection that two callers wait for, which is all there may be."""
    gate = HeldUpstream()
    front = await serve(gate, connections=1, queue=1, **options)
    return front, gate, [await send(front, post(b"%d" % number)) for number in range(2)]


async def send(front: Front, data: bytes) -> Wire:
    caller = await front.call()
    before = front.traffic.in_flight
    await caller.send(data)
    await until(lambda: front.traffic.in_flight == before + 1, what="the request in the proxy")
    return caller


def is_too_busy(answer: Message) -> None:
    problem = answer.problem(429)
    assert problem["title"] == "Too busy"
    assert answer.get("retry-after") == "1"
    assert answer.get("connection") is None


async def test_one_more_than_may_wait_is_told_to_come_again(serve: Serve) -> None:
    front, gate, waiting = await full(serve)
    refused = await front.call()
    for _ in range(3):
        is_too_busy(await refused.ask(post(b"refused")))
    assert front.traffic.in_flight == 2
    gate.open()
    assert [(await caller.receive()).body for caller in waiting] == [b"0", b"1"]
    # There is room again, and the connection is as good as before.
    assert (await refused.ask(post(b"again"))).body == b"again"
    assert [request.body for request in front.upstream.requests] == [b"0", b"1", b"again"]
    assert front.traffic.answered == 3
    assert front.failures == 0


async def test_a_caller_who_leaves_makes_room_for_another(serve: Serve) -> None:
    front, gate, waiting = await full(serve)
    await waiting[1].close()
    await until(lambda: front.traffic.in_flight == 1, what="one caller")
    other = await send(front, post(b"other"))
    is_too_busy(await front.ask(post(b"refused")))
    gate.open()
    assert (await other.receive()).body == b"other"


async def test_as_many_wait_as_may(serve: Serve) -> None:
    gate = HeldUpstream()
    front = await serve(gate, connections=2, queue=3)
    waiting = [await send(front, post(b"%d" % number)) for number in range(5)]
    is_too_busy(await front.ask(post()))
    assert gate.held == 2
    gate.open()
    for number, caller in enumerate(waiting):
        assert (await caller.receive()).body == b"%d" % number


async def test_nobody_waits_where_nobody_may(serve: Serve) -> None:
    gate = HeldUpstream()
    front = await serve(gate, connections=1, queue=0)
    caller = await send(front, post(b"x"))
    is_too_busy(await front.ask(post()))
    gate.open()
    assert (await caller.receive()).body == b"x"
    assert (await caller.ask(post(b"y"))).body == b"y"


async def test_a_busy_model_takes_nothing_from_another(serve: Serve) -> None:
    front, gate, _ = await full(serve)
    front.publish(front.route(), front.route(ModelKey("other", 1), launch="other"))
    caller = await front.call()
    await caller.send(post(b"x", "/other-1"))
    await until(lambda: gate.held == 2, what="the request for the other one")
    is_too_busy(await front.ask(post()))
    gate.open()
    assert (await caller.receive()).body == b"x"


async def test_bodies_that_wait_are_limited_in_bytes(serve: Serve) -> None:
    gate = HeldUpstream()
    front = await serve(gate, queue_bytes=1000)
    large = await send(front, post(bytes(600)))
    refused = await front.call()
    is_too_busy(await refused.ask(post(bytes(401))))
    just = await send(front, post(bytes(400)))
    is_too_busy(await refused.ask(post(bytes(1))))
    empty = await send(front, post())
    gate.open()
    sizes = [len((await caller.receive()).body) for caller in (large, just, empty)]
    assert sizes == [600, 400, 0]
    assert len((await refused.ask(post(bytes(1000)))).body) == 1000
    assert len(front.upstream.requests) == 4


async def test_one_body_alone_is_always_let_in(serve: Serve) -> None:
    gate = HeldUpstream()
    front = await serve(gate, queue_bytes=10)
    large = await send(front, post(bytes(1000)))
    is_too_busy(await front.ask(post(b"x")))
    gate.open()
    assert len((await large.receive()).body) == 1000
    assert len((await large.ask(post(bytes(1000)))).body) == 1000


@pytest.mark.parametrize("leaves", [False, True])
async def test_what_comes_to_nothing_gives_its_bytes_back(serve: Serve, leaves: bool) -> None:
    front = await serve(silent, queue_bytes=1000, read_timeout=30 if leaves else 0.1)
    for _ in range(3):
        if leaves:
            caller = await send(front, post(bytes(600)))
            await caller.close()
        else:
            (await front.ask(post(bytes(600)))).problem(504)
        await until(front.idle)


async def test_a_request_that_may_be_merged_counts_once(serve: Serve) -> None:
    front, model = await batching(serve, connections=1, queue=2)
    waiting = [await send_question(front, number) for number in range(3)]
    is_too_busy(await front.ask(post(b'{"a": 1}', content_type="application/json")))
    for _ in range(2):
        (await model.next()).predict()
    assert [(await caller.receive()).status for caller in waiting] == [200] * 3
    assert front.idle()


async def test_bodies_that_are_still_coming_count_too(serve: Serve) -> None:
    front = await serve(silent, queue_bytes=150_000)
    entry = front.routes.lookup(b"/iris-1")
    assert isinstance(entry, RouteEntry)
    assert entry.service
    upstream = entry.service.choose().upstream
    slow = await front.call()
    await slow.send(post_chunked(bytes(100_000), end=False))
    await until(lambda: upstream.held == 100_000, what="the first body in the proxy")
    refused = await front.ask(post_chunked(bytes(60_000), end=False))
    assert refused.problem(429)["title"] == "Too busy"
    assert refused.get("connection") == "close"
    await slow.close()
    await until(lambda: upstream.held == 0, what="room again")


async def test_a_body_alone_may_come_in_pieces_whatever_its_size(serve: Serve) -> None:
    front = await serve(echo, queue_bytes=1_000)
    body = bytes(100_000)
    assert (await front.ask(post_chunked(body[:50_000], body[50_000:]))).body == body
