"""The pauses between connections, and calls in the place of sockets that do not get through."""

import asyncio

import pytest
from model_deployment_agent import link as link_module
from model_deployment_agent.backoff import Backoff
from model_deployment_agent.errors import Unreachable
from model_deployment_agent.link import Link
from model_deployment_agent.poll_link import PollLink
from model_deployment_agent.socket_link import SocketLink

from tests.support.agent_conversations import ConversationBench


async def test_pauses_grow_while_nothing_answers_and_calls_are_tried(
    bench: ConversationBench, monkeypatch: pytest.MonkeyPatch
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
    bench: ConversationBench, monkeypatch: pytest.MonkeyPatch, sockets: list[bool], rounds: int
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
