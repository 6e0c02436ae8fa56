"""What a proxy is sent."""

import asyncio
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from model_deployment.data_plane.decide import Phase
from model_deployment.data_plane.link import ProxyLink
from model_deployment.data_plane.member import Member
from model_deployment.proxy import protocol
from tests.support.waiting import until


@pytest.mark.parametrize(
    ("version", "sent"), [(protocol.VERSION, ["table"]), (protocol.VERSION - 1, []), (None, [])]
)
async def test_only_a_proxy_that_reads_tables_is_sent_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: int | None, sent: list[str]
) -> None:
    ops: list[str] = []

    class Link:
        def send(self, op: str, **more: Any) -> None:
            ops.append(op)

        async def ask(self, op: str) -> dict[str, Any]:
            return {"protocol": version}

        async def close(self) -> None:
            pass

    async def connect(*args: Any) -> Link:
        return Link()

    monkeypatch.setattr(ProxyLink, "connect", connect)
    ended = asyncio.Event()

    async def end() -> int:
        await ended.wait()
        return 0

    process = MagicMock(id="0-a", ended=end)
    member = Member(
        process, current=False, phase=Phase.SERVING, folder=tmp_path, on_event=MagicMock()
    )
    attending = asyncio.ensure_future(member.attend(lambda one: one.push(1, [])))
    await until(lambda: member.heard)
    member.push(1, [])
    assert ops == sent
    assert member.state.lagging < 1, "one that cannot read tables is not killed for it"
    assert (member.sent == 1) is bool(sent)
    ended.set()
    assert await attending == 0
