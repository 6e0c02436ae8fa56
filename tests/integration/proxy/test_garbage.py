"""Requests leave nothing to the garbage collector: each of its runs holds up every other caller."""

import gc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType

import pytest

from model_deployment.proxy.held_bytes import HeldKind
from tests.support.proxy_front import Front, Serve
from tests.support.raw_http import Wire, post
from tests.support.socket_front import SocketFront
from tests.support.upstreams import echo
from tests.support.waiting import until

#: How often each caller comes.
TIMES = 20
#: Bytes of a body that comes in many pieces.
LARGE = 1024 * 1024
ALL = 250 * LARGE
#: Packages whose objects may not be left.
_OURS = {"model_deployment", "uvicorn", "aiohttp", "httptools", "uvloop"}


@contextmanager
def no_garbage() -> Iterator[None]:
    """What happens here leaves no cycles of objects, but for a few of those who come once."""
    gc.collect()
    gc.freeze()  # so that the next look is at what happens here alone
    gc.disable()
    try:
        yield
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = Counter(name for one in gc.garbage if (name := _name(one)))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert {name: n for name, n in left.items() if n > TIMES // 2} == {}


def _name(one: object) -> str:
    """Of its class, if it is none that the test's own end of a connection leaves."""
    if isinstance(one, FrameType | TracebackType):
        return type(one).__name__
    module, name = type(one).__module__, type(one).__qualname__
    return name if module.partition(".")[0] in _OURS else ""


async def times(front: Front | SocketFront, call: Callable[[Wire], Awaitable[None]]) -> None:
    for _ in range(TIMES):
        wire = await Wire.connect(front.port)
        await call(wire)
        await wire.close()


async def predict(wire: Wire) -> None:
    assert (await wire.ask(post(b"[1]"))).status == 200


async def large(wire: Wire) -> None:
    assert (await wire.ask(post(bytes(LARGE)))).status == 200


async def keep_on(wire: Wire) -> None:
    await predict(wire)
    await predict(wire)


async def hang_up(wire: Wire) -> None:
    await wire.send(post(content_length=str(LARGE)), bytes(LARGE // 2))


async def malformed(wire: Wire) -> None:
    assert (await wire.ask(b"what\r\n\r\n")).status == 400


async def silent(wire: Wire) -> None:
    """Connects, and says nothing."""


@pytest.mark.parametrize("call", [predict, large, keep_on, hang_up, malformed, silent])
async def test_callers_of_models(serve: Serve, call: Callable[[Wire], Awaitable[None]]) -> None:
    front = await serve(echo)
    await call(await front.call())
    with no_garbage():
        await times(front, call)
        await until(front.idle, what="the end of all requests")


async def test_bodies_that_find_no_room(serve: Serve) -> None:
    front = await serve(echo)
    held = front.context.held
    held.take(HeldKind.PREDICTION, ALL, 0)

    async def refused(wire: Wire) -> None:
        assert (await wire.ask(post(bytes(LARGE)))).status == 429

    await refused(await front.call())
    with no_garbage():
        await times(front, refused)
    held.give_back(HeldKind.PREDICTION, ALL)


@pytest.fixture
async def controller(tmp_path: Path) -> AsyncIterator[SocketFront]:
    async with SocketFront(tmp_path) as front:
        yield front


async def ask(wire: Wire) -> None:
    assert (await wire.ask(b"GET /ready HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")).status == 200


async def send(wire: Wire) -> None:
    assert (await wire.ask(post(bytes(5000), path="/feedback", host="127.0.0.1"))).status == 200


async def send_too_much(wire: Wire) -> None:
    assert (await wire.ask(post(bytes(LARGE), path="/feedback", host="127.0.0.1"))).status == 413


async def leave(wire: Wire) -> None:
    await wire.send(
        post(content_length=str(LARGE), path="/feedback", host="127.0.0.1"), bytes(5000)
    )


@pytest.mark.parametrize("call", [ask, send, send_too_much, leave])
async def test_calls_of_the_controller(
    controller: SocketFront, call: Callable[[Wire], Awaitable[None]]
) -> None:
    await call(await controller.call())
    with no_garbage():
        await times(controller, call)


@pytest.mark.parametrize("late", [False, True])
async def test_calls_that_find_no_room(controller: SocketFront, late: bool) -> None:
    held = controller.context.held
    held.take(HeldKind.CALL, ALL - late * 100_000, 0)

    async def refused(wire: Wire) -> None:
        assert (
            await wire.ask(post(bytes(LARGE), path="/feedback", host="127.0.0.1"))
        ).status == 429

    await refused(await controller.call())
    with no_garbage():
        await times(controller, refused)
    held.give_back(HeldKind.CALL, ALL - late * 100_000)
