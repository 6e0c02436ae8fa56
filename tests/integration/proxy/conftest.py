"""The proxy's tests run on its own event loop, and none may leave anything behind."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvloop

from tests.support.proxy_front import Front, Serve
from tests.support.socket_front import SocketFront
from tests.support.socket_wires import Fronts
from tests.support.upstreams import Behave, Server
from tests.support.waiting import until


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


def tasks() -> set[asyncio.Task[object]]:
    """All tasks but the one that asks."""
    current = asyncio.current_task()
    return {task for task in asyncio.all_tasks() if task is not current}


def connections() -> set[object]:
    """The connections and listeners of this process, whatever their state."""
    found = psutil.Process().net_connections("tcp")
    return {(one.fd, one.laddr, one.raddr) for one in found}


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts an upstream with the proxy in front of it; all ends with the test."""
    before = connections()

    def clean() -> bool:
        assert not tasks()
        # Those of an earlier test may have ended meanwhile.
        assert connections() <= before
        return True

    async with AsyncExitStack() as stack:

        async def start(behave: Behave, **options: Any) -> Front:
            upstream = await stack.enter_async_context(Server(behave))
            return await stack.enter_async_context(Front(upstream, **options))

        yield start
    await until(clean, what="the end of all connections and tasks")


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
    await until(lambda: not tasks(), what="the end of all tasks")


@pytest.fixture
async def front(fronts: Fronts) -> SocketFront:
    """A proxy with a controller."""
    return await fronts()
