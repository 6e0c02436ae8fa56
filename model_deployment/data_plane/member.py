"""One proxy as the controller knows it: its process, its link, and the route table that it has."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from model_deployment.data_plane.decide import Phase, ProxyState
from model_deployment.data_plane.link import LinkClosed, ProxyLink
from model_deployment.proxy import protocol
from model_deployment.proxy.protocol import Message

_log = logging.getLogger(__name__)

#: Seconds between two attempts to connect to a proxy that does not listen yet.
_RETRY = 0.02
#: Seconds to read what a proxy that has ended wrote before.
_LAST_WORDS = 1.0


class ProxyProcess(Protocol):
    """What runs a proxy: a process, or a task of this one."""

    @property
    def id(self) -> str: ...

    @property
    def pid(self) -> int: ...

    async def ended(self) -> int | None:
        """Wait for its end; the exit status if it is known."""
        ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...

    def forget(self) -> None: ...


class Member:
    """A living proxy."""

    def __init__(
        self,
        process: ProxyProcess,
        folder: Path,
        *,
        current: bool,
        phase: Phase,
        on_event: Callable[["Member", Message], None],
    ) -> None:
        """
        Args:
            folder: the one with the control sockets.
            current: whether it is of this release, and has the settings in force.
            on_event: called with what the proxy reports by itself.
        """
        self.process = process
        self.current = current
        self.phase = phase
        self.since = time.monotonic()
        self.link: ProxyLink | None = None
        #: Whether it understands tables. One of another release routes by its last one until it retires.
        self.reads_tables = False
        #: Numbers of the tables that were sent and acknowledged last.
        self.sent = self.acknowledged = -1
        self._sent_at = 0.0
        #: Whether all routes of the table that was acknowledged last serve.
        self.complete = False
        #: Since the last look.
        self.heard = False
        self.silent_looks = 0
        self.patience = 0.0
        self._folder = folder
        self._on_event = on_event

    @property
    def id(self) -> str:
        return self.process.id

    @property
    def state(self) -> ProxyState:
        waits = self.sent > self.acknowledged
        return ProxyState(
            self.id,
            self.phase,
            self.current,
            self.since,
            silent_looks=self.silent_looks,
            lagging=time.monotonic() - self._sent_at if waits else 0.0,
            patience=self.patience,
        )

    def look(self) -> None:
        """Count a look at which nothing was heard. A proxy that starts has nothing to say yet."""
        silent = not self.heard and self.phase is not Phase.STARTING
        self.silent_looks = self.silent_looks + 1 if silent else 0
        self.heard = False

    def lags(self, number: int) -> bool:
        """Whether it may route by an older table than this."""
        takes_part = self.sent >= 0 or self.phase is Phase.SERVING
        return takes_part and self.acknowledged < number

    def enter(self, phase: Phase) -> None:
        if self.phase is not phase:
            self.phase, self.since = phase, time.monotonic()

    def push(
        self,
        number: int,
        routes: Sequence[Message],
        endpoints: Sequence[Message] = (),
        timeseries: Sequence[str] | None = None,
    ) -> None:
        """Send a table, unless the one before is still to be acknowledged: then this is called again."""
        if self.link is None or not self.reads_tables:
            return
        if self.sent > self.acknowledged or self.acknowledged == number:
            return
        self.sent, self._sent_at = number, time.monotonic()
        table = {"routes": routes, "endpoints": endpoints, "timeseries": timeseries}
        self.link.send("table", number=number, **table)

    def retire(self, *, last: bool, patience: float) -> None:
        """Have it take no connections any more, and end."""
        self.enter(Phase.RETIRING)
        self.patience = patience
        if self.link is not None:
            self.link.send("retire", last=last, patience=patience)
        else:
            self.process.terminate()

    async def attend(self, linked: Callable[["Member"], None]) -> int | None:
        """Keep a link while the process lives; its exit status, if that is known.

        Args:
            linked: called with each new link.
        """
        end = asyncio.ensure_future(self.process.ended())
        try:
            while not end.done():
                with contextlib.suppress(LinkClosed):
                    await self._hold_link(end, linked)
                await asyncio.wait({end}, timeout=_RETRY)
            return end.result()
        finally:
            end.cancel()
            await asyncio.gather(end, return_exceptions=True)

    async def _hold_link(
        self, end: "asyncio.Future[int | None]", linked: Callable[["Member"], None]
    ) -> None:
        closed = asyncio.Event()
        link = await ProxyLink.connect(
            self._folder, protocol.socket_name(self.id), self._hear, closed.set
        )
        closing = asyncio.ensure_future(closed.wait())
        hello = asyncio.ensure_future(link.ask("hello"))
        try:
            await _first_of(hello, end)
            if not hello.done():
                return
            self.link, self.sent, self.acknowledged = link, -1, -1
            self.heard = True
            self.reads_tables = hello.result().get("protocol") == protocol.VERSION
            if self.reads_tables:
                linked(self)
            else:
                _log.warning(
                    "proxy %s speaks another protocol; it is about to be replaced", self.id
                )
            await _first_of(closing, end)
            # Its last report is there, though the process is gone.
            await asyncio.wait({closing}, timeout=_LAST_WORDS if end.done() else 0)
        finally:
            self.link = None
            for task in (hello, closing):
                task.cancel()
            await asyncio.gather(hello, closing, link.close(), return_exceptions=True)

    def _hear(self, message: Message) -> None:
        self.heard = True
        if message["event"] == "acknowledged":
            self.acknowledged = message["number"]
            self.complete = message["complete"]
            if self.phase is Phase.STARTING:
                self.enter(Phase.SERVING)
        self._on_event(self, message)


async def _first_of(*awaited: "asyncio.Future[Any]") -> None:
    await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
