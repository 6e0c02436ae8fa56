"""A caller who hung up behind bytes that are not read is noticed; one whose turn comes is read on."""

import asyncio
import socket
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from model_deployment.proxy import caller_line
from model_deployment.proxy.caller_line import HangUpWatch
from tests.support.waiting import until


@dataclass
class Transport:
    """A connection, and how often was looked at it."""

    connection: socket.socket
    aborted: bool = False
    looks: int = 0

    def get_extra_info(self, name: str) -> socket.socket:
        assert name == "socket"
        return self.connection

    def is_closing(self) -> bool:
        self.looks += 1
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


async def test_who_waits_for_its_turn_may_close_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller_line, "_LOOK", 0.001)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transport, flow = Transport(ours), SimpleNamespace(read_paused=True, waits=True)
        watch = HangUpWatch(cast(asyncio.Transport, transport), cast(Any, flow))
        watch.begin()
        theirs.sendall(b"the last of it")
        theirs.shutdown(socket.SHUT_WR)
        await until(lambda: transport.looks > 3, what="several looks")
        assert not transport.aborted
        flow.waits = False
        await until(lambda: transport.aborted, what="the end of the connection")
