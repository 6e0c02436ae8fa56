"""Who gets a WebSocket through a proxy to the controller, and who is refused with which words."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from model_deployment.proxy import tunnel
from tests.support.socket_front import CAMERA, TOKEN, SocketFront, handshake
from tests.support.socket_wires import Fronts, frame, opened, read
from tests.support.waiting import until


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


async def test_hundreds_of_devices_connect_at_once(fronts: Fronts) -> None:
    front = await fronts(most=1000)

    async def one(number: int) -> None:
        wire = await opened(front)
        await wire.send(frame(b"%04d" % number))
        assert await read(wire, 6) == b"\x81\x04%04d" % number

    await asyncio.gather(*map(one, range(600)))
    assert len(front.tunnels) == 600
