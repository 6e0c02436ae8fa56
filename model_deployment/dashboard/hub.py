"""Looks at the controller once for all viewers, and tells each what has changed since its last time.

Nothing is queued: what a viewer has not heard yet is found by number, so a slow one holds no memory and is
told the newest only.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.names import ModelKey
from model_deployment.dashboard.activity import Pulse
from model_deployment.dashboard.connection_limits import Viewers
from model_deployment.dashboard.dependencies import Parts
from model_deployment.dashboard.overview import Facts, Row, facts, rows
from model_deployment.documents.base import StoreUnavailable

_log = logging.getLogger(__name__)

#: Seconds between looks with viewers, at least and at most; and those between looks at what is slow to ask.
_AT_LEAST, _AT_MOST, _SLOW = 0.25, 1.0, 15.0
#: Seconds that a first page waits for what is slow to ask.
_PATIENCE = 0.7
#: Seconds of silence after which a viewer hears that the line is alive.
_HEARTBEAT = 10.0
#: An event and no comment, which scripts would not hear.
_ALIVE = b"event: alive\ndata:1\n\n"
#: Seconds without a tick after which the reconciler counts as stuck.
_STUCK_AFTER = 10.0


@dataclass(frozen=True, slots=True)
class View:
    """The controller as it was seen last."""

    rows: dict[str, Row]
    facts: Facts


@dataclass(frozen=True, slots=True)
class Drawing:
    """Writes rows and facts as HTML."""

    row: Callable[[Row], str]
    facts: Callable[[View], str]


class Hub:
    """One look for everybody."""

    def __init__(self, parts: Parts, drawing: Drawing, build: str) -> None:
        """Of a controller.

        Args:
            build: names the files of the dashboard; pages of another build load themselves anew.
        """
        self._parts = parts
        self._drawing = drawing
        self.build = build
        self._pulse = Pulse()
        self._verdicts: dict[ModelKey, str] = {}
        self._registry: str | None = None
        self._store = ""
        self._slow: asyncio.Task[None] | None = None
        self._slow_at = self._looked_at = float("-inf")
        self._view: View | None = None
        self.viewers = Viewers()
        self._one_at_a_time = asyncio.Lock()
        #: Looks that were begun, and which of them came to an end last.
        self._begun = self._done = 0
        self._closed = False
        self._news = asyncio.Event()
        # Beyond those of an earlier controller, which pages may still name.
        self._first = self._serial = int(time.time() * 1000)
        #: By name, when a row was changed, and what it looks like; of all rows, when some came or went.
        self._drawn: dict[str, tuple[int, str]] = {}
        self._names_at = self._facts_at = 0
        self._facts = ""

    async def run(self) -> None:
        """Look until cancelled, or until the controller stops."""
        try:
            while not self._parts.controller.closing:
                try:
                    await self._step()
                except Exception:
                    _log.exception("cannot look at the controller for the dashboard")
                await self._parts.controller.change(_AT_MOST)
        finally:
            self._closed = True
            self._tell()
            if self._slow is not None:
                self._slow.cancel()

    async def _step(self) -> None:
        now = time.monotonic()
        if self._pulse.due(now):
            self._pulse.beat(now, self._parts.totals())
        if len(self.viewers) and now - self._looked_at >= _AT_LEAST:
            await self._look()

    async def view(self) -> View:
        """The controller now, for a page."""
        self._ask_slow()
        if self._registry is None and self._slow is not None:
            await asyncio.wait({self._slow}, timeout=_PATIENCE)
        return await self._look()

    @property
    def serial(self) -> int:
        """Of the last change. A page names the one from before it read what it shows."""
        return self._serial

    async def _look(self) -> View:
        """What is there now. Of several who ask at once, one looks, after the last of them has asked."""
        begun = self._begun
        async with self._one_at_a_time:
            if self._view is None or self._done <= begun:
                await self._look_now()
            assert self._view is not None  # noqa: S101 - it was looked
            return self._view

    async def _look_now(self) -> None:
        self._begun = number = self._begun + 1
        self._looked_at = time.monotonic()
        self._ask_slow()
        seen = await self._parts.look()
        self._draw(
            View(
                rows(seen, self._pulse, self._verdicts, datetime.now(UTC)),
                facts(seen, self._registry, self._store, _STUCK_AFTER),
            )
        )
        self._done = number

    def _draw(self, view: View) -> None:
        before, self._view = self._view, view
        old = before.rows if before else {}
        changed = [name for name, row in view.rows.items() if old.get(name) != row]
        names = list(old) != list(view.rows)
        if before and not changed and not names and before.facts == view.facts:
            return
        self._serial += 1
        for name in changed:
            self._drawn[name] = self._serial, self._drawing.row(view.rows[name])
        for name in old.keys() - view.rows.keys():
            del self._drawn[name]
        if names:
            self._names_at = self._serial
        told = self._drawing.facts(view)
        if told != self._facts:
            self._facts, self._facts_at = told, self._serial
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    # -- what is slow to ask ---------------------------------------------------------------------

    def _ask_slow(self) -> None:
        if time.monotonic() - self._slow_at >= _SLOW and (self._slow is None or self._slow.done()):
            self._slow_at = time.monotonic()
            self._slow = asyncio.create_task(self._ask(), name="dashboard")

    async def _ask(self) -> None:
        try:
            await asyncio.gather(self._ask_registry(), self._ask_store(), self._ask_verdicts())
        except Exception:
            _log.exception("cannot look at registry and reports for the dashboard")

    async def _ask_registry(self) -> None:
        try:
            await self._parts.reach_registry()
            self._registry = ""
        except ModelDeploymentError as error:
            self._registry = error.detail

    async def _ask_store(self) -> None:
        """Whether it can be read: captures tell of writing only, and only where there are any."""
        try:
            await self._parts.reach_documents()
            self._store = ""
        except StoreUnavailable as error:
            self._store = str(error)

    async def _ask_verdicts(self) -> None:
        with suppress(StoreUnavailable):
            found = {}
            for row in await self._parts.controller.all():
                for made in await self._parts.reporter.list(row.key, 1):
                    found[row.key] = str(made["verdict"])
            self._verdicts = found

    def look_again(self) -> None:
        """A report was made: the next look asks for verdicts."""
        self._slow_at = float("-inf")

    # -- viewers ---------------------------------------------------------------------------------

    async def events(self, since: int | None = None) -> AsyncIterator[bytes]:
        """What a viewer hears: server-sent events, until the controller stops.

        Args:
            since: the serial that its page was made with; None, and one of another controller, tells all.
        """
        heard = since if since is not None and self._first <= since <= self._serial else 0
        yield b"retry: 1000\n\n"
        if self._parts.controller.closing:
            return
        await self._look()
        while not self._closed:
            news = self._news
            if heard < self._serial:
                text, heard = self._since(heard), self._serial
                yield text
                continue
            try:
                async with asyncio.timeout(_HEARTBEAT):
                    await news.wait()
            except TimeoutError:
                yield _ALIVE

    def _since(self, heard: int) -> bytes:
        assert self._view is not None  # noqa: S101 - there is no serial before it
        told = {
            "build": self.build,
            "rows": {name: html for name, (at, html) in self._drawn.items() if at > heard},
            # A page that comes back may still show what is gone.
            "names": list(self._view.rows) if not heard or self._names_at > heard else None,
            "facts": self._facts if not heard or self._facts_at > heard else None,
        }
        return b"event: change\ndata: " + orjson.dumps(told) + b"\n\n"
