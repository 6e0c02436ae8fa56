"""The body of a request: read as a whole; afterwards its caller is watched for a hang-up."""

import asyncio
from typing import Protocol

from model_deployment.core.errors import ModelDeploymentError, PayloadTooLarge
from model_deployment.http.asgi import Receive
from model_deployment.proxy.upstream import BodyReservation

#: Seconds after which the caller of a call is watched. Most calls are shorter, and a watcher costs as
#: much as a tenth of the whole exchange.
_WATCH_AFTER = 0.25
#: The whole body may take this many times as long as a pause in it.
_TIMEOUTS_IN_ALL = 10


class Abortable(Protocol):
    """Work that is done for a caller."""

    def abort(self, why: Exception) -> None: ...


class CallerGone(Exception):
    """The caller hung up, so that no answer can be sent."""


class BodyTimeout(ModelDeploymentError):
    """The caller began to send a body and stopped."""

    status = 408
    title = "Request timeout"


class RequestBody:
    """Reads ``receive``, which only this object may read until :meth:`unwatch`."""

    def __init__(
        self,
        receive: Receive,
        reservation: BodyReservation,
        *,
        declared: int | None,
        limit: int,
        timeout: float,
    ) -> None:
        """
        Args:
            reservation: counts the bytes of a body that comes in several pieces.
            declared: the length in bytes that the headers announce.
            limit: bytes that a body may have.
            timeout: seconds the caller may send nothing.
        """
        self._receive = receive
        self._reservation = reservation
        self._limit = limit
        self._timeout = timeout
        self._declared = declared
        self._received = 0
        self._watched: Abortable | None = None
        self._watcher: asyncio.TimerHandle | asyncio.Task[None] | None = None

    async def read(self) -> bytes:
        """The whole body.

        Raises:
            PayloadTooLarge: it is declared, or turns out to be, over the limit.
            BodyTimeout: the rest of it does not come.
            TooBusy: other bodies hold too many bytes.
            CallerGone: the caller hung up.
        """
        if self._declared is not None and self._declared > self._limit:
            raise self._too_large()
        end = asyncio.get_running_loop().time() + _TIMEOUTS_IN_ALL * self._timeout
        piece, more = await self._next_in_time(end)
        if not more:
            return piece
        pieces = [piece]
        self._reservation.add(len(piece))
        while more:
            piece, more = await self._next_in_time(end)
            self._reservation.add(len(piece))
            pieces.append(piece)
        return b"".join(pieces)

    def watch(self, work: Abortable) -> None:
        """Abort the work when the caller hangs up."""
        self._watched = work
        self._watcher = asyncio.get_running_loop().call_later(_WATCH_AFTER, self._start_watcher)

    def unwatch(self) -> None:
        """Stop reading ``receive``."""
        self._watched = None
        if self._watcher is not None:
            self._watcher.cancel()

    async def _next_in_time(self, end: float) -> tuple[bytes, bool]:
        latest = asyncio.get_running_loop().time() + self._timeout
        try:
            # A caller whose machine is gone never hangs up.
            async with asyncio.timeout_at(min(end, latest)):
                return await self._next()
        except TimeoutError:
            raise BodyTimeout(
                f"cannot wait for the body: only {self._received} bytes of it arrived in time"
            ) from None

    async def _next(self) -> tuple[bytes, bool]:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise CallerGone
        piece: bytes = message.get("body", b"")
        self._received += len(piece)
        if self._received > self._limit:
            raise self._too_large()
        return piece, message.get("more_body", False)

    def _start_watcher(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._abort_on_hangup())

    async def _abort_on_hangup(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._watched is not None:
            self._watched.abort(CallerGone())

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge.of(self._limit, self._declared)
