"""HTTP/1.1 by hand, for both ends: strict in what it reads, and able to misbehave."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

HOST = "127.0.0.1"
#: Bytes of a piece of a body.
PIECE = 64 * 1024


@dataclass
class Message:
    """A request or an answer; the names of its headers in lower case."""

    start: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    _left: int = field(default=0, repr=False)  # bytes of the body to come; -1: chunked

    def get(self, name: str) -> str | None:
        """The value of a header that comes once, or None."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) < 2, f"{name} comes {len(values)} times"
        return values[0] if values else None

    @property
    def status(self) -> int:
        return int(self.start.split(" ")[1])

    @property
    def target(self) -> str:
        return self.start.split(" ")[1]

    def problem(self, status: int) -> Any:
        """The problem document, which it has to be."""
        assert self.status == status, self
        assert self.get("content-type") == "application/problem+json"
        problem = json.loads(self.body)
        assert problem["status"] == status
        assert problem["detail"].startswith("cannot ")
        return problem


class Wire:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection(HOST, port))

    async def send(self, *data: bytes) -> None:
        self.writer.write(b"".join(data))
        await self.writer.drain()

    async def head(self) -> Message | None:
        """Start line and headers of the next message; None where the connection ends before it."""
        try:
            lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise
            return None
        pairs = [line.partition(": ")[::2] for line in lines[1:]]
        message = Message(lines[0], [(name.lower(), value) for name, value in pairs])
        length = message.get("content-length")
        chunked = message.get("transfer-encoding") == "chunked"
        assert not (length and chunked), message
        message._left = -1 if chunked else int(length or 0)
        return message

    async def piece(self, message: Message) -> bytes:
        """The next piece of a message's body; empty at its end.

        Raises:
            asyncio.IncompleteReadError: the connection ended before the body did.
        """
        if message._left < 0:
            size = int((await self._reader.readuntil(b"\r\n"))[:-2], 16)
            data = (await self._reader.readexactly(size + 2))[:-2]
            message._left = -1 if size else 0
        elif message._left:
            data = await self._reader.read(min(message._left, PIECE))
            if not data:
                raise asyncio.IncompleteReadError(data, message._left)
            message._left -= len(data)
        else:
            data = b""
        message.body += data
        return data

    async def next(self) -> Message | None:
        """The next message, whole; None where the connection ends before it."""
        message = await self.head()
        if message:
            await self.rest(message)
        return message

    async def rest(self, message: Message) -> None:
        """The rest of a message's body."""
        while await self.piece(message):
            pass

    async def receive(self) -> Message:
        """The next message, which there has to be."""
        message = await self.next()
        assert message, "the connection ended, and there was no answer"
        return message

    async def ask(self, *data: bytes) -> Message:
        """Send, and read an answer."""
        await self.send(*data)
        return await self.receive()

    async def ended(self) -> bool:
        """Wait until the other end closes; what else it sends is thrown away."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(PIECE):
                pass
        return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        raw: socket.socket = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def head(start: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """Start line and headers as bytes."""
    lines = [start, *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def post(body: bytes = b"", path: str = "/iris-1", **headers: str) -> bytes:
    """A request with a declared length; headers are named with ``_`` for ``-``."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    fields = {"host": "proxy", "content-length": str(len(body))} | fields
    return head(f"POST {path} HTTP/1.1", fields.items()) + body


def post_json(value: object, path: str = "/iris-1", **headers: str) -> bytes:
    """A request with a value as JSON."""
    return post(json.dumps(value).encode(), path, content_type="application/json", **headers)


def post_chunked(*pieces: bytes, path: str = "/iris-1", end: bool = True) -> bytes:
    """A request whose length is not declared; without its end if there is more to come."""
    fields = [("host", "proxy"), ("transfer-encoding", "chunked")]
    return head(f"POST {path} HTTP/1.1", fields) + chunks(*pieces, end=end)


def chunks(*pieces: bytes, end: bool = False) -> bytes:
    """Pieces of a chunked body."""
    data = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece)
    return data + b"0\r\n\r\n" * end
