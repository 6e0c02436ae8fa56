"""Feeds the bytes of a connection to httptools, and ignores offers to upgrade from HTTP/1.1.

Java's ``HttpClient`` and ``curl --http2`` offer HTTP/2 with every request (``Connection: Upgrade,
HTTP2-Settings`` and ``Upgrade: h2c``). A server may ignore an offer (RFC 9110, section 7.8). The parser
cannot: at an offer it stops behind the headers, so the request loses its body, which is read as the next
request if it comes later. So the head of such a request is parsed a second time without the offer.

The one offer that a connection may take is the handshake of a WebSocket; behind it comes no HTTP any more.
"""

import asyncio
import contextlib
import logging

import httptools

_log = logging.getLogger(__name__)

_MALFORMED = (
    b'{"type":"urn:model-deployment:problem:malformed-request","title":"Malformed request"'
    b',"status":400,"detail":"cannot read the request: it '
    b"is no HTTP of version 1.1, or leaves open where its body ends. Nothing was done; send it with one "
    b'Content-Length, or chunked"}'
)
_LONG_HEAD = (
    b'{"type":"urn:model-deployment:problem:head-too-large","title":"Head too large"'
    b',"status":431,"detail":"cannot read the request: its '
    b"request line and headers, or its trailers, are larger than %d bytes, or too many. Nothing was done; "
    b'send fewer"}'
)


def _refusal(status: bytes, content: bytes) -> bytes:
    return (
        b"HTTP/1.1 %b\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\n"
        b"connection: close\r\n\r\n%b" % (status, len(content), content)
    )


def new_parser(protocol: object) -> httptools.HttpRequestParser:
    """A parser that ignores what follows the last request of a connection, as uvicorn's does."""
    parser = httptools.HttpRequestParser(protocol)
    with contextlib.suppress(AttributeError):  # httptools before 0.6.3 has no such switch
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


class RequestParsing:
    """For a protocol with the callbacks of httptools; calls its ``begin_request`` and ``end_request``."""

    parser: httptools.HttpRequestParser
    transport: asyncio.Transport
    url: bytes
    headers: list[tuple[bytes, bytes]]
    #: Bytes that may come without beginning a request or belonging to a body: heads and trailers, which are
    #: kept until they are complete. 0 for any number.
    longest_head = 0
    #: Since the flag was taken back, a request began or was complete, or a piece of a body came.
    progressed = False
    #: The head of a request without its offer; empty if the request must be refused.
    _head = b""
    #: The last request is a handshake that is taken.
    _taken = False
    _without_progress = 0

    def begin_request(self) -> None:
        """The headers are complete."""
        raise NotImplementedError

    def end_request(self) -> None:
        """The body is complete."""
        raise NotImplementedError

    def takes_offer(self) -> bool:
        """Whether the request whose headers are complete is a handshake to take."""
        return False

    def take_offer(self, rest: bytes) -> None:
        """Take the offer of the last request; ``rest`` came behind its head."""
        raise NotImplementedError

    def refuse(self, answer: bytes) -> None:
        """Refuse what is no request, and close the connection."""
        self.transport.write(answer)
        self.transport.close()

    def forget_parser(self) -> None:
        """Nothing comes any more. Parser and protocol refer to each other: else only the garbage collector
        would free them, and it holds up all other connections meanwhile.
        """
        self.parser = new_parser(None)

    def refuse_malformed(self) -> None:
        self.refuse(_refusal(b"400 Bad Request", _MALFORMED))

    def refuse_long_head(self) -> None:
        status = b"431 Request Header Fields Too Large"
        self.refuse(_refusal(status, _LONG_HEAD % self.longest_head))

    def data_received(self, data: bytes) -> None:
        """Parse bytes, which may belong to several requests."""
        self.progressed = False
        self._parse(data)
        if self.progressed:
            self._without_progress = 0
            return
        self._without_progress += len(data)
        limit = self.longest_head
        if limit and self._without_progress > limit and not self.transport.is_closing():
            self.refuse_long_head()

    def _parse(self, data: bytes) -> None:
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                self._upgrade(memoryview(data)[offer.args[0] :])
        except httptools.HttpParserError:
            _log.warning("refused a request that is not valid HTTP/1.1")
            self.refuse_malformed()

    def on_headers_complete(self) -> None:
        """Begin a request, unless its head is to be parsed again."""
        self._taken = False
        if self.parser.should_upgrade():
            self._taken = self.takes_offer()
            if not self._taken:
                self._head = self._without_offer()
                return
        self.begin_request()
        # Trailers, which follow the body, are not headers of the request (RFC 9110, section 6.5.1).
        self.headers = []

    def on_message_complete(self) -> None:
        if self._taken or not self.parser.should_upgrade():
            self.end_request()

    def _upgrade(self, rest: memoryview) -> None:
        if self._taken:
            self.take_offer(bytes(rest))
        else:
            self._parse_again(rest)

    def _parse_again(self, rest: memoryview) -> None:
        """Parse a request again without its offer, then the bytes behind its headers."""
        while self._head:
            # The old parser would continue behind the headers, as if there were no body.
            self.parser = new_parser(self)
            self.parser.feed_data(self._head)
            try:
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as offer:  # of a later request
                rest = rest[offer.args[0] :]
                if self._taken:
                    self.take_offer(bytes(rest))
                    return
        self.refuse_malformed()

    def _without_offer(self) -> bytes:
        method = self.parser.get_method()
        if method == b"CONNECT":  # what follows would not be HTTP
            return b""
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b\r\n" % (method, self.url, version)]
        lines += [
            b"%b: %b\r\n" % (name, value) for name, value in self.headers if name != b"upgrade"
        ]
        return b"".join([*lines, b"\r\n"])
