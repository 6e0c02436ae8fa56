"""A small HTTP/1.1 server for calls from this device: JSON, keep-alive, and a limit for everything (RFC
9112).

It takes bodies with a ``Content-Length`` only.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

log = logging.getLogger(__name__)

#: Bytes of the request line with all headers; connections at once; seconds that a caller may be silent.
MAX_HEAD, MAX_CONNECTIONS, IDLE = 16 * 1024, 16, 60.0
#: Bytes and seconds for what a caller still sends after the answer that ends its connection.
MAX_DRAINED, LINGER = 32 * 1024 * 1024, 2.0


@dataclass(frozen=True, slots=True)
class LocalRequest:
    """A request that was read whole."""

    method: str
    #: Without the query.
    path: str
    #: Names in lower case.
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class LocalAnswer:
    """A status and JSON."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


class Problem(Exception):
    """Ends a request with an error."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.answer = problem(status, detail)


def problem(status: int, detail: str) -> LocalAnswer:
    """An error as problem JSON (RFC 9457)."""
    title = HTTPStatus(status).phrase
    return LocalAnswer(
        status, {"type": "about:blank", "title": title, "status": status, "detail": detail}
    )


Handler = Callable[[LocalRequest], Awaitable[LocalAnswer]]


class HttpServer:
    """Serves one handler."""

    def __init__(self, handler: Handler, *, max_body: int) -> None:
        """
        Args:
            max_body: bytes of a body.
        """
        self._handler = handler
        self._max_body = max_body
        self._open = 0

    async def start(self, host: str, port: int) -> asyncio.Server:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        return await asyncio.start_server(self._serve, host, port, limit=MAX_HEAD)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open > MAX_CONNECTIONS:
                detail = f"{MAX_CONNECTIONS} connections are open already"
                await _write(writer, problem(503, detail), keep=False)
                return
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass  # the caller went away
        finally:
            self._open -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether another may follow."""
        try:
            request = await self._read(reader, writer)
            if request is None:
                return False
        except Problem as error:
            await _write(writer, error.answer, keep=False)
            await _drain(reader, writer)
            return False
        keep = request.headers.get("connection", "").lower() != "close"
        try:
            answer = await self._handler(request)
        except Problem as error:
            answer = error.answer
        except Exception:
            log.exception("a request failed")
            answer = problem(500, "the agent made an error; its log says which")
        await _write(writer, answer, keep=keep)
        return keep

    async def _read(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> LocalRequest | None:
        try:
            async with asyncio.timeout(IDLE):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            raise Problem(431, f"the headers have more than {MAX_HEAD:,} bytes") from None
        except asyncio.IncompleteReadError as error:
            if error.partial.strip():
                raise Problem(400, "the request ends within its headers") from None
            return None
        method, path, headers = _head(head)
        length = self._length(headers)
        if headers.get("expect", "").lower() == "100-continue" and length:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        async with asyncio.timeout(IDLE):
            body = await reader.readexactly(length)
        return LocalRequest(method, path.partition("?")[0], headers, body)

    def _length(self, headers: Mapping[str, str]) -> int:
        if "transfer-encoding" in headers:
            raise Problem(411, "cannot read the body: it has to have a Content-Length")
        text = headers.get("content-length", "0")
        if not (text.isascii() and text.isdigit() and len(text) < 16):
            raise Problem(400, "cannot read the body: Content-Length is no number")
        if int(text) > self._max_body:
            raise Problem(413, f"cannot take the body: it has more than {self._max_body:,} bytes")
        return int(text)


async def _drain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Let a caller finish that still sends what is not taken: else the kernel throws the answer away."""
    writer.write_eof()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            for _ in range(MAX_DRAINED // MAX_HEAD):
                if not await reader.read(MAX_HEAD):
                    return


def _head(head: bytes) -> tuple[str, str, dict[str, str]]:
    line, *rest = head[:-4].decode("latin-1").split("\r\n")
    parts = line.split(" ")
    if len(parts) != 3 or parts[2] not in {"HTTP/1.1", "HTTP/1.0"} or not parts[1].startswith("/"):
        raise Problem(400, "cannot read the request: its first line is not that of HTTP/1.1")
    headers: dict[str, str] = {}
    for one in rest:
        name, colon, value = one.partition(":")
        name = name.lower()
        # Two lengths or a name with a space: others might read the request in another way.
        if (
            not colon
            or not name
            or name != name.strip()
            or (name in headers and name == "content-length")
        ):
            raise Problem(400, "cannot read the request: a header is not usable")
        headers[name] = value.strip()
    if parts[2] == "HTTP/1.0":
        headers["connection"] = "close"
    return parts[0], parts[1], headers


async def _write(writer: asyncio.StreamWriter, answer: LocalAnswer, *, keep: bool) -> None:
    body = json.dumps(answer.body).encode() + b"\n"
    kind = "application/problem+json" if answer.status >= 400 else "application/json"
    lines = [
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in answer.headers.items()),
        f"Connection: {'keep-alive' if keep else 'close'}",
    ]
    writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
    await writer.drain()
