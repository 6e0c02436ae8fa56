"""Several model servers behind one deployment."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from enum import Enum, auto
from typing import Any

from model_deployment.core.routes import Route
from tests.support.proxy_front import Front
from tests.support.raw_http import Wire, post
from tests.support.routes import target
from tests.support.upstreams import Behave, Peer, Server


class Mode(Enum):
    """What a server does with a request."""

    ECHO = auto()
    RESET = auto()
    HANG = auto()
    FAIL = auto()


class Switch:
    """A server that does as it is told."""

    def __init__(self) -> None:
        self.mode = Mode.ECHO

    async def __call__(self, peer: Peer) -> None:
        while request := await peer.next():
            match self.mode:
                case Mode.ECHO:
                    await peer.answer(request.body)
                case Mode.FAIL:
                    await peer.answer(b'{"error_code": "INTERNAL_ERROR", "message": "no"}', 500)
                case Mode.RESET:
                    peer.reset()
                    return
                case Mode.HANG:
                    await peer.ended()
                    return


class Targets:
    """Servers behind one deployment, whose launches are launch-1, launch-2 ..."""

    def __init__(self, front: Front, servers: Sequence[Server]) -> None:
        self.front = front
        self.servers = servers

    def publish(self, *servers: int, **more: Any) -> Route:
        """Route to these servers, by their numbers from 1."""
        targets = [target(f"launch-{n}", self.servers[n - 1].port) for n in servers]
        route = replace(self.front.route(), targets=(*targets,), **more)
        self.front.publish(route)
        return route

    async def ask(self, number: int = 1, callers: int = 1, start: int = 0) -> Counter[int]:
        """Statuses of the answers to so many requests, each with a body of its own."""
        bodies = [b"body %d" % n for n in range(start, start + number)]
        found: list[int] = []

        async def ask_some() -> None:
            caller = await self.front.call()
            while bodies:
                body = bodies.pop()
                answer = await caller.ask(post(body))
                assert answer.status != 200 or answer.body == body
                found.append(answer.status)
            await caller.close()

        await asyncio.gather(*(ask_some() for _ in range(callers)))
        return Counter(found)

    @property
    def seen(self) -> list[int]:
        """Requests that each server has seen."""
        return [len(one.requests) for one in self.servers]

    @property
    def twice(self) -> list[bytes]:
        """Bodies that servers have seen more than once."""
        counts = Counter(request.body for one in self.servers for request in one.requests)
        return [body for body, times in counts.items() if times > 1]

    def traffic(self, number: int) -> int:
        return self.front.routes.traffic(f"launch-{number}").in_flight


@asynccontextmanager
async def targets(*behave: Behave, **options: Any) -> AsyncIterator[Targets]:
    """A server for each behaviour, all of them routed to."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(Server(one)) for one in behave]
        front = await stack.enter_async_context(Front(servers[0], **options))
        found = Targets(front, servers)
        found.publish(*range(1, len(servers) + 1))
        yield found


async def send(front: Front, *data: bytes) -> Wire:
    """Send a request on a connection of its own."""
    caller = await front.call()
    await caller.send(*data)
    return caller
