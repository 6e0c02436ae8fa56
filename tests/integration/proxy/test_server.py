"""The server of callers: cut bytes, requests in a row, idle connections, and how it ends."""

import asyncio
import socket
from random import Random

import pytest

from model_deployment.data_plane.decide import GRACE
from model_deployment.http.asgi import App, Receive, Scope, Send
from model_deployment.proxy import server as proxy_server
from model_deployment.proxy.context import ExchangeContext
from model_deployment.proxy.server import ProxyServer
from tests.support.proxy_front import Serve, inside
from tests.support.raw_http import HOST, Wire, post, post_chunked
from tests.support.upstreams import HeldUpstream, echo
from tests.support.waiting import until

REQUESTS = (
    post(b"first"),
    b"GET /else HTTP/1.1\r\nHost: proxy\r\n\r\n",
    post_chunked(b"sec", b"ond"),
    b"POST /other HTTP/1.1\r\nHost: proxy\r\nContent-Length: 3\r\n\r\nabc",
    post(b""),
    b"GET /iris-1 HTTP/1.1\r\nHost: proxy\r\n\r\n",
    post(b"last"),
)


async def ensure_answered(caller: Wire) -> None:
    """The requests of REQUESTS have their answers, in their order."""
    found = [await caller.receive() for _ in REQUESTS]
    assert [one.status for one in found] == [200, 200, 200, 200, 200, 405, 200]
    bodies = [one.body for one in found]
    assert bodies[:5] == [b"first", b"inside: /else", b"second", b"inside: /other", b""]
    assert bodies[6] == b"last"


async def test_answers_are_the_same_wherever_the_bytes_are_cut(serve: Serve) -> None:
    front = await serve(echo)
    data = b"".join(REQUESTS)
    for place in range(1, len(data)):
        caller = await front.call()
        await caller.send(data[:place])
        await caller.send(data[place:])
        await ensure_answered(caller)
        await caller.close()


async def test_answers_are_the_same_in_many_pieces(serve: Serve) -> None:
    front = await serve(echo)
    data, random = b"".join(REQUESTS), Random(1)
    caller = await front.call()
    for _ in range(50):
        places = sorted(random.sample(range(1, len(data)), 20))
        for start, end in zip([0, *places], [*places, len(data)], strict=True):
            await caller.send(data[start:end])
            await asyncio.sleep(0)
        await ensure_answered(caller)


async def test_a_large_crowd_of_requests_in_a_row_is_answered_in_its_order(serve: Serve) -> None:
    front = await serve(echo)
    caller = await front.call()
    bodies = [b"%d" % number for number in range(1000)]
    sending = asyncio.create_task(caller.send(*map(post, bodies)))
    assert [(await caller.receive()).body for _ in bodies] == bodies
    await sending


@pytest.mark.parametrize("path", ["/iris-1", "/else"])
async def test_an_old_caller_gets_one_answer(serve: Serve, path: str) -> None:
    front = await serve(echo)
    caller = await front.call()
    answer = await caller.ask(f"POST {path} HTTP/1.0\r\nContent-Length: 1\r\n\r\nx".encode())
    assert answer.status == 200
    assert answer.get("connection") == "close"
    assert await caller.ended()


async def test_an_idle_connection_is_closed(serve: Serve) -> None:
    front = await serve(echo)
    server, port = await started(front.routes, keep_alive=0.1)
    gate_keeper = await Wire.connect(port)
    assert (await gate_keeper.ask(post(b"x"))).body == b"x"
    assert await gate_keeper.ended()
    await gate_keeper.close()
    await server.stop(last=True, patience=1)


async def test_a_server_that_stops_answers_what_it_has_and_says_goodbye(serve: Serve) -> None:
    gate = HeldUpstream()
    front = await serve(gate)
    server, port = await started(front.routes)
    busy, idle = await Wire.connect(port), await Wire.connect(port)
    assert (await idle.ask(b"GET /else HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200
    await busy.send(post(b"x"))
    await until(lambda: gate.held, what="the request at the model")
    stopping = asyncio.create_task(server.stop(last=True, patience=20))
    assert await idle.ended()
    gate.open()
    answer = await busy.receive()
    assert (answer.body, answer.get("connection")) == (b"x", "close")
    await stopping
    for caller in (busy, idle):
        await caller.close()
    with pytest.raises(ConnectionRefusedError):
        await Wire.connect(port)


async def test_a_server_out_of_patience_drops_its_calls_with_an_answer(serve: Serve) -> None:
    gate = HeldUpstream()
    front = await serve(gate)
    server, port = await started(front.routes)
    caller = await Wire.connect(port)
    await caller.send(post(b"x"))
    await until(lambda: gate.held, what="the request at the model")
    stopping = asyncio.create_task(server.stop(last=True, patience=0.1))
    (await caller.receive()).problem(502)
    await stopping
    await caller.close()


async def test_a_server_that_stops_cuts_off_a_body_without_an_end(
    serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert proxy_server._GOODBYE + proxy_server._LAST_ANSWERS + proxy_server._CUT < GRACE - 1
    monkeypatch.setattr(proxy_server, "_LAST_ANSWERS", 0.1)
    front = await serve(echo)
    began = asyncio.Event()

    async def read_to_the_end(scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] == "http.request":
            if message["body"]:
                began.set()

    server, port = await started(front.routes, read_to_the_end)
    caller = await Wire.connect(port)
    await caller.send(b"POST /else HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
    await began.wait()
    await server.stop(last=True, patience=0.1)
    assert await caller.ended()
    assert not [one for one in caplog.records if one.levelname == "ERROR"]
    await caller.close()


async def test_a_server_that_stops_answers_what_has_come_already(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy_server, "_GOODBYE", 0)
    front = await serve(echo)
    server, port = await started(front.routes)
    with (
        socket.create_connection((HOST, port)) as complete,
        socket.create_connection((HOST, port)) as begun,
    ):
        await until(lambda: server.connections == 2, what="both connections")
        # The event loop sees neither before the server is told to stop.
        complete.sendall(post(b"late"))
        begun.sendall(b"POST /stub")
        async with asyncio.timeout(2):
            await server.stop(last=True, patience=30)
        assert complete.recv(4096).endswith(b"late")
        assert begun.recv(4096) == b""


async def test_a_server_that_shares_its_socket_leaves_it_to_the_others(serve: Serve) -> None:
    front = await serve(echo)
    listener = socket.create_server((HOST, 0))
    port = listener.getsockname()[1]
    first = ProxyServer(inside, front.routes, ExchangeContext(1000))
    second = ProxyServer(inside, front.routes, ExchangeContext(1000))
    await first.start(listener.dup())
    await second.start(listener)
    failed = asyncio.create_task(ask_again_and_again(port, 200))
    await until(lambda: first.connections or second.connections, what="callers")
    await first.stop(last=False, patience=5)
    assert first.connections == 0
    assert await failed == 0
    await second.stop(last=True, patience=5)


async def ask_again_and_again(port: int, number: int) -> int:
    """How many of so many requests, each on a connection of its own, got no answer."""
    lost = 0
    for count in range(number):
        caller = await Wire.connect(port)
        try:
            lost += (await caller.ask(post(b"%d" % count))).body != b"%d" % count
        except (ConnectionError, AssertionError, asyncio.IncompleteReadError):
            lost += 1
        await caller.close()
    return lost


async def started(routes: object, app: App = inside, **options: float) -> tuple[ProxyServer, int]:
    listener = socket.create_server((HOST, 0))
    server = ProxyServer(app, routes, ExchangeContext(1000), **options)  # type: ignore[arg-type]
    await server.start(listener)
    return server, listener.getsockname()[1]
