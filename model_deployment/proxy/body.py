"""The body of a request: counted while it comes in, and the caller watched after that."""

import asyncio
from collections.abc import AsyncIterator

from model_deployment.errors import ModelDeploymentError, PayloadTooLarge
from model_deployment.proxy.asgi import Receive
from model_deployment.proxy.upstream import Call

#: A call that takes longer than this many seconds has its caller watched. Most do not, and a watcher
#: costs as much as a tenth of the whole exchange.
_GLANCE = 0.05


class CallerGone(Exception):
    """The caller hung up; there is nobody to answer."""


class TooSlow(ModelDeploymentError):
    """The caller keeps a connection to a model and does not use it."""

    status = 408
    title = "Request timeout"


class Body:
    """Reads ``receive``, which nobody else may read until :meth:`unwatch`."""

    def __init__(
        self, receive: Receive, *, declared: int | None, limit: int, patience: float
    ) -> None:
        self._receive = receive
        self._limit = limit
        self._patience = patience
        self._seen = 0
        self._call: Call | None = None
        self._watcher: asyncio.TimerHandle | asyncio.Task[None] | None = None
        #: The length the caller promised.
        self.declared = declared
        #: Bytes if it came in one piece, else what is left of it, piece by piece.
        self.content: bytes | AsyncIterator[bytes] = b""

    async def begin(self) -> None:
        """Read the first piece.

        Raises:
            PayloadTooLarge: it is declared, or already is, over the limit.
            CallerGone: the caller hung up.
        """
        if self.declared is not None and self.declared > self._limit:
            raise self._too_large()
        piece, more = await self._next()
        self.content = self._rest(piece) if more else piece

    def watch(self, call: Call) -> None:
        """Abort the call when the rest of the body does not come, or when the caller hangs up."""
        self._call = call
        if isinstance(self.content, bytes):
            self._watch_later()

    def unwatch(self) -> None:
        """Leave ``receive`` alone."""
        self._call = None
        if self._watcher is not None:
            self._watcher.cancel()

    async def _rest(self, piece: bytes) -> AsyncIterator[bytes]:
        """What the client iterates over. It hides an error, so the call is told as well."""
        call = self._call
        assert call is not None  # noqa: S101 - watched before it is sent
        more = True
        while more:
            yield piece
            call.stop_clock()
            try:
                piece, more = await self._next_in_time()
            except (CallerGone, PayloadTooLarge, TooSlow) as error:
                call.abort(error)
                raise
            call.start_clock()
        self._watch_later()
        yield piece

    async def _next_in_time(self) -> tuple[bytes, bool]:
        try:
            # A caller whose machine is gone never hangs up, and would keep a connection for ever.
            async with asyncio.timeout(self._patience):
                return await self._next()
        except TimeoutError:
            raise TooSlow(
                f"cannot wait for the body: nothing more of it came for {self._patience:g} s"
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

    def _watch_later(self) -> None:
        if self._call is not None:
            loop = asyncio.get_running_loop()
            self._watcher = loop.call_later(_GLANCE, self._watch_now)

    def _watch_now(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._gone())

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._call is not None:
            self._call.abort(CallerGone())

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(
            f"cannot accept the body: it is larger than {self._limit} bytes; send fewer rows at a time"
        )
