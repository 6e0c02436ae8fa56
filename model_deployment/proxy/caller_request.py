"""One request of a caller: its body as it comes in, and the way back for the answer."""

import asyncio
from collections.abc import Iterable
from typing import Protocol

from model_deployment.http.asgi import App, Scope
from model_deployment.http.framing import content_length
from model_deployment.proxy import headers
from model_deployment.proxy.answer_head import head
from model_deployment.proxy.body_pieces import append_piece
from model_deployment.proxy.caller_line import Line
from model_deployment.proxy.dialect import MLFLOW, Dialect
from model_deployment.proxy.headers import RawHeader
from model_deployment.proxy.held_bytes import Holding
from model_deployment.proxy.offload import LARGE

#: Bytes of a body that are buffered before somebody asks for them.
BUFFERED = 64 * 1024
#: Bytes of an answer up to which it is copied behind its head, to be sent with one system call.
_COPIED = 64 * 1024
#: Seconds that work for a caller who hung up may go on: most calls are shorter, and to abort one costs a
#: connection to the model.
_GRACE = 0.25


class Abortable(Protocol):
    """Work that is done for a caller."""

    def abort(self, why: Exception) -> None: ...


class CallerGone(Exception):
    """The caller hung up, so that no answer can be sent."""


def is_long(request: "CallerRequest | None") -> bool:
    """Whether a request is so long, or may be, that others should not wait for all of it."""
    declared = 0 if request is None else content_length(request.named)
    return declared is None or declared > LARGE


class CallerRequest:
    """Fed by its connection, used by one task."""

    __slots__ = (
        "_chunked",
        "_line",
        "_pieces",
        "_waiter",
        "_watched",
        "answer_begun",
        "answer_complete",
        "body_complete",
        "buffered",
        "came",
        "dialect",
        "ends_with_connection",
        "expects_continue",
        "gone",
        "handshake",
        "headers",
        "held_answer",
        "keep_alive",
        "method",
        "named",
        "path",
        "pending",
        "query",
        "received",
        "request_id",
        "scope",
    )  # fmt: skip

    def __init__(
        self,
        line: Line,
        scope: Scope,
        named: dict[bytes, bytes],
        *,
        keep_alive: bool,
        expects_continue: bool = False,
    ) -> None:
        """
        Args:
            scope: as ASGI has it.
            named: its headers by name.
            keep_alive: whether the caller keeps the connection for further requests.
            expects_continue: whether the caller waits with the body until it is told to send it.
        """
        self._line = line
        self.scope = scope
        self.method: str = scope["method"]
        self.path: bytes = scope["raw_path"]
        self.query: bytes = scope["query_string"]
        self.headers: list[RawHeader] = scope["headers"]
        self.named = named
        self.request_id = headers.request_id(named)
        self.dialect: Dialect = MLFLOW
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue
        #: It is the handshake of a WebSocket.
        self.handshake: bool = scope["type"] == "websocket"
        self._pieces: list[bytes] = []
        #: Bytes of the body that nobody has taken yet, that were taken, and that have come.
        self.buffered = self.received = self.came = 0
        self.body_complete = False
        #: The caller has hung up.
        self.gone = False
        #: Something may have reached the caller, so that it is too late for another status.
        self.answer_begun = False
        self.answer_complete = False
        #: The answer is made, and waits for its capture to be written.
        self.pending = False
        #: Only the end of the connection tells the caller that the answer is complete.
        self.ends_with_connection = False
        #: Counts the bytes of the answer until the caller has accepted it.
        self.held_answer: Holding | None = None
        self._chunked = False
        self._waiter: asyncio.Future[None] | None = None
        self._watched: Abortable | None = None

    # ---- The connection's side

    def feed(self, piece: bytes) -> None:
        """A piece of the body has come."""
        if self.answer_complete:
            return
        append_piece(self._pieces, piece)
        self.buffered += len(piece)
        if self.buffered > BUFFERED:
            self._line.pause_body(self)
        if self._waiter is not None:
            self._wake()

    def end_body(self) -> None:
        """The body is complete."""
        self.body_complete = True
        if self._waiter is not None:
            self._wake()

    def lose_caller(self) -> None:
        """The connection has ended."""
        self.gone = True
        self._pieces.clear()
        if self._waiter is not None:
            self._wake()
        if self._watched is not None:
            self._abort_later()

    def take_body(self) -> bytes:
        """What has come and was not taken yet."""
        body = b"".join(self._pieces) if len(self._pieces) != 1 else self._pieces[0]
        self._pieces.clear()
        if self.buffered > BUFFERED:
            self._line.resume_body(self)
        self.buffered = 0
        return body

    # ---- The body

    def redirect(self, path: bytes, content: bytes) -> None:
        """Become a request for another path, with another body, which is JSON. The body has been read."""
        self.path, self.query = path, b""
        described = (
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(content)),
        )
        dropped = {b"content-encoding", b"transfer-encoding", *(name for name, _ in described)}
        self.headers = [one for one in self.headers if one[0] not in dropped] + [*described]
        self.named = dict(self.headers)
        self._pieces, self.received = [content], 0

    async def discard_body(self) -> None:
        """Throw the rest of the body away while somebody sends it. No other request can follow."""
        if not self.body_complete:
            declared = content_length(self.named)
            self._line.discard(self, None if declared is None else declared - self.came)
        while not (self.body_complete or self.gone):
            await self._wait()

    async def more(self) -> None:
        """Wait for something of the body that was not taken yet, or its end.

        Raises:
            CallerGone: the caller hung up.
        """
        if self.expects_continue:
            self.expects_continue = False
            self._line.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._line.resume_body(self)
        while not (self._pieces or self.body_complete or self.gone):
            await self._wait()
        if self.gone:
            raise CallerGone

    async def _wait(self) -> None:
        """Wait until something has come, or nothing can."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def pass_on(self, app: App) -> None:
        """Have an ASGI application answer."""
        await self._line.pass_on(self, app)

    def hand_over(self) -> tuple[asyncio.Transport, bytes]:
        """Give away the connection of a handshake, whose reading is paused, and what came behind it."""
        self.answer_begun = self.answer_complete = True
        return self._line.hand_over(self)

    # ---- The caller

    def watch(self, work: Abortable) -> None:
        """Abort the work soon after the caller hangs up."""
        self._watched = work
        if self.gone:
            self._abort_later()

    def unwatch(self) -> None:
        self._watched = None

    def _abort_later(self) -> None:
        asyncio.get_running_loop().call_later(_GRACE, self._abort, self._watched)

    def _abort(self, work: Abortable | None) -> None:
        if work is not None and work is self._watched:
            work.abort(CallerGone())

    # ---- The answer

    def answer(self, status: int, raw: Iterable[RawHeader], content: bytes) -> None:
        """Send a whole answer. ``raw`` has the length of the content."""
        self._send_last(self._head(status, raw), b"" if self.method == "HEAD" else content)

    def begin(self, status: int, raw: list[RawHeader]) -> None:
        """Send the head of an answer whose content follows in pieces."""
        measured = status == 204 or any(name == b"content-length" for name, _ in raw)
        if not measured and self.scope["http_version"] == "1.0":
            self.ends_with_connection, self.keep_alive = True, False
        elif not measured:
            self._chunked = True
            raw = [*raw, (b"transfer-encoding", b"chunked")]
        self._line.write(self._head(status, raw))

    def send(self, piece: bytes) -> None:
        """Send a piece of the content."""
        if piece and self.method != "HEAD":
            self._line.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece)

    def end(self) -> None:
        """The content is complete."""
        self._send_last(b"0\r\n\r\n" if self._chunked else b"", b"")

    @property
    def backed_up(self) -> bool:
        """Whether the caller does not accept what is sent as fast as it comes."""
        return self._line.backed_up

    async def accepted(self, timeout: float) -> None:
        """Wait until the caller has accepted most of what was sent.

        Raises:
            CallerGone: the caller accepts nothing for so many seconds, or hung up.
        """
        if self._line.backed_up:
            try:
                async with asyncio.timeout(timeout):
                    await self._line.accepted()
            except TimeoutError:
                raise CallerGone from None
        if self.gone:
            raise CallerGone

    def _send_last(self, first: bytes, content: bytes) -> None:
        self.answer_complete = True
        if len(content) <= _COPIED:
            self._line.write(first + content)
        else:
            self._line.write(first)
            self._line.write(content)
        self._pieces.clear()
        self._line.answered(self)

    def _head(self, status: int, raw: Iterable[RawHeader]) -> bytes:
        self.answer_begun = True
        self.expects_continue = False
        if self._line.closing:
            self.keep_alive = False
        return head(status, raw, self.request_id, keep_alive=self.keep_alive)
