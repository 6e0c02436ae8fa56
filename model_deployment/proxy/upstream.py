"""One launch as the proxy knows it: its connections, the calls under way, and its counters."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from model_deployment.core.domain import Address
from model_deployment.core.errors import TooBusy
from model_deployment.core.measures import LaunchTraffic
from model_deployment.core.names import ModelKey
from model_deployment.proxy.held_bytes import Holding
from model_deployment.proxy.model_pool import ModelPool
from model_deployment.proxy.shared_limits import DeploymentUsage, SharedNumber
from model_deployment.proxy.slot_queue import SlotQueue
from model_deployment.proxy.standing import Standing, Tally


@dataclass(frozen=True, slots=True)
class UpstreamLimits:
    """What one deployment may be asked at the same time, by all proxies together."""

    #: Calls of each target at the same time.
    connections: int = 128
    #: Requests that may wait for one of these, for each target.
    queue: int = 1024
    #: Bytes of the bodies of all of them, however many targets there are.
    queue_bytes: int = 256 * 1024 * 1024
    #: Seconds without a sign of life after which a call is given up.
    read_timeout: float = 70.0
    #: Bytes of an answer that has to be read whole.
    answer_bytes: int = 100 * 1024 * 1024
    #: Seconds that requests wait for a parked model to start.
    wake_timeout: float = 120.0
    #: Seconds that requests wait for a model that has ended and is started again.
    recovery_timeout: float = 30.0


class LaunchRemoved(Exception):
    """No route leads to the launch any longer."""


class Shares:
    """What a proxy uses of the limits of a deployment, whichever of its targets answers."""

    def __init__(self, usage: DeploymentUsage, limits: UpstreamLimits) -> None:
        self.usage = usage
        self.limits = limits
        #: Calls beyond the limit wait here, where their age does not count against the model.
        self.slots = SlotQueue(usage.slots, limits.connections)
        #: Requests that may be in calls, or wait for one.
        self.places = limits.connections + limits.queue
        #: What the targets have answered.
        self.tally = Tally()

    def resize(self, targets: int) -> None:
        """Adopt the number of targets, at least 1."""
        self.places = targets * (self.limits.connections + self.limits.queue)
        self.slots.resize(targets * self.limits.connections)


class Budget:
    """What may wait for one model: a number of requests, and the bytes of their bodies."""

    def __init__(
        self, key: ModelKey, shares: Shares, places: SharedNumber, bodies: SharedNumber
    ) -> None:
        """
        Args:
            shares: the limits.
            places: the requests, of all proxies.
            bodies: bytes of their bodies, of all proxies.
        """
        self.key = key
        self.limits = shares.limits
        self._shares = shares
        self.now = asyncio.get_running_loop().time
        #: Bytes of bodies, of this launch and proxy.
        self.held = 0
        #: Requests whose bodies are being received or checked.
        self.reading = 0
        #: When the last request ended.
        self.last_used = self.now()
        self._places = places
        self._bodies = bodies

    def take_place(self, size: int = 0) -> None:
        """Let one more request wait, with a body of ``size`` bytes.

        Raises:
            TooBusy: it may not.
        """
        if not self._places.add(1, self._shares.places):
            raise self._too_busy(
                f"{self._places.total} requests are waiting for it (MODEL_DEPLOYMENT_MAX_QUEUE); try again "
                "in a moment, or deploy it with more workers"
            )
        try:
            self.hold(size)
        except TooBusy:
            self._places.subtract(1)
            raise

    def leave_place(self, size: int = 0) -> None:
        """A request waits no longer, and its body of ``size`` bytes is not held."""
        self._places.subtract(1)
        self.let_go(size)

    def hold(self, size: int, own: int = 0) -> None:
        """Hold ``size`` more bytes.

        Args:
            own: bytes that are already held for the same request.

        Raises:
            TooBusy: they may not be held. A single request may always hold its bytes.
        """
        limit = self.limits.queue_bytes
        if not self._bodies.add(size, limit, own):
            raise self._too_busy(
                f"the bodies that wait for it may have {limit} bytes in all, the smaller of "
                "MODEL_DEPLOYMENT_MAX_QUEUE_BYTES and half of MODEL_DEPLOYMENT_MAX_HELD_BYTES; try again "
                "in a moment, send smaller bodies, or raise the settings"
            )
        self.held += size

    def let_go(self, size: int) -> None:
        """Hold ``size`` bytes less."""
        self._bodies.subtract(size)
        self.held -= size

    def begin_reading(self) -> None:
        """The body of a request is about to be received or checked."""
        self.reading += 1

    def end_reading(self) -> None:
        self.reading -= 1
        self.last_used = self.now()

    def _too_busy(self, why: str) -> TooBusy:
        return TooBusy(f"cannot predict with {self.key} now: {why}", retry_after=1)


class Upstream(Budget):
    """The connection pool, the calls and the counters of one launch."""

    def __init__(
        self,
        key: ModelKey,
        address: Address,
        shares: Shares,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            shares: what the launch shares with other launches and proxies.
            on_failure: called when the model did not answer as a living server does.
        """
        super().__init__(key, shares, shares.usage.callers, shares.usage.held)
        limits = shares.limits
        self._host = f"{address.host}:{address.port}".encode("ascii")
        self._on_failure = on_failure
        self._standing = Standing(shares.tally)
        self.slots = shares.slots
        self.pool = ModelPool(
            address, read_timeout=limits.read_timeout, answer_bytes=limits.answer_bytes
        )
        #: Calls that have a caller and no complete answer yet, including those that wait for a slot.
        self.calls: set[UpstreamCall] = set()
        #: How many of these callers made themselves; the proxy makes the others for several callers.
        self.callers = 0
        #: When each call became the model's turn.
        self.clocks: dict[UpstreamCall, float] = {}
        #: The launch that answers.
        self.launch_id: str | None = None
        self._ready: str | None = None
        self._answered = 0
        self._timeouts_in_row = 0

    def update_launch(self, launch_id: str | None, *, ready: bool) -> None:
        """Another launch answers, or will; nothing that the last one did counts against it."""
        self.launch_id = launch_id or self.launch_id
        if ready and launch_id != self._ready:
            self._ready = launch_id
            self._timeouts_in_row = 0
            self._standing.reset()
            self.clocks = dict.fromkeys(self.clocks, self.now())

    def head(self, query: bytes, lines: bytes, size: int) -> bytes:
        """The head of a request with these header lines and a body of ``size`` bytes."""
        target = b"/invocations?" + query if query else b"/invocations"
        return b"POST %b HTTP/1.1\r\nhost: %b\r\n%bcontent-length: %d\r\n\r\n" % (
            target,
            self._host,
            lines,
            size,
        )

    def count_answer(self, status: int) -> None:
        """Count a whole answer; 504 stands for a time-out as well."""
        if status == 504:
            self._timeouts_in_row += 1
            self._standing.broke(self.now())
        else:
            self._answered += 1
            self._timeouts_in_row = 0
            self._standing.answered(status, self.now())

    def count_break(self) -> None:
        """The model did not answer as a living server does."""
        self._standing.broke(self.now())
        self._on_failure()

    @property
    def left_out_until(self) -> float | None:
        """From when on it may prove itself, since it has broken; a time of the event loop."""
        return self._standing.left_out_until

    @property
    def waiting(self) -> int:
        """Callers of whose requests nothing has gone to the model yet."""
        return sum(call.callers for call in self.calls if not call.sent)

    def traffic(self) -> LaunchTraffic:
        # Time only rises, and a dict keeps its order: the first clock is the oldest.
        oldest = next(iter(self.clocks.values()), None)
        return LaunchTraffic(
            in_flight=self.callers,
            oldest=0.0 if oldest is None else self.now() - oldest,
            answered=self._answered,
            timeouts_in_row=self._timeouts_in_row,
            reading=self.reading,
            idle=0.0 if self.callers or self.reading else self.now() - self.last_used,
        )

    async def close(self) -> None:
        """Abort the calls under way and close the connections."""
        for call in self.calls:
            call.abort(LaunchRemoved())
        self.pool.close()


class UpstreamCall:
    """One call of the model, for one caller or for several, from the wait for a slot to the last byte.

    A context manager for the task that makes the call. :meth:`abort` makes the task leave the block with
    the given error, whatever it was waiting for.
    """

    def __init__(self, upstream: Upstream, size: int = 0, *, callers: int = 1) -> None:
        """
        Args:
            size: bytes of the body that is held for it.
            callers: 1, or 0 if it is made for callers who are counted already.
        """
        self._upstream = upstream
        self._size = size
        self.callers = callers
        self._task: asyncio.Task[object] | None = None
        self._abort_error: Exception | None = None
        #: Something may have reached the model.
        self.sent = False
        #: Counts the bytes of the answer, if it is large.
        self.answer: Holding | None = None

    def __enter__(self) -> Self:
        """
        Raises:
            LaunchRemoved: the launch is gone.
            TooBusy: there is no room for one more request.
        """
        if self._upstream.pool.closed:
            raise LaunchRemoved
        if self.callers:
            self._upstream.take_place(self._size)
        self._task = asyncio.current_task()
        self._upstream.calls.add(self)
        self._upstream.callers += self.callers
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._upstream.calls.remove(self)
        self._upstream.callers -= self.callers
        if self.callers:
            self._upstream.leave_place(self._size)
        self._upstream.last_used = self._upstream.now()
        self.stop_clock()
        if self._abort_error is None or self._task is None:
            return
        # A further cancellation came from elsewhere, and goes first.
        if self._task.uncancel() == 0:
            raise self._abort_error from None

    def abort(self, why: Exception) -> None:
        """End the call, unless it is over or being ended already."""
        if self._abort_error is None and self._task is not None and self in self._upstream.calls:
            self._abort_error = why
            self._task.cancel()

    def mark_sent(self) -> None:
        self.sent = True

    def start_clock(self) -> None:
        """It is the model's turn: to accept the request, or to answer."""
        self._upstream.clocks[self] = self._upstream.now()

    def stop_clock(self) -> None:
        """It is the caller's turn, whose slowness does not count against the model."""
        self._upstream.clocks.pop(self, None)
