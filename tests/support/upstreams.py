"""Model servers that do with a connection whatever a test wants."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from model_deployment.http.unix_sockets import bind_in
from tests.support.raw_http import HOST, Message, Wire, chunks, head

Headers = Iterable[tuple[str, str]]


class Peer(Wire):
    """A connection of the proxy to an upstream, from the upstream's end."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: "Server"
    ) -> None:
        super().__init__(reader, writer)
        self._server = server

    async def head(self) -> Message | None:
        message = await super().head()
        if message:
            self._server.requests.append(message)
        return message

    async def answer(self, body: bytes = b"", status: int = 200, headers: Headers = ()) -> None:
        """Answer with a declared length."""
        length = ("Content-Length", str(len(body)))
        await self.send(head(f"HTTP/1.1 {status} Whatever", [length, *headers]), body)

    async def begin(self, *pieces: bytes, length: int | None = None) -> None:
        """Begin an answer, chunked or with the length it is going to have."""
        field = ("Transfer-Encoding", "chunked")
        if length is not None:
            field = ("Content-Length", str(length))
        data = chunks(*pieces) if length is None else b"".join(pieces)
        await self.send(head("HTTP/1.1 200 OK", [field]), data)


Behave = Callable[[Peer], Awaitable[None]]


class Server:
    """Listens, and lets a function behave badly on every connection."""

    def __init__(self, behave: Behave, path: Path | None = None) -> None:
        """``path``: of the Unix socket on which it listens; else it listens on a port."""
        self._behave = behave
        self._path = path
        self._handlers: set[asyncio.Task[None]] = set()
        self._failed: list[BaseException] = []
        #: All requests whose headers came, in this order.
        self.requests: list[Message] = []
        #: Connections there ever were.
        self.connections = 0
        self.port = 0

    @property
    def open(self) -> int:
        """Connections there are."""
        return len(self._handlers)

    async def stop_listening(self) -> None:
        """Refuse further connections."""
        self._server.close()

    async def __aenter__(self) -> Self:
        if self._path is not None:
            listener = bind_in(self._path.parent, self._path.name)
            self._server = await asyncio.start_unix_server(self._accept, sock=listener)
            return self
        self._server = await asyncio.start_server(self._accept, HOST, 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        assert not self._failed, self._failed

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        handler = asyncio.get_running_loop().create_task(self._handle(Peer(reader, writer, self)))
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)

    async def _handle(self, peer: Peer) -> None:
        try:
            await self._behave(peer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the proxy broke off, which is for the test to expect or not
        except Exception as error:
            self._failed.append(error)
        finally:
            await peer.close()


async def echo(peer: Peer) -> None:
    """Answer every request with its body."""
    while request := await peer.next():
        await peer.answer(request.body)


async def silent(peer: Peer) -> None:
    """Take requests and never answer."""
    await peer.ended()


def answers(body: bytes = b"", status: int = 200, headers: Headers = ()) -> Behave:
    """Answers every request with the same."""

    async def behave(peer: Peer) -> None:
        while await peer.next():
            await peer.answer(body, status, headers)

    return behave


class HeldUpstream:
    """Holds every request until it is opened, then echoes."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()
        #: Requests that wait here.
        self.held = 0
        #: Of these, those whose connection was closed meanwhile.
        self.left = 0

    def open(self) -> None:
        self._opened.set()

    async def __call__(self, peer: Peer) -> None:
        while request := await peer.next():
            self.held += 1
            opened = asyncio.create_task(self._opened.wait())
            gone = asyncio.create_task(peer.ended())
            await asyncio.wait([opened, gone], return_when=asyncio.FIRST_COMPLETED)
            self.held -= 1
            opened.cancel()
            if gone.done():
                self.left += 1
                return
            gone.cancel()
            await asyncio.gather(opened, gone, return_exceptions=True)
            await peer.answer(request.body)
