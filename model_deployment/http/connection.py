"""A caller's connection: uvicorn's own, made to ignore offers to upgrade from HTTP/1.1.

Java's ``HttpClient`` and ``curl --http2`` offer HTTP/2 with every request (``Connection: Upgrade,
HTTP2-Settings`` and ``Upgrade: h2c``). A server may ignore an offer (RFC 9110, section 7.8). The parser of
uvicorn cannot: at an offer it stops behind the headers, so the request loses its body, which is read as the
next request if it comes later. So the head of such a request is parsed a second time without the offer.
"""

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

_MALFORMED = (
    b'{"type":"about:blank","title":"Malformed request","status":400,"detail":"cannot read the request: it '
    b"is no HTTP of version 1.1, or leaves open where its body ends. Nothing was done; send it with one "
    b'Content-Length, or chunked"}'
)


class Connection(HttpToolsProtocol):
    """The ``http`` argument of :class:`uvicorn.Config`."""

    #: The head of a request without its offer; empty if the request must be refused.
    _head = b""

    def data_received(self, data: bytes) -> None:
        """Parse bytes, which may belong to several requests."""
        self._unset_keepalive_if_required()
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                self._parse_again(memoryview(data)[offer.args[0] :])
        except httptools.HttpParserError:
            self.logger.warning("refused a request that is not valid HTTP/1.1")
            self.send_400_response("")

    def on_headers_complete(self) -> None:
        """Begin a request, unless its head is to be parsed again."""
        if self.parser.should_upgrade():
            self._head = self._without_offer()
            return
        super().on_headers_complete()
        # Trailers, which follow the body, are not headers of the request (RFC 9110, section 6.5.1).
        self.headers = []

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse a malformed request, and close the connection."""
        head = (
            STATUS_LINE[400],
            b"content-type: application/problem+json\r\n",
            b"content-length: %d\r\nconnection: close\r\n\r\n" % len(_MALFORMED),
        )
        self.transport.write(b"".join([*head, _MALFORMED]))
        self.transport.close()

    def _parse_again(self, rest: memoryview) -> None:
        """Parse a request again without its offer, then the bytes behind its headers."""
        while self._head:
            # The old parser would continue behind the headers, as if there were no body.
            self.parser = httptools.HttpRequestParser(self)
            # As in uvicorn: bytes may follow a request that says it is the last.
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self.parser.feed_data(self._head)
            try:
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as offer:  # of a later request
                rest = rest[offer.args[0] :]
        self.send_400_response("")

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
