"""The controller's end of a proxy's control socket, see :mod:`model_deployment.proxy.protocol`."""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable
from pathlib import Path

from model_deployment.http.unix_sockets import open_folder
from model_deployment.proxy import protocol
from model_deployment.proxy.protocol import Message

_log = logging.getLogger(__name__)

#: Bytes that wait for a proxy which does not read; then the link is closed.
_MOST_UNREAD = 64 * 1024 * 1024


class LinkClosed(Exception):
    """The proxy has ended, or does not listen."""


class ProxyLink:
    """One open connection."""

    def __init__(
        self,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        on_event: Callable[[Message], None],
        on_close: Callable[[], None],
    ) -> None:
        """
        Args:
            on_event: called with each message that is no answer.
            on_close: called once, when the proxy has hung up.
        """
        self._reader, self._writer = streams
        self._on_event = on_event
        self._on_close = on_close
        self._answers: dict[int, asyncio.Future[Message]] = {}
        self._numbers = itertools.count(1)
        self._task = asyncio.create_task(self._listen(), name="proxy link")

    @classmethod
    async def connect(
        cls,
        folder: Path,
        name: str,
        on_event: Callable[[Message], None],
        on_close: Callable[[], None],
    ) -> "ProxyLink":
        """
        Raises:
            LinkClosed: nothing listens there.
        """
        try:
            with open_folder(folder) as path:
                streams = await asyncio.open_unix_connection(
                    f"{path}/{name}", limit=protocol.LONGEST
                )
        except OSError as error:
            raise LinkClosed(f"cannot connect to the proxy: {error.strerror}") from None
        return cls(streams, on_event, on_close)

    def send(self, op: str, **more: object) -> None:
        """Send a message that has no answer. A link that is closed drops it."""
        if self._writer.transport.get_write_buffer_size() > _MOST_UNREAD:
            self._writer.transport.abort()
        elif not self._writer.transport.is_closing():
            self._writer.write(protocol.encode({"op": op, **more}))

    async def ask(self, op: str, **more: object) -> Message:
        """The answer to a message.

        Raises:
            LinkClosed: the proxy hung up before it answered.
        """
        number = next(self._numbers)
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        try:
            if self._task.done():
                raise LinkClosed("the proxy has hung up")
            self.send(op, id=number, **more)
            return await future
        finally:
            del self._answers[number]

    async def close(self) -> None:
        """Hang up; the proxy goes on."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self) -> None:
        try:
            while line := await self._reader.readline():
                message = protocol.decode(line)
                if "event" in message:
                    self._on_event(message)
                elif (future := self._answers.get(message.get("id", 0))) and not future.done():
                    future.set_result(message)
        except (OSError, ValueError) as error:
            _log.warning("cannot read from a proxy: %s", error)
        finally:
            for future in self._answers.values():
                if not future.done():
                    future.set_exception(LinkClosed("the proxy has hung up"))
            self._writer.close()
            with contextlib.suppress(Exception):
                self._on_close()
