"""The body of a request: read whole, and the caller watched after that."""

import asyncio
from typing import Protocol

from model_deployment.core.errors import ModelDeploymentError, PayloadTooLarge
from model_deployment.http.asgi import Receive
from model_deployment.proxy.upstream import BodyReservation

#: A call that takes longer than this many seconds has its caller watched. Most do not, and a watcher
#: costs as much as a tenth of the whole exchange.
_GLANCE = 0.25
#: All of a body may take this many times as long as a pause in it.
_PATIENCES = 10


class Abortable(Protocol):
    """What is done for a caller."""

    def abort(self, why: Exception) -> None:
        """There is no point in it any more."""
        ...


class CallerGone(Exception):
    """The caller hung up; there is nobody to answer."""


class BodyTimeout(ModelDeploymentError):
    """The caller begins to send a body, and does not go on."""

    status = 408
    title = "Request timeout"


class RequestBody:
    """Reads ``receive``, which nobody else may read until :meth:`unwatch`."""

    def __init__(
        self,
        receive: Receive,
        holding: BodyReservation,
        *,
        declared: int | None,
        limit: int,
        patience: float,
    ) -> None:
        """Read nothing yet.

        Args:
            holding: what comes in several pieces is held by, and counted.
            declared: the length the caller promised, in bytes.
            limit: the most that is taken, in bytes.
            patience: seconds the caller may send nothing.
        """
        self._receive = receive
        self._holding = holding
        self._limit = limit
        self._patience = patience
        self._declared = declared
        self._seen = 0
        self._call: Abortable | None = None
        self._watcher: asyncio.TimerHandle | asyncio.Task[None] | None = None

    async def read(self) -> bytes:
        """All of it.

        Raises:
            PayloadTooLarge: it is declared, or turns out to be, over the limit.
            TooSlow: the rest of it does not come.
            TooBusy: others hold too many bytes.
            CallerGone: the caller hung up.
        """
        if self._declared is not None and self._declared > self._limit:
            raise self._too_large()
        end = asyncio.get_running_loop().time() + _PATIENCES * self._patience
        piece, more = await self._next_in_time(end)
        if not more:
            return piece
        pieces = [piece]
        self._holding.add(len(piece))
        while more:
            piece, more = await self._next_in_time(end)
            self._holding.add(len(piece))
            pieces.append(piece)
        return b"".join(pieces)

    def watch(self, call: Abortable) -> None:
        """Abort the call when the caller hangs up."""
        self._call = call
        self._watcher = asyncio.get_running_loop().call_later(_GLANCE, self._watch_now)

    def unwatch(self) -> None:
        """Leave ``receive`` alone."""
        self._call = None
        if self._watcher is not None:
            self._watcher.cancel()

    async def _next_in_time(self, end: float) -> tuple[bytes, bool]:
        latest = asyncio.get_running_loop().time() + self._patience
        try:
            # A caller whose machine is gone never hangs up, and would be waited for for ever.
            async with asyncio.timeout_at(min(end, latest)):
                return await self._next()
        except TimeoutError:
            raise BodyTimeout(
                f"cannot wait for the body: only {self._seen} bytes of it came in time"
            ) from None

    async def _next(self) -> tuple[bytes, bool]:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise CallerGone
        piece: bytes = message.get("body", b"")
        self._seen += len(piece)
        if self._seen > self._limit:
            raise self._too_large()
        return piece, message.get("more_body", False)

    def _watch_now(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._gone())

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._call is not None:
            self._call.abort(CallerGone())

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge.of(self._limit, self._declared)
