"""One connection to a warm parent: assigns answers to requests, and passes on what the parent reports."""

import asyncio
import contextlib
import itertools
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model_deployment.http.unix_sockets import open_folder
from model_deployment.runtime import identity
from model_deployment.worker import protocol

_log = logging.getLogger(__name__)

Message = dict[str, Any]


class ParentUnavailable(Exception):
    """There is no warm parent, or it cannot be used; the message says why."""


class ParentUnfit(ParentUnavailable):
    """The interpreter cannot run a warm parent, however often one is started; the message says why."""


class ParentRefused(Exception):
    """The warm parent answered that it cannot do this."""


class ParentConnection:
    """Speaks :mod:`model_deployment.worker.protocol`."""

    def __init__(
        self,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        on_event: Callable[[Message], None],
        on_close: Callable[["ParentConnection"], None],
    ) -> None:
        """Of open streams; ``on_close`` is called once, whoever closes the connection."""
        reader, self._writer = streams
        self._on_event = on_event
        self._on_close = on_close
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._numbers = itertools.count(1)
        self._closed = False
        own: socket.socket = self._writer.get_extra_info("socket")
        self.peer = identity.peer_of(own)
        self._listener = asyncio.create_task(self._listen(reader))

    async def ask(self, op: str, patience: float, **more: Any) -> Message:
        """The answer to a request.

        Raises:
            ParentUnavailable: the connection is closed.
            TimeoutError: there was no answer within ``patience`` seconds.
            OSError: what the system said to the parent.
            ParentRefused: the parent cannot do that.
        """
        number = next(self._numbers)
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            if self._closed:
                raise ParentUnavailable("the warm parent is gone")
            self._writer.write(protocol.encode({"op": op, "id": number, **more}))
            async with asyncio.timeout(patience):
                answer = await future
        finally:
            self._waiting.pop(number, None)
        if "error" not in answer:
            return answer
        if answer.get("errno"):
            raise OSError(answer["errno"], answer["error"])
        raise ParentRefused(answer["error"])

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                message = protocol.decode(line)
                if "event" in message:
                    self._on_event(message)
                elif (future := self._waiting.get(message.get("id", 0))) and not future.done():
                    future.set_result(message)
        except (OSError, ValueError) as error:
            _log.warning("cannot read from the warm parent: %s", error)
        finally:
            self.close()

    def close(self) -> None:
        """Hang up; the parent goes on as long as it has something to do. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._writer.close()
        self._listener.cancel()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ParentUnavailable("the warm parent is gone"))
        self._on_close(self)

    async def wait_closed(self) -> None:
        await asyncio.gather(self._listener, return_exceptions=True)


async def open_streams(
    folder: Path, name: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    """Connect to a Unix socket; None where nothing listens there."""
    with contextlib.ExitStack() as stack:
        try:
            path = stack.enter_context(open_folder(folder))
        except OSError:
            return None
        try:
            return await asyncio.open_unix_connection(f"{path}/{name}", limit=protocol.LONGEST)
        except (FileNotFoundError, ConnectionError):
            return None
