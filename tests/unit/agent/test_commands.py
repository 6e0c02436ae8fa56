"""Commands: which are taken, how many are remembered, and the file of their values."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from model_deployment_agent.errors import Unreachable
from model_deployment_agent.folder import write_json
from websockets.asyncio.server import ServerConnection

from tests.support.agent_conversations import WELCOME, ConversationBench


@pytest.mark.parametrize(
    "command",
    [
        {"id": 2**70, "name": "dark"}, {"id": 0, "name": "dark"}, {"id": True, "name": "dark"},
        {"id": 1, "name": "\ud800"}, {"id": 1, "name": "--help"}, {"id": 1, "name": "../x"},
        {"id": 1, "name": "x" * 65}, {"id": 1, "name": ""}, {"id": 1, "name": None}, {"name": "x"},
    ],
    ids=str,
)  # fmt: skip
async def test_hostile_commands_are_not_taken(bench: ConversationBench, command: Any) -> None:
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
    bench: ConversationBench, monkeypatch: pytest.MonkeyPatch
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
