"""Keeps the snapshot of the overview fresh while pages are open, and streams changes to these pages.

Each stream remembers the snapshot that it sent last and sends what differs from the latest one. Nothing is
queued: a slow page skips snapshots and costs no memory.
"""

import asyncio
import logging
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager

import orjson
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from model_deployment.core.errors import TooBusy
from model_deployment.core.users import Role, User
from model_deployment.dashboard.activity import Activity
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.dashboard.overview import Overview
from model_deployment.dashboard.slow_checks import SlowChecks
from model_deployment.dashboard.snapshots import PageSnapshot, Snapshotter, Template, changes

_log = logging.getLogger(__name__)

#: Seconds between two snapshots while pages are open: at least, and at most.
_MIN_PERIOD, _MAX_PERIOD = 0.25, 1.0
#: Seconds that the first page waits for the slow checks.
_FIRST_CHECKS = 0.7
#: Seconds of silence after which a page is told that the connection is alive.
_HEARTBEAT = 10.0
#: An event, because scripts do not see comments.
_ALIVE = b"event: alive\ndata:1\n\n"
#: Pages with a live connection at once: of all users, and those of them that are kept for operators.
MAX_PAGES, OPERATOR_PAGES = 100, 20
#: Of zlib: 64 KB of memory for each page.
_LEVEL, _WINDOW, _MEMORY = 4, 16 + 13, 6
#: Live pages of one user. Without passwords there is no user, and only the limit of all pages holds.
USER_PAGES = 20


def refusal(pages: Mapping[str, int], user: User | None) -> str:
    """Why a user cannot have another live page; empty if there is room. Pure.

    Args:
        pages: the number of live pages by the name of their user.
    """
    operator = user is not None and user.may(Role.OPERATOR)
    limit = MAX_PAGES if operator else MAX_PAGES - OPERATOR_PAGES
    if sum(pages.values()) >= limit:
        return f"too many dashboard pages are open ({limit})"
    if user is not None and user.name and pages.get(user.name, 0) >= USER_PAGES:
        return f"this user has too many dashboard pages open ({USER_PAGES})"
    return ""


class Hub:
    def __init__(self, dependencies: Dependencies, template: Template, build: str) -> None:
        """
        Args:
            build: names the static files; pages with files of another build reload themselves.
        """
        self.build = build
        self.checks = SlowChecks(dependencies)
        self._dependencies = dependencies
        self._activity = Activity()
        self._snapshotter = Snapshotter(dependencies, self.checks, self._activity, template)
        #: Live pages by the name of their user.
        self._pages: Counter[str] = Counter()
        self._closed = False
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Take snapshots until cancelled, or until the controller stops."""
        controller = self._dependencies.controller
        try:
            while not controller.closing:
                try:
                    await self._step()
                except Exception:
                    _log.exception("cannot take a snapshot for the dashboard")
                await controller.change(_MAX_PERIOD)
        finally:
            self._closed = True
            self._notify()
            self.checks.cancel()

    async def _step(self) -> None:
        now = time.monotonic()
        if self._activity.due(now):
            self._activity.sample(now, self._dependencies.totals())
        if self._pages and now - self._snapshotter.taken_at >= _MIN_PERIOD:
            await self._snapshot()

    async def overview(self) -> Overview:
        """The overview now, for a page."""
        return (await self.page_snapshot()).overview

    async def page_snapshot(self) -> PageSnapshot:
        """The overview now, with its rows as HTML."""
        await self.checks.first(_FIRST_CHECKS)
        return await self._snapshot()

    async def _snapshot(self) -> PageSnapshot:
        before = self._snapshotter.latest
        snapshot = await self._snapshotter.take()
        if snapshot is not before:
            self._notify()
        return snapshot

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def admit(self, user: User | None) -> None:
        """
        Raises:
            TooBusy: too many pages are open.
        """
        if why := refusal(self._pages, user):
            raise TooBusy(f"cannot keep this page live: {why}; close some", retry_after=10)

    @contextmanager
    def page(self, user: User | None) -> Iterator[None]:
        """Count a page as open."""
        name = user.name if user is not None else ""
        self._pages[name] += 1
        try:
            yield
        finally:
            self._pages[name] -= 1
            self._pages += Counter()  # forgets users without pages

    async def events(self, user: User | None) -> AsyncIterator[bytes]:
        """Server-sent events for a page until the controller stops; the first one has everything."""
        yield b"retry: 1000\n\n"
        if self._dependencies.controller.closing:
            return
        sent: PageSnapshot | None = None
        known: PageSnapshot | None = None
        await self._snapshot()
        while not self._closed:
            changed, latest = self._changed, self._snapshotter.latest
            if latest is not None and latest is not known:
                known, seen = latest, latest.seen_by(user)
                change = {"build": self.build, **changes(sent, seen)}
                sent = seen
                yield b"event: change\ndata: " + orjson.dumps(change) + b"\n\n"
                continue
            try:
                async with asyncio.timeout(_HEARTBEAT):
                    await changed.wait()
            except TimeoutError:
                yield _ALIVE


async def gzip(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same events gzipped; each can be read when it has come."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY)
    async for event in events:
        yield packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()


class EventStream(StreamingResponse):
    """The events of a hub, to a page that counts as open as long as this is sent."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, user: User | None, *, gzipped: bool = False) -> None:
        """
        Args:
            gzipped: the browser accepts that. All of 400 deployments is 510 KB, and gzipped 20 KB.
        """
        # nginx buffers answers without the second header.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        if gzipped:
            headers["Content-Encoding"] = "gzip"
        super().__init__(gzip(hub.events(user)) if gzipped else hub.events(user), headers=headers)
        self._hub = hub
        self._user = user

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._hub.page(self._user):
            await super().__call__(scope, receive, send)
