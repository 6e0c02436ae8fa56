"""Snapshots are shared by all pages, each page receives what it does not show, and pages are limited."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.errors import TooBusy
from model_deployment.core.users import Role, User
from model_deployment.dashboard import hub as hub_module
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.dashboard.facts import Facts
from model_deployment.dashboard.hub import (
    MAX_PAGES,
    OPERATOR_PAGES,
    USER_PAGES,
    EventStream,
    Hub,
    gzip,
    refusal,
)
from model_deployment.dashboard.overview import Overview, Row
from model_deployment.dashboard.snapshots import PageSnapshot, changes, difference, render
from model_deployment.documents.base import StoreUnavailable
from model_deployment.recording.upkeep import CaptureStatus
from model_deployment.telemetry.prometheus import Snapshot


class StubController:
    """What a hub observes. While ``held``, each snapshot waits for its gate, and shows its beginning."""

    def __init__(self) -> None:
        self.dropped = 0
        self.gates: list[asyncio.Event] = []
        self.held = False
        self.store = ""
        self.closing = False

    async def collect(self) -> Snapshot:
        seen = CaptureStatus(0, self.dropped, 0, 0, "")
        if self.held:
            self.gates.append(gate := asyncio.Event())
            await gate.wait()
        return Snapshot([], None, seen, 0.0, True, {})

    async def ping_documents(self) -> None:
        if self.store:
            raise StoreUnavailable(self.store)

    async def ping_registry(self) -> None:
        return None

    async def newest(self, window: timedelta) -> dict[Any, Any]:
        return {}

    async def all(self) -> list[Any]:
        return []

    def hub(self) -> Hub:
        dependencies = SimpleNamespace(
            collect=self.collect,
            ping_documents=self.ping_documents,
            ping_registry=self.ping_registry,
            controller=self,
            events=None,
            flow_runs=SimpleNamespace(known=list),
            monitoring=SimpleNamespace(errors=SimpleNamespace(newest=self.newest)),
        )
        return Hub(cast(Dependencies, dependencies), template, "build")


def template(name: str, **values: Any) -> str:
    """The reason of a row, or the number of lost captures."""
    if name == "part_row":
        return str(values["row"].reason)
    return str(values["overview"].facts.store_lost)


async def settle() -> None:
    """Let everything that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_snapshot_is_shared_by_all_that_wait_and_none_is_older_than_its_call() -> None:
    controller = StubController()
    hub = controller.hub()
    await hub.overview()
    controller.held = True
    first = asyncio.create_task(hub.overview())
    await settle()
    controller.dropped = 1
    others = [asyncio.create_task(hub.overview()) for _ in range(3)]
    await settle()
    assert len(controller.gates) == 1  # one at a time
    controller.gates[0].set()
    assert (await first).facts.store_lost == 0
    await settle()
    # One snapshot for all of them shows what happened before they asked.
    assert len(controller.gates) == 2
    controller.gates[1].set()
    assert [found.facts.store_lost for found in await asyncio.gather(*others)] == [1, 1, 1]
    assert len(controller.gates) == 2


async def test_snapshot_that_fails_does_not_count() -> None:
    controller = StubController()
    hub = controller.hub()
    await hub.overview()
    controller.held = True
    first = asyncio.create_task(hub.overview())
    await settle()
    controller.dropped = 1
    second, third = (asyncio.create_task(hub.overview()) for _ in range(2))
    await settle()
    controller.gates[0].set()
    await settle()
    second.cancel()
    await settle()
    controller.gates[-1].set()
    assert (await first).facts.store_lost == 0
    assert (await third).facts.store_lost == 1


async def next_change(events: AsyncIterator[bytes]) -> Any:
    async for event in events:
        if event.startswith(b"event: change"):
            return orjson.loads(event.partition(b"data: ")[2])
    raise AssertionError("the stream has ended")


async def test_events_begin_with_everything_and_go_on_with_what_differs() -> None:
    controller = StubController()
    hub = controller.hub()
    events = hub.events(ANN)
    nothing = {"build": "build", **changes(first := snapshot(), first)}
    everything = {
        **nothing,
        **{names: [] for names in ("names", "endpointNames", "attentionNames")},
        "facts": "0",
        "order": {"attention": [], "groups": []},
        "counts": first.overview.counts,
    }
    assert await next_change(events) == everything
    following = asyncio.create_task(next_change(events))
    await settle()
    assert not following.done()
    controller.dropped = 2
    await hub.overview()
    assert await following == {**nothing, "facts": "2"}
    # A slow page skips what came between.
    for controller.dropped in (3, 4):
        await hub.overview()
    assert (await next_change(events))["facts"] == "4"


async def test_heartbeat_is_an_event_that_scripts_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "_HEARTBEAT", 0.01)
    events = StubController().hub().events(ANN)
    await next_change(events)
    heartbeat = await anext(events)
    # Browsers give listeners events with a name and data, but no comments.
    assert heartbeat.startswith(b"event: alive\ndata")
    assert heartbeat.endswith(b"\n\n")


async def test_gzipped_events_can_be_read_as_they_come() -> None:
    async def events() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"event %d\n\n" % number

    unpacked = zlib.decompressobj(zlib.MAX_WBITS | 16)
    read = [unpacked.decompress(part) async for part in gzip(events())]
    assert read == [b"event 0\n\n", b"event 1\n\n", b"event 2\n\n", b""]
    assert unpacked.eof


async def test_store_that_cannot_be_read_is_shown() -> None:
    controller = StubController()
    controller.store = "it is away"
    assert (await controller.hub().overview()).facts.store_unreadable == "it is away"
    controller.store = ""
    assert (await controller.hub().overview()).facts.store_unreadable == ""


ANN, OTTO = User("ann", Role.OPERATOR), User("otto", Role.OPERATOR)
CARL = User("carl", Role.CALLER)
#: The user of all requests where there are no passwords.
ANYBODY = User("", Role.OPERATOR)


def test_callers_cannot_take_the_pages_of_operators() -> None:
    for_callers = MAX_PAGES - OPERATOR_PAGES
    assert refusal({"others": for_callers - 1}, CARL) == ""
    assert refusal({"others": for_callers}, CARL) == "too many dashboard pages are open (80)"
    assert refusal({"others": for_callers}, None) == "too many dashboard pages are open (80)"
    assert refusal({"others": MAX_PAGES - 1}, ANN) == ""
    assert refusal({"others": MAX_PAGES}, ANN) == "too many dashboard pages are open (100)"


def test_user_cannot_take_the_pages_of_others() -> None:
    assert refusal({"ann": USER_PAGES - 1}, ANN) == ""
    assert refusal({"ann": USER_PAGES}, ANN) == "this user has too many dashboard pages open (20)"
    assert refusal({"ann": USER_PAGES}, OTTO) == ""


def test_pages_without_passwords_have_the_limit_of_all() -> None:
    assert refusal({"": MAX_PAGES - 1}, ANYBODY) == ""
    assert refusal({"": MAX_PAGES}, ANYBODY) == "too many dashboard pages are open (100)"


async def test_page_counts_while_its_stream_is_sent() -> None:
    hub = StubController().hub()
    with ExitStack() as stack:
        for _ in range(USER_PAGES - 1):
            stack.enter_context(hub.page(ANN))
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            await asyncio.sleep(3600)

        hub.admit(ANN)
        stream = EventStream(hub, ANN)({"type": "http", "asgi": {}}, receive, send)
        task = asyncio.create_task(stream)
        await settle()
        assert sent
        with pytest.raises(TooBusy, match="this user has too many dashboard pages open"):
            hub.admit(ANN)
        hub.admit(OTTO)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        hub.admit(ANN)


FACTS = Facts(1, 1, "", 0, True, False, "", "", "", 0, "")


def overview(**reasons: str) -> Overview:
    """Rows by name, each with a reason."""
    named = {
        name: cast(Row, SimpleNamespace(reason=reason, filter="ready"))
        for name, reason in reasons.items()
    }
    return Overview(named, FACTS)


def snapshot() -> PageSnapshot:
    return PageSnapshot(overview(), {}, "facts")


def test_rows_that_are_equal_are_not_rendered_again() -> None:
    rendered: list[str] = []

    def note(name: str, **values: Any) -> str:
        if name == "part_row":
            rendered.append(values["row"].reason)
        return template(name, **values)

    first = render(overview(a="1", b="2"), None, note)
    assert rendered == ["1", "2"]
    second = render(overview(b="2", c="3"), first, note)
    assert rendered == ["1", "2", "3"]
    assert second.rows == {"b": "2", "c": "3"}


@pytest.mark.parametrize(
    ("rows", "names"),
    [("rows", "names"), ("endpoints", "endpointNames"), ("attention", "attentionNames")],
)
def test_changes_hold_only_what_the_page_does_not_show(rows: str, names: str) -> None:
    def seen(**html: str) -> PageSnapshot:
        given: dict[str, Any] = {rows: html}
        return replace(snapshot(), **given)

    now = seen(a="1", b="2")
    nothing = changes(now, now)
    assert {str(value) for value in nothing.values()} == {"None", "{}"}
    everything = changes(None, now)
    assert (everything["facts"], everything[names]) == ("facts", ["a", "b"])
    assert everything[rows] == {"a": "1", "b": "2"}
    assert changes(seen(a="1", b="2"), now) == nothing
    assert changes(seen(a="0", b="2"), now) == {**nothing, rows: {"a": {"0": "1"}}}
    gone = changes(seen(a="1", b="2", c="3"), now)
    assert gone == {**nothing, names: ["a", "b"]}
    assert changes(seen(b="2", a="1"), now) == {**nothing, names: ["a", "b"]}


LINES = st.lists(st.text(alphabet="<a", max_size=2), min_size=1, max_size=4).map("\n".join)


@given(LINES, LINES)
def test_difference_and_what_is_shown_make_what_is_now(shown: str, now: str) -> None:
    sent = difference(shown, now)
    if isinstance(sent, dict):
        lines = shown.split("\n")
        for place, line in sent.items():
            assert lines[int(place)] != line
            lines[int(place)] = line
        sent = "\n".join(lines)
    assert sent == now
    assert difference(None, now) == now


def test_callers_do_not_see_what_a_model_said() -> None:
    private, public = {"m-1": "ValueError: Ada"}, {"m-1": "ValueError"}
    taken = replace(snapshot(), attention=private, public_attention=public)
    assert taken.seen_by(OTTO).attention == private
    assert (taken.seen_by(CARL).attention, taken.seen_by(None).attention) == (public, public)
