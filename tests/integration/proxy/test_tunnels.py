"""WebSockets through a proxy to the controller: who gets one, what crosses it, and how it ends."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from model_deployment.http import api_connection
from model_deployment.http.api_connection import QuietWebSocket
from model_deployment.proxy import tunnel
from tests.support.raw_http import Wire
from tests.support.socket_front import CAMERA, TOKEN, SocketFront, handshake
from tests.support.waiting import until

Fronts = Callable[..., Awaitable[SocketFront]]


@pytest.fixture
async def fronts(tmp_path: Path) -> AsyncIterator[Fronts]:
    """Makes proxies with a controller; all ends with the test, and nothing is left."""
    made: list[SocketFront] = []

    async def make(**options: Any) -> SocketFront:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(SocketFront(folder, **options))
        return await made[-1].__aenter__()

    yield make
    for one in made:
        await one.__aexit__()
        assert len(one.tunnels) == 0
    current = asyncio.current_task()
    await until(
        lambda: {task for task in asyncio.all_tasks() if task is not current} == set(),
        what="the end of all tasks",
    )


@pytest.fixture
async def front(fronts: Fronts) -> SocketFront:
    return await fronts()


async def opened(front: SocketFront, **changes: str) -> Wire:
    """A tunnel, opened by hand."""
    wire = await front.call()
    await wire.send(handshake(**changes))
    answer = await wire.head()
    assert answer is not None
    assert answer.status == 101, answer
    return wire


def frame(text: bytes, *, first: int = 0x81) -> bytes:
    """A masked frame (RFC 6455, section 5.2), whose mask changes nothing."""
    size = len(text)
    if size < 126:
        return struct.pack("!BBI", first, 0x80 | size, 0) + text
    if size < 65536:
        return struct.pack("!BBHI", first, 0x80 | 126, size, 0) + text
    return struct.pack("!BBQI", first, 0x80 | 127, size, 0) + text


async def read(wire: Wire, size: int) -> bytes:
    async with asyncio.timeout(10):
        return await wire._reader.readexactly(size)


# ---- What crosses it


async def test_device_and_controller_hear_each_other(front: SocketFront) -> None:
    async with front.device() as device:
        for text in ("hello", "ü" * 1000, ""):
            await device.send(text)
            assert await device.recv() == text
    assert front.api.heard == ["hello", "ü" * 1000, ""]
    await until(lambda: front.api.ends == [1000] and len(front.tunnels) == 0)


async def test_controller_knows_who_asks(front: SocketFront) -> None:
    wire = await opened(front, **{
        "X-Request-Id": "mine-1", "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https",
        "Keep-Alive": "1", "Connection": "Upgrade, X-Secret", "X-Secret": "x",
    })  # fmt: skip
    [scope] = front.api.scopes
    headers = dict(scope["headers"])
    assert headers[b"x-request-id"] == b"mine-1"
    # The proxy trusts 127.0.0.1, which this caller is.
    assert (scope["client"][0], scope["scheme"]) == ("6.6.6.6", "wss")
    assert not {b"x-secret", b"keep-alive"} & headers.keys()
    await wire.close()


async def test_caller_who_is_not_trusted_cannot_say_where_he_is(fronts: Fronts) -> None:
    front = await fronts(trusted_proxies="10.0.0.1")
    for named in ({}, {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https"}):
        wire = await opened(front, **named)
        scope = front.api.scopes[-1]
        assert (scope["client"][0], scope["scheme"]) == ("127.0.0.1", "ws")
        await wire.close()


async def test_answer_to_a_handshake_has_the_id_of_the_request(front: SocketFront) -> None:
    wire = await front.call()
    for status, more in ((401, {"Authorization": "Bearer mdd_no"}), (101, {})):
        wire = await front.call()
        await wire.send(handshake(X_Request_Id="mine-2", **more))
        answer = await wire.head()
        assert answer is not None
        assert (answer.status, answer.get("x-request-id")) == (status, "mine-2")
        assert answer.get("x-content-type-options") == "nosniff"
        await wire.close()


async def test_frame_of_a_mebibyte_is_accepted_and_a_larger_one_ends_the_socket(
    front: SocketFront,
) -> None:
    largest = "x" * 1024 * 1024
    async with front.device() as device:
        await device.send(largest)
        assert await device.recv() == largest
        await device.send(largest + "x")
        with pytest.raises(ConnectionClosed) as caught:
            await device.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009
    # Also one that comes in pieces.
    async with front.device() as device:
        await device.send(["x" * 65536] * 17)
        with pytest.raises(ConnectionClosed) as caught:
            await device.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009
    assert front.api.heard == [largest]


async def test_announced_size_alone_ends_the_socket(front: SocketFront) -> None:
    wire = await opened(front)
    await wire.send(struct.pack("!BBQI", 0x81, 0x80 | 127, 1 << 40, 0))
    first, size, code = struct.unpack("!BBH", await read(wire, 4))
    assert (first, code) == (0x88, 1009)
    await read(wire, size - 2)
    assert await wire.ended()


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(b"\xff"), 1007),
        (b"\x81\x01x", 1002),  # without a mask
        (frame(b"x", first=0xC1), 1002),  # compressed, which was not agreed on
        (frame(b"x", first=0x83), 1002),  # of a kind that there is not
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 1002),
    ],
)
async def test_what_is_no_frame_ends_the_socket(front: SocketFront, sent: bytes, code: int) -> None:
    wire = await opened(front)
    await wire.send(sent)
    first, _, told = struct.unpack("!BBH", await read(wire, 4))
    assert (first, told) == (0x88, code)
    assert await wire.ended()
    assert front.api.heard == []


async def test_bytes_cross_wherever_they_are_cut(front: SocketFront) -> None:
    request, sent = handshake(), frame(b"hello")
    for place in range(1, len(request), 7):
        wire = await front.call()
        await wire.send(request[:place])
        await wire.send(request[place:])
        answer = await wire.head()
        assert answer is not None
        assert answer.status == 101, place
        for cut in sent:
            await wire.send(bytes([cut]))
        assert await read(wire, 7) == b"\x81\x05hello"
        await wire.close()


async def test_what_comes_with_the_handshake_is_not_lost(front: SocketFront) -> None:
    wire = await front.call()
    await wire.send(handshake(), frame(b"early"), frame(b"bird"))
    answer = await wire.head()
    assert answer is not None
    assert answer.status == 101
    assert await read(wire, 13) == b"\x81\x05early\x81\x04bird"


async def test_handshake_behind_another_request_waits_for_its_answer(front: SocketFront) -> None:
    wire = await front.call()
    before = b"GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    await wire.send(before, handshake())
    assert (await wire.receive()).body == b"here"
    answer = await wire.head()
    assert answer is not None
    assert answer.status == 101
    await wire.send(frame(b"x"))
    assert await read(wire, 3) == b"\x81\x01x"


# ---- Back pressure


async def test_device_that_does_not_read_holds_up_the_controller(front: SocketFront) -> None:
    wire = await opened(front)
    wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await wire.send(frame(b"send 400"), frame(b"after"))  # 25 MiB
    await until(lambda: front.api.heard == ["send 400"])
    for end in held(front):
        assert end.transport.get_write_buffer_size() <= 1024 * 1024
    wire.writer.transport.resume_reading()  # type: ignore[attr-defined]
    for _ in range(400):
        assert (await read(wire, 10 + 65536))[:2] == b"\x81\x7f"
    assert await read(wire, 7) == b"\x81\x05after"


async def test_controller_that_does_not_read_holds_up_the_device(front: SocketFront) -> None:
    wire = await opened(front)
    front.api.reads.clear()
    frames = [frame(b"x" * 60_000) for _ in range(300)]
    sending = asyncio.create_task(wire.send(*frames))
    done, _ = await asyncio.wait({sending}, timeout=0.3)
    assert not done, "17 MiB were taken in that nobody has read"
    for end in held(front):
        assert end.transport.get_write_buffer_size() <= 1024 * 1024
    front.api.reads.set()
    for _ in range(300):
        assert len(await read(wire, 4 + 60_000)) == 60_004
    await sending
    assert len(front.api.heard) == 300


def held(front: SocketFront) -> list[Any]:
    """Both ends of all tunnels."""
    return [end for one in front.tunnels._open for end in (one._caller, one._controller)]


# ---- Who gets one


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Authorization": None}, 401),
        ({"Authorization": "Bearer mdd_" + "B" * 43}, 401),
        ({"Authorization": "Bearer mdd_short"}, 401),
        ({"Authorization": "Basic b2xnYTpvb29vb29vb29vb29vb29v"}, 401),
        ({"path": "/ws/camera-8"}, 403),
        ({"path": "/ws/camera-7/x"}, 404),
        ({"path": "/ws/"}, 404),
        ({"path": "/ws/%63amera-7"}, 400),
        ({"path": "/ws/../ws/camera-7"}, 400),
        ({"Host": "evil.example"}, 421),
        ({"Host": None}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
async def test_handshake_is_refused_with_the_status_that_says_why(
    front: SocketFront, changes: dict[str, Any], status: int
) -> None:
    wire = await front.call()
    answer = await wire.ask(handshake(**changes))
    answer.problem(status)
    assert answer.get("connection") == "close"
    # Nothing that follows is taken for a request, or for anything else.
    await wire.send(b"GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert await wire.ended()
    assert front.api.scopes == []


@pytest.mark.parametrize(
    "changes",
    [
        {"Sec-WebSocket-Version": "8"},
        {"Sec-WebSocket-Version": None},
        {"Sec-WebSocket-Key": "short"},
        {"Sec-WebSocket-Key": None},
        {"Upgrade": "h2c"},
        {"Upgrade": None},
        {"Connection": "keep-alive"},
    ],
)
async def test_get_that_is_no_handshake_is_told_so(
    front: SocketFront, changes: dict[str, Any]
) -> None:
    answer = await front.ask(handshake(**changes))
    assert "WebSocket" in answer.problem(426)["detail"]
    assert answer.get("upgrade") == "websocket"
    assert answer.get("sec-websocket-version") == "13"


async def test_offer_elsewhere_is_ignored_as_before(front: SocketFront) -> None:
    for path in ("/ready", "/halls/activeModel", "/halls/devices/ws"):
        assert (await front.ask(handshake(path, Authorization=None))).body == b"here"


async def test_token_that_is_revoked_opens_no_further_socket(front: SocketFront) -> None:
    async with front.device() as device:
        front.api.good.clear()
        front.api.tokens.forget()
        with pytest.raises(InvalidStatus) as caught:
            async with front.device():
                pass
        assert caught.value.response.status_code == 401
        # Who has opened one already is thrown out by the controller, not by the way to it.
        await device.send("x")
        assert await device.recv() == "x"


async def test_token_of_a_device_opens_nothing_else(front: SocketFront) -> None:
    token = f"Authorization: Bearer {TOKEN}\r\n".encode()
    for path in (b"/ready", b"/get_model_list", b"/", b"/halls/devices", b"/rooms/activeModel"):
        answer = await front.ask(b"GET %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (path, token))
        answer.problem(403)
    answer = await front.ask(
        b"GET /halls/activeModel HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % token
    )
    assert answer.body == b"here"
    for path in (b"/predict_timeseries", b"/v1/chat/completions", b"/v1/responses"):
        data = b"POST %b HTTP/1.1\r\nHost: localhost\r\n%bContent-Length: 2\r\n\r\n{}"
        assert (await front.ask(data % (path, token))).status == 403


# ---- Limits


async def test_more_sockets_than_may_be_are_refused_until_one_ends(fronts: Fronts) -> None:
    front = await fronts(most=2)
    first, second = await opened(front), await opened(front)
    answer = await front.ask(handshake())
    assert "MODEL_DEPLOYMENT_DEVICES" in answer.problem(503)["detail"]
    assert answer.get("retry-after") == "10"
    assert (await front.ask(handshake("/ready", Authorization=None))).status == 200
    await first.close()
    await until(lambda: len(front.tunnels) == 1)
    third = await opened(front)
    for wire in (second, third):
        await wire.send(frame(b"x"))
        assert await read(wire, 3) == b"\x81\x01x"


async def test_controller_that_does_not_answer_is_not_waited_for_long(
    fronts: Fronts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "_HANDSHAKE_TIMEOUT", 0.3)
    front = await fronts()
    gate = asyncio.Event()

    async def hang(hashed: str) -> None:
        await gate.wait()

    monkeypatch.setattr(front.api.tokens, "_lookup", hang)
    answer = await front.ask(handshake())
    assert answer.problem(503)["detail"].startswith("cannot answer: the controller is away")
    assert answer.get("retry-after") is not None
    gate.set()


async def test_handshake_that_comes_byte_by_byte_is_not_waited_for(fronts: Fronts) -> None:
    front = await fronts(keep_alive=0.4)
    wire = await front.call()
    ended = asyncio.create_task(wire.ended())

    async def dribble() -> bool:
        with suppress(RuntimeError, ConnectionError):  # it has ended
            await wire.send(b"x")
        return ended.done()

    await wire.send(b"GET /ws/camera-7 HTTP/1.1\r\nHost: ")
    await until(dribble, timeout=5, interval=0.05, what="the end of the connection")


async def test_much_behind_a_handshake_is_not_kept(
    front: SocketFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()

    async def slow(hashed: str) -> Any:
        await gate.wait()
        return CAMERA

    monkeypatch.setattr(front.api.tokens, "_lookup", slow)
    wire = await front.call()
    await wire.send(handshake())
    with pytest.raises(ConnectionError):
        await wire.send(*[b"x" * 65536] * 400)
    gate.set()
    await wire.close()
    await until(lambda: len(front.tunnels) == 0)


# ---- How it ends


async def test_close_codes_cross(front: SocketFront) -> None:
    async with front.device() as device:
        await device.send("end")
        with pytest.raises(ConnectionClosed) as caught:
            await device.recv()
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4400, "ended")
    async with front.device() as device:
        await device.close(3999, "bye")
    await until(lambda: 3999 in front.api.ends)


async def test_half_closed_connection_ends_whole(front: SocketFront) -> None:
    wire = await opened(front)
    await wire.send(frame(b"last"))
    assert await read(wire, 6) == b"\x81\x04last"
    wire.writer.write_eof()
    assert await wire.ended()
    await until(lambda: len(front.tunnels) == 0 and front.api.connections == 0)


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_device_that_is_gone_is_gone_for_the_controller(front: SocketFront, how: str) -> None:
    wire = await opened(front)
    if how == "reset":
        wire.reset()
    else:
        await wire.close()
    await until(lambda: len(front.api.ends) == 1 and len(front.tunnels) == 0)


async def test_device_that_never_closes_does_not_keep_a_tunnel(
    front: SocketFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "_LINGER", 0.2)
    wire = await opened(front)
    await front.api.stop()  # it is told, and stays
    await until(lambda: len(front.tunnels) == 0)
    assert await wire.ended()


async def test_device_that_never_reads_does_not_keep_a_tunnel(
    front: SocketFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "_STUCK", 0.3)
    wire = await opened(front)
    wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await wire.send(frame(b"send 400"))
    await until(lambda: front.api.connections == len(front.tunnels) == 0)


async def test_killed_controller_ends_its_sockets_and_the_next_one_has_new_ones(
    front: SocketFront,
) -> None:
    wires = [await opened(front) for _ in range(20)]
    await front.api.stop()
    for wire in wires:
        assert await wire.ended()
    answer = await front.ask(handshake())
    assert "the controller is away" in answer.problem(503)["detail"]
    assert answer.get("retry-after") == "2"
    await front.api.start()
    wire = await opened(front)
    await wire.send(frame(b"x"))
    assert await read(wire, 3) == b"\x81\x01x"


async def test_proxy_that_retires_ends_its_sockets_at_once(front: SocketFront) -> None:
    wires = [await opened(front) for _ in range(20)]
    async with asyncio.timeout(5):
        await front.stop()
    for wire in wires:
        assert await wire.ended()
    await until(lambda: len(front.api.ends) == 20)


async def test_hundreds_of_devices_connect_at_once(fronts: Fronts) -> None:
    front = await fronts(most=1000)

    async def one(number: int) -> None:
        wire = await opened(front)
        await wire.send(frame(b"%04d" % number))
        assert await read(wire, 6) == b"\x81\x04%04d" % number

    await asyncio.gather(*map(one, range(600)))
    assert len(front.tunnels) == 600


async def test_messages_that_are_not_complete_are_limited_for_all_sockets_together(
    front: SocketFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_connection, "MOST_HELD", 300_000)
    begun = frame(bytes(200_000))[:-1]
    first = await opened(front)
    await first.send(begun)
    await until(lambda: QuietWebSocket.held >= 190_000, what="the first message")
    second = await opened(front)
    await second.send(begun)
    assert await second.ended(), "closed with 1013"
    await until(lambda: QuietWebSocket.held < 210_000, what="the end of the second one")
    # A message in tiny pieces is whole, and the first one goes on.
    await first.send(bytes(1))
    await until(lambda: front.api.heard == ["\0" * 200_000], what="the first message")
    third = await opened(front)
    await third.send(frame(b"a", first=0x01), *[frame(b"b", first=0x00)] * 3000)
    await third.send(frame(b"c", first=0x80))
    await until(lambda: front.api.heard[1:] == ["a" + "b" * 3000 + "c"], what="the third message")
    assert QuietWebSocket.held == 0
