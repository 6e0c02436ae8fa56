"""One connection to a model server: HTTP/1.1, one request at a time, and strict about the answer."""

import asyncio
from collections.abc import AsyncIterator, Callable

import httptools

from model_deployment.core.errors import TooManyBodies
from model_deployment.proxy.headers import RawHeader, is_json, to_caller
from model_deployment.proxy.held_bytes import SMALL, Holding

#: Answers up to this many bytes are read whole before the first byte is passed on, so that an answer that
#: breaks off half way is still a clean 502.
WHOLE_BYTES = 1024 * 1024
#: Bytes of a relayed answer that wait for its caller before reading is paused.
_BUFFERED = 256 * 1024
#: Bytes that the head of an answer may have.
_HEAD_BYTES = 64 * 1024


class BrokenAnswer(Exception):
    """The connection ended before the answer did, or what came is no answer."""


class AnswerTooLarge(Exception):
    """An answer that has to be read whole is larger than allowed."""


class ModelConnection(asyncio.Protocol):
    """A protocol of asyncio. :meth:`ask` is for one task at a time."""

    def __init__(self, on_lost: Callable[["ModelConnection"], None], answer_bytes: int) -> None:
        """
        Args:
            on_lost: called when the connection has ended.
            answer_bytes: bytes that an answer which is read whole may have.
        """
        self._on_lost = on_lost
        self._answer_bytes = answer_bytes
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._asked = False
        #: When it became idle, or the model gave the last sign of life; time of the event loop.
        self.since = self._loop.time()
        #: Whether it can take another request once the answer is complete.
        self.reusable = True
        self._unsent = 0
        self._paused = False
        #: Counts the bytes of an answer that is read whole, if it is large.
        self.holding: Holding | None = None
        self._reset()

    def _reset(self) -> None:
        """Forget the last answer."""
        self.status = 0
        #: The headers of the answer that its caller gets.
        self.headers: list[RawHeader] = []
        self._raw: list[RawHeader] = []
        self._head_bytes = 0
        #: The declared length of the answer; None if there is none.
        self.length: int | None = None
        self._ends_with_connection = False
        self._may_relay = False
        #: The answer is passed on as it comes.
        self.relayed = False
        self._headers_complete = False
        self._complete = False
        self._pieces: list[bytes] = []
        self._size = 0
        self._error: Exception | None = None

    # ---- For the task that asks

    async def ask(self, head: bytes, content: bytes, *, may_relay: bool) -> None:
        """Send a request, and wait for its whole answer, or for the head of one that is relayed.

        Args:
            may_relay: whether answers that are large or not JSON may be relayed.

        Raises:
            BrokenAnswer, AnswerTooLarge: there is no such answer.
            TooManyBodies: other answers take too many bytes.
            TimeoutError: :meth:`expire` was called.
        """
        if self.status:
            self._reset()
        self._asked, self._may_relay = True, may_relay
        self.since = self._loop.time()
        if len(content) <= WHOLE_BYTES // 16:
            self.transport.write(head + content)
        else:
            self.transport.write(head)
            self.transport.write(content)
        while not (self._complete or self.relayed):
            await self._more()

    def content(self) -> bytes:
        """What has come of the content and was not taken yet."""
        pieces = self._pieces
        if len(pieces) == 1:
            return pieces[0]
        return b"".join(pieces)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The content of a relayed answer, as it comes.

        Raises:
            BrokenAnswer, TimeoutError: as :meth:`ask`.
        """
        while True:
            while not (self._pieces or self._complete):
                await self._more()
            piece = self.content()
            self._pieces, self._size = [], 0
            if piece:
                yield piece
            elif self._complete:
                return
            if self._paused:
                self._paused = False
                self.since = self._loop.time()
                self.transport.resume_reading()

    def done(self) -> bool:
        """End the exchange. Returns whether the connection can be kept for another one."""
        self._asked, self._pieces = False, []
        self.holding = None
        self.since = self._loop.time()
        return (
            self._complete
            and self.reusable
            and not self.transport.is_closing()
            and not self.transport.get_write_buffer_size()
        )

    def expire(self, oldest: float) -> None:
        """Fail with TimeoutError if there was no sign of life since a time of the event loop."""
        unsent = self.transport.get_write_buffer_size()
        if self._paused or unsent < self._unsent:  # the caller's turn, or the model still reads
            self.since = self._loop.time()
        self._unsent = unsent
        if self.since <= oldest:
            self._fail(TimeoutError())

    async def _more(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    # ---- The transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.reusable = False
        self._fail(BrokenAnswer("the connection has ended"))
        self._on_lost(self)

    def eof_received(self) -> None:
        self.reusable = False
        if self._headers_complete and self._ends_with_connection and self._error is None:
            self._complete = True
            self._wake()
        self._fail(BrokenAnswer("the model has ended the connection"))
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self.since = self._loop.time()
        if not self._headers_complete:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._break(str(error))
        if not self._headers_complete and self._head_bytes > _HEAD_BYTES:
            self._break("its head is too large")

    # ---- The parser

    def on_message_begin(self) -> None:
        if not self._asked or self._complete:
            raise BrokenAnswer("it came without a request")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._headers_complete:  # else it is a trailer
            self._raw.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            return
        self.status = status
        self._headers_complete = True
        if not 200 <= status <= 599:
            raise BrokenAnswer(f"{status} is not the status of an answer")
        named = dict(self._raw)
        if b"content-length" in named:
            self.length = int(named[b"content-length"])
        elif b"transfer-encoding" not in named:
            self._ends_with_connection = True
        self.headers = to_caller(self._raw)
        small = self.length is not None and self.length <= WHOLE_BYTES
        if self._may_relay and not (small or status >= 300 or is_json(self.headers)):
            self.relayed = True
            self._wake()

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        if self.relayed:
            if self._size > _BUFFERED and not self._paused:
                self._paused = True
                self.transport.pause_reading()
            self._wake()
        elif self._size > self._answer_bytes:
            self._fail(AnswerTooLarge())
            self.transport.abort()
        elif self._size > SMALL and self.holding is not None:
            try:
                self.holding.ensure(self._size)
            except TooManyBodies as error:
                self._fail(error)
                self.transport.abort()

    def on_message_complete(self) -> None:
        if not self._headers_complete:  # an interim answer
            self._raw.clear()
            return
        self._complete = True
        if not self._parser.should_keep_alive():
            self.reusable = False
        self._wake()

    # ---- Ends

    def _break(self, why: str) -> None:
        """What came is no answer, or does not belong to one."""
        self.reusable = False
        self._fail(BrokenAnswer(why))
        self.transport.abort()

    def _fail(self, error: Exception) -> None:
        if not self._complete and self._error is None:
            self._error = error
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_exception(error)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
