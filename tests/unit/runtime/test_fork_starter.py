"""The starter of forks with scripted parents: what they may do at the worst moment."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from model_deployment.core.domain import Address
from model_deployment.runtime.forkserver import ForkSettings, ForkStarter
from model_deployment.runtime.parent_connection import ParentUnavailable
from model_deployment.runtime.parent_process import ParentProcess
from model_deployment.worker import protocol
from tests.support.waiting import until

Message = dict[str, Any]
HELLO = {
    "protocol": protocol.VERSION,
    "code": protocol.CODE,
    "pid": 1,
    "refused": {},
    "held": [["127.0.0.1", 7], ["127.0.0.1", 8]],
}
HELD, OTHER = Address("127.0.0.1", 7), Address("127.0.0.1", 8)


class ScriptedParent:
    """Listens in the place of a warm parent, and answers as it is told."""

    def __init__(self, folder: Path) -> None:
        self.process = ParentProcess(folder, folder / "log", (), {}, python="/bin/false")
        self.requests: list[Message] = []
        #: The answer to a request; None hangs up.
        self.answer: Callable[[Message], Message | None] = self.as_usual
        self.connections: list[asyncio.StreamWriter] = []

    def as_usual(self, request: Message) -> Message | None:
        return HELLO if request["op"] == "hello" else {}

    async def listen(self) -> None:
        path = self.process.folder / self.process.name
        self._server = await asyncio.start_unix_server(self._serve, path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        while line := await reader.readline():
            request = json.loads(line)
            self.requests.append(request)
            answer = self.answer(request)
            if answer is None:
                break
            writer.write(protocol.encode({"id": request["id"], "ok": True, **answer}))
        writer.close()

    def hang_up(self) -> None:
        self.connections[-1].close()

    def close(self) -> None:
        self._server.close()


@pytest.fixture
async def parent(tmp_path: Path) -> AsyncIterator[ScriptedParent]:
    made = ScriptedParent(tmp_path)
    await made.listen()
    yield made
    made.close()


@pytest.fixture
async def starter(parent: ScriptedParent, tmp_path: Path) -> AsyncIterator[ForkStarter]:
    settings = ForkSettings("no-such-instance", tmp_path, tmp_path, lambda manager: {}, 60.0)
    made = ForkStarter(settings, parent.process, lambda: None)
    yield made
    await made.close()


async def test_ports_of_a_running_parent_are_adopted(starter: ForkStarter) -> None:
    await starter.ready()
    assert starter.holds(HELD)
    assert starter.holds(OTHER)


async def test_parent_that_hangs_up_during_the_hello_is_not_ready(
    parent: ScriptedParent, starter: ForkStarter
) -> None:
    parent.answer = lambda request: None
    with pytest.raises(ParentUnavailable, match="gone"):
        await starter.ready()
    assert starter.parent_pid == 0


async def test_parent_that_hangs_up_after_the_hello_is_not_ready(
    parent: ScriptedParent, starter: ForkStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def served() -> dict[Address, list[int]]:  # in a thread, during the hand-over
        loop.call_soon_threadsafe(parent.hang_up)
        gone = until(lambda: starter._client.connection is None)
        asyncio.run_coroutine_threadsafe(gone, loop).result()
        return {}

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(starter, "_served", served)
    parent.answer = lambda request: {**HELLO, "held": []}
    with pytest.raises(ParentUnavailable, match="gone"):
        await starter.ready()
    assert starter.parent_pid == 0


@pytest.mark.parametrize(
    ("hello", "why"),
    [
        ({**HELLO, "protocol": 0}, "speaks protocol 0"),
        ({**HELLO, "code": "0" * 64}, "code of model_deployment changed"),
        ({"protocol": protocol.VERSION, "code": protocol.CODE}, "refused"),
    ],
)
async def test_parent_of_another_make_is_not_used(
    parent: ScriptedParent, starter: ForkStarter, hello: Message, why: str
) -> None:
    parent.answer = lambda request: hello
    with pytest.raises(ParentUnavailable, match=why):
        await starter.ready()


async def test_port_released_without_a_parent_is_released_by_the_next_one(
    parent: ScriptedParent, starter: ForkStarter
) -> None:
    await starter.release(HELD)
    await starter.ready()
    assert [one["op"] for one in parent.requests] == ["hello", "release"]
    assert parent.requests[-1]["port"] == HELD.port
    assert not starter.holds(HELD)
    assert starter.holds(OTHER)


async def test_lost_parent_is_replaced_by_one_that_holds_the_same_ports(
    parent: ScriptedParent, starter: ForkStarter
) -> None:
    await starter.ready()
    parent.answer = lambda request: {**HELLO, "held": []} if request["op"] == "hello" else {}
    parent.hang_up()
    await until(lambda: not starter.holds(HELD))
    await until(lambda: starter.holds(HELD) and starter.holds(OTHER))
    assert sorted(one["port"] for one in parent.requests if one["op"] == "hold") == [7, 8]
