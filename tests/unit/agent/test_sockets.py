"""The socket, against controllers that are silent, hostile or strange."""

import json
from typing import Any

import pytest
from model_deployment_agent import outbox as outbox_module
from model_deployment_agent import socket_link
from model_deployment_agent.errors import AgentError, TokenRejected, Unreachable
from model_deployment_agent.socket_link import Replaced
from websockets.asyncio.server import ServerConnection

from tests.support.agent_conversations import WELCOME, ConversationBench
from tests.support.waiting import until


async def test_it_introduces_itself_and_takes_what_it_is_told(bench: ConversationBench) -> None:
    heard: list[Any] = []

    async def script(socket: ServerConnection) -> None:
        assert socket.request is not None
        heard.append((socket.request.path, socket.request.headers["Authorization"]))
        heard.append(json.loads(await socket.recv()))
        await socket.send(json.dumps(WELCOME))
        await socket.send(json.dumps({"type": "desired", "release": {"x": 1}}))
        await socket.send(json.dumps({"type": "news", "of": "a later protocol"}))
        await socket.send(json.dumps({"type": "command", "id": 1, "name": "dark", "value": True}))
        heard.append(json.loads(await socket.recv()))
        await socket.close(1012)

    assert type(await bench.talk(script)) is Unreachable
    stream = bench.outbox.stream()
    assert heard == [
        ("/ws/camera-7", "Bearer mdd_x"),
        {"type": "hello", "protocol": 1, "agent": "0.1.0", "stream": stream, "running": 7},
        {"type": "ping", "health": {"memory": 1}},
    ]
    assert bench.offers == [{"x": 1}]
    assert 1_800_000_000_000 <= bench.clock.now() < 1_800_000_060_000
    assert bench.conversation.state.generation == 3


@pytest.mark.parametrize(
    ("code", "kind"),
    [(4401, TokenRejected), (4409, Replaced), (1012, Unreachable), (1013, Unreachable)],
)
async def test_codes_say_why(bench: ConversationBench, code: int, kind: type[AgentError]) -> None:
    async def script(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(json.dumps(WELCOME))
        await socket.close(code, "as asked")

    error = await bench.talk(script)
    assert type(error) is kind
    assert "as asked" in str(error)


@pytest.mark.parametrize(
    "frame",
    [
        "no JSON", "[" * 100_000, '{"type": "welcome"}', '{"type": "welcome", "received": -1}',
        '{"type": "welcome", "received": "1"}', '{"type": "ack", "seq": null}', "x" * (1024 * 1024 + 1),
    ],
    ids=lambda frame: frame[:20],
)  # fmt: skip
async def test_what_is_no_protocol_ends_the_connection(
    bench: ConversationBench, frame: str
) -> None:
    async def script(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(frame)
        await socket.wait_closed()

    assert isinstance(await bench.talk(script), Unreachable)


async def test_an_ack_of_what_was_never_sent_forgets_nothing(
    bench: ConversationBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(json.dumps(WELCOME))
        await socket.recv()
        await socket.send(json.dumps({"type": "ack", "seq": 10**9}))
        await socket.send(json.dumps({"type": "desired", "release": None}))
        await until(lambda: bench.offers, what="what follows the ack")
        await socket.close(1012)

    bench.outbox.stream()
    for _ in range(2):
        with bench.store.transaction() as connection:
            outbox_module.put(connection, "log", {"lines": []}, 1)
    numbered = bench.outbox.next(0)  # by the connection before
    with monkeypatch.context() as patch:
        patch.setattr(bench.outbox, "next", lambda *after, **limits: [])  # this one sends none
        await bench.talk(script)
    assert [one.seq for one in numbered] == [1, 2]
    assert bench.outbox.next(0) == numbered


async def test_silence_ends_the_connection(
    bench: ConversationBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_link, "SILENCE", 0.3)
    monkeypatch.setattr(socket_link, "PING_EVERY", 0.1)
    pings: list[str] = []

    async def script(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(json.dumps(WELCOME))
        async for frame in socket:
            pings.append(str(frame))

    assert "said nothing for 0.3 s" in str(await bench.talk(script))
    assert 2 <= len(pings) <= 5


async def test_pongs_keep_it(bench: ConversationBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_link, "SILENCE", 0.3)
    monkeypatch.setattr(socket_link, "PING_EVERY", 0.05)
    pings = 0

    async def script(socket: ServerConnection) -> None:
        nonlocal pings
        await socket.recv()
        await socket.send(json.dumps(WELCOME))
        async for _ in socket:
            pings += 1
            await socket.send('{"type": "pong"}')
            if pings == 12:  # twice as long as silence is borne
                await socket.close(1012)

    assert "code 1012" in str(await bench.talk(script))
    assert pings == 12


async def test_messages_go_on_behind_what_was_received(bench: ConversationBench) -> None:
    for number in range(5):
        with bench.store.transaction() as connection:
            outbox_module.put(connection, "log", {"lines": [], "n": number}, 1)
    heard: list[int] = []

    async def script(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(json.dumps({**WELCOME, "received": len(heard)}))
        async for frame in socket:
            found = json.loads(frame)
            if found["type"] == "message":
                heard.append(found["seq"])
                if len(heard) in {2, 5}:
                    await socket.close(1012)
                    return

    await bench.talk(script)
    del heard[2:]
    await bench.talk(script)
    assert heard == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "told", ["1e999", "1e300", "1" + "0" * 40, "NaN", "-1", "1000", "true", '"x"']
)
async def test_no_controller_can_move_the_clock_out_of_the_century(
    bench: ConversationBench, told: str
) -> None:
    before = bench.clock.now()

    async def script(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(
            json.dumps({**WELCOME, "time": 0}).replace('"time": 0', f'"time": {told}')
        )
        await socket.recv()
        await socket.close(1012)

    assert type(await bench.talk(script)) is Unreachable
    assert 0 <= bench.clock.now() - before < 60_000
