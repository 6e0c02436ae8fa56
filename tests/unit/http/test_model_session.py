"""Calls that are no prediction reach model servers on ports and on Unix sockets."""

from pathlib import Path

import aiohttp
import pytest

from model_deployment.core.domain import Address
from model_deployment.endpoints.replay.model_call import call
from model_deployment.http.model_session import model_session
from tests.support.raw_http import HOST
from tests.support.upstreams import Server, answers

JSON = ("Content-Type", "application/json")
SAYS = answers(b'{"predictions": [1]}', headers=[JSON])


def socket_in(folder: Path) -> Path:
    found = folder / ("x" * 120) / "model.sock"
    found.parent.mkdir()
    return found


@pytest.mark.parametrize("unix", [False, True])
async def test_model_session_reaches_the_server(tmp_path: Path, unix: bool) -> None:
    path = socket_in(tmp_path) if unix else None
    async with Server(SAYS, path) as server:
        address = Address(HOST, server.port or 81, str(path or ""))
        async with model_session(address, 10) as session:
            for _ in range(2):
                async with session.get(f"{address.url}/ping") as answer:
                    assert await answer.json() == {"predictions": [1]}
        assert server.connections == 1
        async with aiohttp.ClientSession() as session:
            found = await call(session, address, b"{}", 10)
        assert (found.failure, found.predictions) == ("", [1])
        assert server.requests[-1].get("host") == f"{HOST}:{address.port}"


@pytest.mark.parametrize("gone", ["model.sock", "."])
async def test_a_call_of_a_server_that_is_gone_is_a_failure(tmp_path: Path, gone: str) -> None:
    path = socket_in(tmp_path)
    if gone == ".":
        path.parent.rmdir()
    async with aiohttp.ClientSession() as session:
        assert (await call(session, Address("m", 1, str(path)), b"{}", 10)).failure == "502"
