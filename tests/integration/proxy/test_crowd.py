"""Thousands of callers who hang up at any moment leave the proxy as good as new.

After such a burst the pool of httpx is full for good (httpcore, issue 1093).
"""

import asyncio
import random
import socket
import struct
import time
from pathlib import Path
from typing import cast

from tests.integration.proxy.conftest import tasks
from tests.support.proxy_front import Front, Serve
from tests.support.raw_http import HOST, post, post_chunked
from tests.support.upstreams import Peer
from tests.support.waiting import until

CALLERS = 4_000
AT_ONCE = 200
#: Far fewer than callers, so that one connection lost in a thousand calls would be noticed.
CONNECTIONS = 8


async def moody(peer: Peer) -> None:
    """Answers at once, after some thought, in pieces, or not before the caller has gone."""
    while request := await peer.next():
        mood = random.random()
        if request.body.startswith(b"good") or mood < 0.4:
            await peer.answer(request.body)
        elif mood < 0.6:
            await peer.begin(b"first")
            await peer.ended()
            return
        else:
            try:
                await asyncio.wait_for(peer.ended(), random.uniform(0, 0.01))
            except TimeoutError:
                await peer.answer(request.body)
            else:
                return


class Fickle(asyncio.Protocol):
    """A caller who sends some or all of a request, and hangs up at some moment."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.gone = loop.create_future()
        body = b"x" * random.choice([0, 1, 1_000, 200_000])
        request = post(body) if random.random() < 0.5 else post_chunked(body)
        cut = random.choice([0, 10, len(request) // 2, len(request) - 1, len(request)])
        self._data = request[:cut]
        self._patience: float | None = random.choice([0, 0.001, 0.01, None])
        self._loop = loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._data)
        # Some hang up at the first bytes of an answer, but where there is none not even they wait.
        patience = 0.05 if self._patience is None else self._patience
        self._timer = self._loop.call_later(patience, self._hang_up)

    def data_received(self, data: bytes) -> None:
        if self._patience is None:
            self._hang_up()

    def connection_lost(self, error: Exception | None) -> None:
        self._timer.cancel()
        self.gone.set_result(None)

    def _hang_up(self) -> None:
        if random.random() < 0.5:
            raw: socket.socket = self._transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


async def come_and_go(front: Front, number: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(number):
        _, caller = await loop.create_connection(Fickle, HOST, front.port)
        await caller.gone


def held() -> tuple[int, int]:
    """Tasks and open descriptors."""
    return len(tasks()), len(list(Path("/proc/self/fd").iterdir()))


async def test_thousands_of_callers_hang_up(serve: Serve) -> None:
    random.seed(1)
    front = await serve(moody, connections=CONNECTIONS)
    caller = await front.call()
    await caller.ask(post(b"good"))
    front.publish(front.route(launch="before"))
    await until(lambda: front.upstream.open == 0, what="the end of the first connection")
    before, started = held(), time.process_time()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(come_and_go(front, CALLERS // AT_ONCE))
    spent = time.process_time() - started
    traffic = front.routes.traffic
    await until(lambda: traffic("before").in_flight == 0, what="the end of all calls")
    assert front.failures == 0
    assert front.upstream.open <= CONNECTIONS
    assert len(front.upstream.requests) > CALLERS / 10, "most hung up before they came to a model"

    for number in range(100):
        answer = await caller.ask(post(b"good %d" % number))
        assert (answer.status, answer.body) == (200, b"good %d" % number)
    assert front.upstream.open <= CONNECTIONS
    # With the launch go its idle connections, and then all is as it was.
    front.publish(front.route(launch="after"))
    await until(lambda: held() == before, what=f"tasks and descriptors: {before}")
    assert spent < 12, "seconds of processor time"
