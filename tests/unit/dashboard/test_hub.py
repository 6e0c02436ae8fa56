"""The one look for all viewers: in which order, since when, and how many may watch."""

import asyncio
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from model_deployment.core.domain import Role, User
from model_deployment.core.errors import TooBusy
from model_deployment.dashboard.connection_limits import FOR_OPERATORS, MOST, MOST_OF_ONE, Viewers
from model_deployment.dashboard.dependencies import Parts
from model_deployment.dashboard.hub import Drawing, Hub
from model_deployment.documents.base import StoreUnavailable
from model_deployment.recording.upkeep import CaptureStatus
from model_deployment.telemetry.prometheus import Snapshot

OPERATOR = User("olga", Role.OPERATOR)


class World:
    """What a hub looks at. Each look is let go by hand, and sees what there is as it begins."""

    def __init__(self) -> None:
        self.dropped = 0
        self.gates: list[asyncio.Event] = []
        self.patient = False
        self.store = ""
        self.closing = False

    async def look(self) -> Snapshot:
        seen = CaptureStatus(0, self.dropped, 0, 0, "")
        if self.patient:
            self.gates.append(gate := asyncio.Event())
            await gate.wait()
        return Snapshot([], None, seen, 0.0, True, {})

    async def reach_documents(self) -> None:
        if self.store:
            raise StoreUnavailable(self.store)

    async def reach_registry(self) -> None:
        return None

    async def all(self) -> list[Any]:
        return []

    def hub(self) -> Hub:
        parts = SimpleNamespace(
            look=self.look,
            reach_documents=self.reach_documents,
            reach_registry=self.reach_registry,
            controller=self,
        )
        drawing = Drawing(row=lambda row: row.name, facts=lambda view: str(view.facts.store_lost))
        return Hub(cast(Parts, parts), drawing, "build")


async def settle() -> None:
    """Let everything that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_looks_for_all_that_ask_and_no_look_is_overtaken() -> None:
    world = World()
    hub = world.hub()
    await hub.view()
    world.patient = True
    first = asyncio.create_task(hub.view())
    await settle()
    world.dropped = 1
    others = [asyncio.create_task(hub.view()) for _ in range(3)]
    await settle()
    assert len(world.gates) == 1  # one at a time
    world.gates[0].set()
    assert (await first).facts.store_lost == 0
    await settle()
    # What happened before they asked is seen, by one look for all of them.
    assert len(world.gates) == 2
    world.gates[1].set()
    assert [view.facts.store_lost for view in await asyncio.gather(*others)] == [1, 1, 1]
    assert len(world.gates) == 2


async def test_a_look_that_fails_is_not_taken_for_one() -> None:
    world = World()
    hub = world.hub()
    await hub.view()
    world.patient = True
    first = asyncio.create_task(hub.view())
    await settle()
    world.dropped = 1
    second, third = (asyncio.create_task(hub.view()) for _ in range(2))
    await settle()
    world.gates[0].set()
    await settle()
    second.cancel()
    await settle()
    world.gates[-1].set()
    assert (await first).facts.store_lost == 0
    assert (await third).facts.store_lost == 1


async def hear(hub: Hub, since: int | None) -> Any:
    """The first change that a viewer hears."""
    async for part in hub.events(since):
        if b"data: {" in part:
            return orjson.loads(part.partition(b"data: ")[2])
    raise AssertionError("the stream has ended")


async def test_a_page_hears_what_is_newer_than_itself() -> None:
    world = World()
    hub = world.hub()
    await hub.view()
    serial = hub.serial
    everything = {"build": "build", "rows": {}, "names": [], "facts": "0"}
    assert await hear(hub, None) == everything
    # Of another controller, before or after this one.
    assert await hear(hub, 7) == everything
    assert await hear(hub, serial + 1000) == everything
    heard = asyncio.create_task(hear(hub, serial))
    await settle()
    assert not heard.done()
    world.dropped = 2
    await hub.view()
    assert await heard == {"build": "build", "rows": {}, "names": None, "facts": "2"}
    assert await hear(hub, hub.serial - 1) == await hear(hub, serial)


async def test_serials_of_two_controllers_are_apart() -> None:
    world = World()
    old = world.hub()
    for world.dropped in range(5):
        await old.view()
    await asyncio.sleep(0.01)  # a controller takes longer than that to start
    assert world.hub().serial > old.serial


async def test_a_store_that_cannot_be_read_is_told() -> None:
    world = World()
    world.store = "it is away"
    assert (await world.hub().view()).facts.store_away == "it is away"
    world.store = ""
    assert (await world.hub().view()).facts.store_away == ""


def test_one_user_does_not_take_all_places() -> None:
    viewers = Viewers()
    with ExitStack() as stack:
        for _ in range(MOST_OF_ONE):
            stack.enter_context(viewers.one_more(OPERATOR))
        with pytest.raises(TooBusy, match="of this user"), viewers.one_more(OPERATOR):
            pass
        with viewers.one_more(User("otto", Role.OPERATOR)):
            assert len(viewers) == MOST_OF_ONE + 1
    assert len(viewers) == 0


def test_the_last_places_are_for_operators() -> None:
    viewers = Viewers()
    with ExitStack() as stack:
        for number in range(MOST - FOR_OPERATORS):
            stack.enter_context(viewers.one_more(User(f"caller {number}", Role.CALLER)))
        with pytest.raises(TooBusy), viewers.one_more(User("carl", Role.CALLER)):
            pass
        for _ in range(FOR_OPERATORS):
            stack.enter_context(viewers.one_more(OPERATOR))
        with pytest.raises(TooBusy), viewers.one_more(User("otto", Role.OPERATOR)):
            pass


def test_without_passwords_nobody_is_told_apart() -> None:
    viewers, nobody = Viewers(), User("", Role.OPERATOR)
    with ExitStack() as stack:
        for _ in range(MOST):
            stack.enter_context(viewers.one_more(nobody))
        with pytest.raises(TooBusy), viewers.one_more(nobody):
            pass
