"""The socket and the pauses between sockets, against controllers that are silent, hostile or strange."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from model_deployment_agent import link as link_module
from model_deployment_agent import outbox as outbox_module
from model_deployment_agent import socket_link
from model_deployment_agent.backoff import Backoff
from model_deployment_agent.clock import Clock
from model_deployment_agent.commands import Commands
from model_deployment_agent.controller import Address, Controller
from model_deployment_agent.conversation import Conversation
from model_deployment_agent.database import Database
from model_deployment_agent.errors import AgentError, TokenRejected, Unreachable
from model_deployment_agent.folder import Folder, Identity, write_json
from model_deployment_agent.link import Link
from model_deployment_agent.outbox import Outbox
from model_deployment_agent.poll_link import PollLink
from model_deployment_agent.socket_link import Replaced, SocketLink
from websockets.asyncio.server import ServerConnection, serve

WELCOME = {
    "type": "welcome",
    "protocol": 1,
    "generation": 3,
    "received": 0,
    "time": 1_800_000_000_000,
}


class Bench:
    """A conversation with a controller that a test scripts."""

    def __init__(self, folder: Path) -> None:
        place = Folder.at(folder)
        place.save_identity(
            Identity("http://127.0.0.1", "hall", "camera-7", "A" * 43 + "="), "mdd_x"
        )
        self.store = Database(place.database)
        self.clock = Clock()
        self.outbox = Outbox(self.store, self.clock)
        self.offers: list[object] = []
        commands = Commands(self.store, place, self.clock, self.outbox, program=None, seconds=1)
        self.conversation = Conversation(
            identity=place.identity(),
            folder=place,
            controller=Controller(Address("http", "127.0.0.1", 1, "")),
            clock=self.clock,
            outbox=self.outbox,
            commands=commands,
            offered=self.offers.append,
            running=lambda: 7,
            health=lambda: {"memory": 1},
        )

    async def talk(self, script: Callable[[ServerConnection], Awaitable[None]]) -> AgentError:
        """One connection to a controller that does as the script says; why it ended."""
        async with serve(script, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            address = Address.of(f"http://127.0.0.1:{port}", insecure=False)
            self.conversation.controller.address = address
            with pytest.raises(AgentError) as caught:
                async with asyncio.timeout(10):
                    await SocketLink(self.conversation).converse()
            return caught.value


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    found = Bench(tmp_path)
    yield found
    found.store.close()


async def test_it_introduces_itself_and_takes_what_it_is_told(bench: Bench) -> None:
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
async def test_codes_say_why(bench: Bench, code: int, kind: type[AgentError]) -> None:
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
async def test_what_is_no_protocol_ends_the_connection(bench: Bench, frame: str) -> None:
    async def script(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(frame)
        await socket.wait_closed()

    assert isinstance(await bench.talk(script), Unreachable)


async def test_an_ack_of_what_was_never_sent_forgets_nothing(bench: Bench) -> None:
    async def script(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(json.dumps(WELCOME))
        await socket.send(json.dumps({"type": "ack", "seq": 10**9}))
        await socket.close(1012)

    with bench.store.transaction() as connection:
        outbox_module.put(connection, "log", {"lines": []}, 1)
        outbox_module.put(connection, "log", {"lines": []}, 2)
    await bench.talk(script)
    messages = [one.seq for one in bench.outbox.next(0)]
    assert messages in ([1, 2], [])
    assert bench.outbox.resume(len([1, 2]) - len(messages))


async def test_silence_ends_the_connection(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_pongs_keep_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_messages_go_on_behind_what_was_received(bench: Bench) -> None:
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


async def test_pauses_grow_while_nothing_answers_and_calls_are_tried(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A controller that is away: sockets, then calls, in turns; never more often than the pauses allow."""
    pauses: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await real(0)
        if len(pauses) == 8:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    tried: list[str] = []

    class Sockets(SocketLink):
        async def converse(self) -> None:
            tried.append("socket")
            raise Unreachable("away")

    monkeypatch.setattr(link_module, "SocketLink", Sockets)

    async def away(self: object) -> None:
        tried.append("calls")
        raise Unreachable("away")

    monkeypatch.setattr(PollLink, "round", away)
    with pytest.raises(asyncio.CancelledError):
        await Link(bench.conversation, poll=None, backoff=Backoff()).run()
    assert tried == ["socket"] * 3 + ["calls"] + ["socket"] * 1 + ["calls"] + ["socket", "calls"]
    wholes = [1, 2, 4, 8, 16, 32, 60, 60]
    assert all(whole / 2 <= pause <= whole for pause, whole in zip(pauses, wholes, strict=True))
    assert bench.conversation.state.state == "offline"


@pytest.mark.parametrize(
    ("sockets", "rounds"),
    [
        ([False, False, False, True], 1),  # the controller came back: one round, then a socket
        ([False] * 4, 4),  # sockets do not get through: one round, a socket, then rounds for long
    ],
)
async def test_calls_take_the_place_of_sockets_only_while_sockets_fail(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, sockets: list[bool], rounds: int
) -> None:
    polled = 0
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        await real(0)

    class Sockets(SocketLink):
        async def converse(self) -> None:
            if sockets and not sockets.pop(0):
                raise Unreachable("away")
            raise asyncio.CancelledError

    async def answered(self: object) -> None:
        nonlocal polled
        polled += 1
        if polled == 4:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(link_module, "SocketLink", Sockets)
    monkeypatch.setattr(PollLink, "round", answered)
    with pytest.raises(asyncio.CancelledError):
        await Link(bench.conversation, poll=None, backoff=Backoff()).run()
    assert polled == rounds
    assert sockets == []


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://m.example.org", ("https", "m.example.org", 443, "", "wss://m.example.org:443")),
        ("http://127.0.0.1:8000/", ("http", "127.0.0.1", 8000, "", "ws://127.0.0.1:8000")),
        ("http://[::1]:80/a/b/", ("http", "::1", 80, "/a/b", "ws://[::1]:80/a/b")),
        ("http://localhost", ("http", "localhost", 80, "", "ws://localhost:80")),
    ],
)
def test_addresses(url: str, found: tuple[Any, ...]) -> None:
    address = Address.of(url, insecure=False)
    assert (address.scheme, address.host, address.port, address.prefix, address.socket_url) == found


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "ftp://127.0.0.1",
        "http://",
        "https://a:b@c",
        "https://a?x=1",
        "http://a:99999",
        "http://[::1",
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(AgentError, match=r"^cannot use the address"):
        Address.of(url, insecure=True)


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1", "http://m.example.org", "http://127.0.0.1.example.org"]
)
def test_plain_http_to_others_only_if_asked_for(url: str) -> None:
    with pytest.raises(AgentError, match="say --insecure"):
        Address.of(url, insecure=False)
    assert Address.of(url, insecure=True).scheme == "http"


@pytest.mark.parametrize(
    "told", ["1e999", "1e300", "1" + "0" * 40, "NaN", "-1", "1000", "true", '"x"']
)
async def test_no_controller_can_move_the_clock_out_of_the_century(bench: Bench, told: str) -> None:
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


@pytest.mark.parametrize(
    "command",
    [
        {"id": 2**70, "name": "dark"}, {"id": 0, "name": "dark"}, {"id": True, "name": "dark"},
        {"id": 1, "name": "\ud800"}, {"id": 1, "name": "--help"}, {"id": 1, "name": "../x"},
        {"id": 1, "name": "x" * 65}, {"id": 1, "name": ""}, {"id": 1, "name": None}, {"name": "x"},
    ],
    ids=str,
)  # fmt: skip
async def test_hostile_commands_are_not_taken(bench: Bench, command: Any) -> None:
    async def script(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(json.dumps(WELCOME))
        await socket.send(json.dumps({"type": "command", "value": 1, **command}))
        await socket.send(json.dumps({"type": "desired", "release": None}))
        await socket.recv()
        await socket.close(1012)

    assert type(await bench.talk(script)) is Unreachable
    assert bench.offers == [None]  # what follows is taken
    with bench.store.transaction() as connection:
        assert connection.execute("SELECT count(*) FROM commands").fetchone() == (0,)


async def test_a_flood_of_commands_stays_bounded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model_deployment_agent.commands.REMEMBERED", 5)
    monkeypatch.setattr("model_deployment_agent.commands.MAX_NAMES", 3)
    commands = bench.conversation.commands
    for number in range(1, 12):
        commands.take({"id": number, "name": f"n{number}", "value": number})
    working = asyncio.create_task(commands.run())
    answers: list[Any] = []
    async with asyncio.timeout(10):
        while len(answers) < 5:
            await bench.outbox.changed.wait()
            bench.outbox.changed.clear()
            answers = [one.data for one in bench.outbox.next(0)]
    working.cancel()
    assert [(one["id"], one["ok"]) for one in answers] == [
        (7, True), (8, True), (9, True), (10, False), (11, False)
    ]  # fmt: skip
    assert commands.values() == {"n7": 7, "n8": 8, "n9": 9}
    assert "3 names have values already" in answers[-1]["detail"]


def test_a_file_that_a_killed_process_had_begun_is_removed(tmp_path: Path) -> None:
    for left in (".values.json.1", ".values.json.2"):
        (tmp_path / left).write_text("{")
    write_json(tmp_path / "values.json", {"dark": True})
    assert [one.name for one in tmp_path.iterdir()] == ["values.json"]
