"""One connection of a caller, read as uvicorn reads it, but for offers to leave HTTP/1.1.

Java's ``HttpClient`` and ``curl --http2`` offer HTTP/2 with every request (``Connection: Upgrade,
HTTP2-Settings`` and ``Upgrade: h2c``). A server may ignore an offer (RFC 9110, section 7.8), and ours
always does. The parser below uvicorn cannot: at an offer it stops behind the headers, so that the body is
lost to the request, and is read as the next request where it comes later. So a request with an offer is
begun only when it is read again, without the offer.
"""

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

_NO_HTTP = (
    b'{"type":"about:blank","title":"Malformed request","status":400,"detail":"cannot read the request: it '
    b"is no HTTP of version 1.1, or leaves open where its body ends. Nothing was done; send it with one "
    b'Content-Length, or chunked"}'
)


class Connection(HttpToolsProtocol):
    """For :class:`uvicorn.Config`."""

    #: The head of a request with an offer, written anew without it; empty if it cannot go on so.
    _again = b""

    def data_received(self, data: bytes) -> None:
        """Some bytes came, which may be of several requests."""
        self._unset_keepalive_if_required()
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                self._go_on(memoryview(data)[offer.args[0] :])
        except httptools.HttpParserError:
            self.logger.warning("a request was refused that is no clear HTTP/1.1")
            self.send_400_response("")

    def on_headers_complete(self) -> None:
        """Begin a request, unless it comes again."""
        if self.parser.should_upgrade():
            self._again = self._without_offer()
            return
        super().on_headers_complete()
        # What comes behind the body is no header of the request (RFC 9110, section 6.5.1).
        self.headers = []

    def on_message_complete(self) -> None:
        """All of a body has come."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read, and hang up."""
        head = (
            STATUS_LINE[400],
            b"content-type: application/problem+json\r\n",
            b"content-length: %d\r\nconnection: close\r\n\r\n" % len(_NO_HTTP),
        )
        self.transport.write(b"".join([*head, _NO_HTTP]))
        self.transport.close()

    def _go_on(self, rest: memoryview) -> None:
        """Read a request again, without its offer, and what came behind its headers."""
        while self._again:
            # The old one goes on behind the headers, as if there were no body.
            self.parser = httptools.HttpRequestParser(self)
            # As uvicorn has it: bytes may follow a request that says it is the last.
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self.parser.feed_data(self._again)
            try:
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as offer:  # of a later request
                rest = rest[offer.args[0] :]
        self.send_400_response("")

    def _without_offer(self) -> bytes:
        method = self.parser.get_method()
        if method == b"CONNECT":  # what follows would not be HTTP, whatever is answered
            return b""
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b\r\n" % (method, self.url, version)]
        lines += [
            b"%b: %b\r\n" % (name, value) for name, value in self.headers if name != b"upgrade"
        ]
        return b"".join([*lines, b"\r\n"])
