"""One launch as the proxy knows it: a pool of connections, the calls under way, and what was seen of it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from model_deployment.core.domain import Endpoint, LaunchTraffic
from model_deployment.core.errors import TooBusy
from model_deployment.core.names import ModelKey

#: uvicorn closes a connection that was idle for 5 s. Closing it first is the only way never to send a
#: request into a connection that is being closed: a POST must not be sent again.
_IDLE = 4.0


@dataclass(frozen=True, slots=True)
class UpstreamLimits:
    """What one launch may be asked at once."""

    #: Calls of the model at a time.
    connections: int = 128
    #: Requests that may wait for one of these.
    queue: int = 1024
    #: Bytes of all their bodies.
    queue_bytes: int = 256 * 1024 * 1024
    #: Seconds without a sign of life, after which a call is given up.
    read_timeout: float = 70.0
    #: Bytes of an answer that has to be read whole.
    answer_bytes: int = 100 * 1024 * 1024
    #: Seconds that requests wait for a parked model to start.
    wake_timeout: float = 120.0
    #: Seconds that requests wait for a model that has ended, and is started again.
    recovery_timeout: float = 30.0


class LaunchRemoved(Exception):
    """The launch is in no route any more."""


class Budget:
    """What may wait for one model at a time: a number of requests, and the bytes of their bodies."""

    def __init__(self, key: ModelKey, limits: UpstreamLimits) -> None:
        self.key = key
        self.limits = limits
        self.now = asyncio.get_running_loop().time
        #: Bytes of bodies.
        self.held = 0
        #: Requests whose bodies are coming in, or are looked at.
        self.reading = 0
        #: When the last one ended.
        self.used = self.now()

    def let_in(self, callers: int, size: int = 0) -> None:
        """Make sure that there is room for one more request beside others, with a body of some bytes.

        Raises:
            TooBusy: there is none.
        """
        if callers >= self.limits.connections + self.limits.queue:
            raise self._too_busy(f"{callers} requests are waiting for it")
        self.make_room(size)

    def make_room(self, size: int, own: int = 0) -> None:
        """Make sure that some more bytes may be held.

        Args:
            own: bytes that are held for the same request already.

        Raises:
            TooBusy: they may not. One request alone always may, whatever the limits.
        """
        most = self.limits.queue_bytes
        if self.held > own and self.held + size > most:
            raise self._too_busy(f"the bodies that wait for it fill {most} bytes")

    def _too_busy(self, why: str) -> TooBusy:
        return TooBusy(f"cannot predict with {self.key} now: {why}", retry_after=1)


class Upstream(Budget):
    """The pool, the calls and the counters."""

    def __init__(
        self,
        key: ModelKey,
        endpoint: Endpoint,
        limits: UpstreamLimits,
        broke: Callable[[], None] = lambda: None,
    ) -> None:
        """Connect to nothing yet.

        Args:
            broke: told when the model did not answer as a living server does.
        """
        super().__init__(key, limits)
        self.url = URL(f"{endpoint.url}/invocations")
        self.broke = broke
        #: Calls beyond the pool wait here, where their age does not count against the model.
        self.slots = asyncio.Semaphore(limits.connections)
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=5, sock_read=limits.read_timeout
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            raise_for_status=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        #: Calls that have a caller and no complete answer yet, the waiting ones included.
        self.calls: set[UpstreamCall] = set()
        #: Of these, the callers' own: not those the proxy makes for them.
        self.callers = 0
        #: Since when it is the model's turn.
        self.clocks: dict[UpstreamCall, float] = {}
        #: The launch that answers.
        self.launch_id: str | None = None
        self._ready: str | None = None
        self._answered = 0
        self._timeouts_in_row = 0

    def turn(self, launch_id: str | None, *, ready: bool) -> None:
        """Another launch answers, or will, and nothing that the last one did counts against it."""
        self.launch_id = launch_id or self.launch_id
        if ready and launch_id != self._ready:
            self._ready = launch_id
            self._timeouts_in_row = 0
            self.clocks = dict.fromkeys(self.clocks, self.now())

    def admit(self, size: int) -> None:
        """Make sure that there is room for one more request, with a body of some bytes.

        Raises:
            TooBusy: there is none.
        """
        self.let_in(self.callers, size)

    def count(self, status: int) -> None:
        """Note the status of a whole answer; 504 stands for none in time as well."""
        if status == 504:
            self._timeouts_in_row += 1
        else:
            self._answered += 1
            self._timeouts_in_row = 0

    @property
    def waiting(self) -> int:
        """Callers' own calls of which nothing has gone to the model yet."""
        return sum(call.callers for call in self.calls if not call.sent)

    def traffic(self) -> LaunchTraffic:
        """The counters."""
        # Time only rises, and a dict keeps its order: the first one is the oldest.
        oldest = next(iter(self.clocks.values()), None)
        return LaunchTraffic(
            in_flight=self.callers,
            oldest=0.0 if oldest is None else self.now() - oldest,
            answered=self._answered,
            timeouts_in_row=self._timeouts_in_row,
            reading=self.reading,
            idle=0.0 if self.callers or self.reading else self.now() - self.used,
        )

    async def close(self) -> None:
        """Abort the calls under way and close the connections."""
        # First the calls: a reader in the middle of an answer is not told by aiohttp, and would wait
        # for ever.
        for call in self.calls:
            call.abort(LaunchRemoved())
        await self.session.close()


class BodyReservation:
    """The bytes of a body that is not a call yet: still coming in, or being looked at."""

    def __init__(self, room: Budget) -> None:
        self._room = room
        self._size = 0

    def __enter__(self) -> Self:
        self._room.reading += 1
        return self

    def __exit__(self, *error: object) -> None:
        self._room.held -= self._size
        self._room.reading -= 1
        self._room.used = self._room.now()

    def add(self, size: int) -> None:
        """Hold some more.

        Raises:
            TooBusy: others hold too many.
        """
        self._room.make_room(size, self._size)
        self._room.held += size
        self._size += size

    def hold(self, size: int) -> None:
        """Hold so many in all.

        Raises:
            TooBusy: others hold too many.
        """
        self.add(size - self._size)


class UpstreamCall:
    """One request of a caller, or one call for several, from the wait for a slot to the last byte.

    A context manager for the task that makes it. Whoever learns that there is no point in going on
    calls :meth:`abort`, and the task leaves the block with that error, whatever it was waiting for.
    """

    def __init__(self, upstream: Upstream, size: int = 0, *, callers: int = 1) -> None:
        """Of one launch.

        Args:
            size: bytes of the body that is held for it.
            callers: 0 if it is made for callers who are counted already.
        """
        self._upstream = upstream
        self._size = size
        #: Requests of callers that it stands for: one, or none.
        self.callers = callers
        self._task: asyncio.Task[object] | None = None
        self._why: Exception | None = None
        #: Something may have reached the model.
        self.sent = False

    def __enter__(self) -> Self:
        if self._upstream.session.closed:
            raise LaunchRemoved
        self._task = asyncio.current_task()
        self._upstream.calls.add(self)
        self._upstream.callers += self.callers
        self._upstream.held += self._size
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._upstream.calls.remove(self)
        self._upstream.callers -= self.callers
        self._upstream.held -= self._size
        self._upstream.used = self._upstream.now()
        self.stop_clock()
        if self._why is None or self._task is None:
            return
        # More than ours: somebody cancelled the task for a reason of his own, which goes first.
        if self._task.uncancel() == 0:
            raise self._why from None

    def abort(self, why: Exception) -> None:
        """End the call, unless it is over or being ended already."""
        if self._why is None and self._task is not None and self in self._upstream.calls:
            self._why = why
            self._task.cancel()

    def is_sent(self) -> None:
        """Something of it goes to the model."""
        self.sent = True

    def start_clock(self) -> None:
        """It is the model's turn: to take what it is sent, or to answer."""
        self.sent = True
        self._upstream.clocks[self] = self._upstream.now()

    def stop_clock(self) -> None:
        """It is the caller's turn, whose slowness is not the model's."""
        self._upstream.clocks.pop(self, None)
