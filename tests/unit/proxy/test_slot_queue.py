"""Requests wait for a slot, in one proxy or in several, and may leave at any moment."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_deployment.proxy.limits_file import create_limits_file
from model_deployment.proxy.shared_limits import SharedLimits, SharedSlots, unshared_usage
from model_deployment.proxy.slot_queue import SlotQueue
from tests.support.waiting import until

PROXIES = 3


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_proxy_serves_in_the_order_of_arrival() -> None:
    slots = unshared_usage().slots
    queue, served = SlotQueue(slots, 2), list[int]()

    async def call(number: int) -> None:
        async with queue:
            served.append(number)
            assert slots.sending.own <= 2
            await asyncio.sleep(0)

    await asyncio.gather(*(call(number) for number in range(10)))
    assert served == [*range(10)]
    assert slots.sending.own == 0


async def test_a_new_request_does_not_overtake() -> None:
    queue = SlotQueue(unshared_usage().slots, 1)
    assert queue.take()
    waiting = asyncio.create_task(queue.acquire())
    await settle()
    queue.release()
    assert not queue.take()
    await waiting


@pytest.mark.parametrize("granted", [False, True])
async def test_a_request_that_leaves_takes_no_slot(granted: bool) -> None:
    slots = unshared_usage().slots
    queue = SlotQueue(slots, 1)
    assert queue.take()
    leaving = asyncio.create_task(queue.acquire())
    staying = asyncio.create_task(queue.acquire())
    await settle()
    if granted:
        queue.release()
    leaving.cancel()
    if not granted:
        queue.release()
    await staying
    assert leaving.cancelled()
    assert slots.sending.own == 1


async def test_a_call_that_fails_frees_its_slot() -> None:
    slots = unshared_usage().slots
    with pytest.raises(ValueError, match="broke"):
        async with SlotQueue(slots, 1):
            raise ValueError("it broke")
    assert slots.sending.own == 0


@dataclass(eq=False)
class Request:
    task: "asyncio.Task[None]"
    left: bool = False
    inside: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Simulation:
    """Requests at several proxies, which arrive, end and leave as a story says."""

    queues: list[SlotQueue]
    slots: list[SharedSlots]
    limit: int
    #: In the order of arrival.
    requests: list[Request] = field(default_factory=list)

    def arrive(self, place: int) -> None:
        request = Request(asyncio.create_task(asyncio.sleep(0)))
        request.task = asyncio.create_task(self._call(self.queues[place % PROXIES], request))
        self.requests.append(request)

    def complete(self, place: int) -> None:
        inside = self.inside()
        if inside:
            inside[place % len(inside)].over.set()

    def leave(self, place: int) -> None:
        if self.requests:
            request = self.requests[place % len(self.requests)]
            request.left = request.task.cancel() or request.left

    def inside(self) -> list[Request]:
        return [request for request in self.requests if request.inside]

    async def is_stable(self) -> bool:
        """Whether as many have a slot as may, and these are the first that came."""
        await settle()
        open_ = [request for request in self.requests if not request.task.done()]
        assert sum(slots.sending.own for slots in self.slots) <= self.limit
        assert len(self.inside()) <= self.limit
        return open_[: self.limit] == self.inside()

    async def _call(self, queue: SlotQueue, request: Request) -> None:
        async with queue:
            request.inside = True
            try:
                await request.over.wait()
            finally:
                request.inside = False


@asynccontextmanager
async def simulation(limit: int) -> AsyncIterator[Simulation]:
    with TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder) / "limits"
        create_limits_file(path, rows=1, columns=PROXIES)
        shared = [
            stack.enter_context(closing(SharedLimits.open(path, column)))
            for column in range(PROXIES)
        ]
        slots = [limits.row(0).slots for limits in shared]
        yield Simulation([SlotQueue(of_one, limit) for of_one in slots], slots, limit)


async def run_story(limit: int, story: list[tuple[str, int]]) -> None:
    async with simulation(limit) as proxies:
        events: dict[str, Callable[[int], None]] = {
            "arrive": proxies.arrive,
            "complete": proxies.complete,
            "leave": proxies.leave,
        }
        stable: Callable[[], Awaitable[bool]] = proxies.is_stable
        for kind, place in story:
            events[kind](place)
            await until(stable, interval=0.001, what="the first that came to have the slots")
        while proxies.inside():
            proxies.complete(0)
            await until(stable, interval=0.001, what="the next one to have the slot")
        assert all(request.task.done() for request in proxies.requests), "somebody waits for ever"
        assert all(request.left == request.task.cancelled() for request in proxies.requests)
        assert [of_one.sending.own for of_one in proxies.slots] == [0] * PROXIES
        assert not any(of_one.contended for of_one in proxies.slots)


@settings(max_examples=60, deadline=None)
@given(
    limit=st.integers(1, 3),
    story=st.lists(
        st.tuples(st.sampled_from(["arrive", "arrive", "complete", "leave"]), st.integers(0, 30)),
        max_size=25,
    ),
)
def test_proxies_serve_in_the_order_of_arrival(limit: int, story: list[tuple[str, int]]) -> None:
    asyncio.run(run_story(limit, story))
