"""The proxy's end of the control socket: reads the controller's messages, sends reports and events."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from model_deployment.http.unix_sockets import bind_in
from model_deployment.proxy import protocol
from model_deployment.proxy.protocol import Message

_log = logging.getLogger(__name__)

#: Bytes that wait for a controller which does not read; then it is hung up on.
_MOST_UNREAD = 64 * 1024 * 1024

#: Carries out a message; what it returns is the answer to a message with an ``id``.
Handle = Callable[[Message], Awaitable[Message | None]]


class ControlServer:
    """Serves one controller at a time: the one that said ``hello`` last."""

    def __init__(
        self,
        folder: Path,
        name: str,
        listener: socket.socket,
        handle: Handle,
        on_change: Callable[[bool], None] = lambda connected: None,
    ) -> None:
        """
        Args:
            folder: where the control socket is made; only its owner may enter.
            listener: the socket that callers connect to, for the next controller.
            on_change: called when a controller has come, and when it has gone.
        """
        self._folder = folder
        self._name = name
        self._listener = listener
        self._handle = handle
        self._on_change = on_change
        self._server: asyncio.Server | None = None
        self._controller: asyncio.StreamWriter | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        return self._controller is not None

    async def start(self) -> None:
        """
        Raises:
            OSError: the socket cannot be made.
        """
        bound = bind_in(self._folder, self._name)
        self._server = await asyncio.start_unix_server(
            self._serve, sock=bound, limit=protocol.LONGEST
        )

    def send(self, message: Message) -> None:
        """To the controller, if there is one."""
        writer = self._controller
        if writer is None:
            return
        if writer.transport.get_write_buffer_size() > _MOST_UNREAD:
            writer.transport.abort()
            return
        writer.write(protocol.encode(message))

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        (self._folder / self._name).unlink(missing_ok=True)
        controller, self._controller = self._controller, None
        if controller is not None:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await controller.drain()
            controller.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it runs in one
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            while line := await reader.readline():
                await self._carry_out(protocol.decode(line), writer)
        except asyncio.CancelledError:
            return  # the proxy ends; the streams of asyncio would report it as an error
        except (OSError, ValueError) as error:
            _log.warning("cannot read from the controller: %s", error)
        finally:
            writer.close()
            if self._controller is writer:
                self._controller = None
                self._on_change(False)

    async def _carry_out(self, message: Message, writer: asyncio.StreamWriter) -> None:
        if message.get("op") == "listener":
            self._hand_over_listener(writer)
            return
        try:
            answer = await self._handle(message)
        except Exception as error:  # a controller of another release may say anything
            _log.exception("cannot carry out a message of the controller: %s", message.get("op"))
            answer = {"error": repr(error)}
        if "id" in message:
            writer.write(protocol.encode({"id": message["id"], **(answer or {})}))
        if message.get("op") == "hello":
            earlier, self._controller = self._controller, writer
            if earlier is not None and earlier is not writer:
                earlier.close()
            self._on_change(True)

    def _hand_over_listener(self, writer: asyncio.StreamWriter) -> None:
        """Send the descriptor of the listening socket, see unix(7), SCM_RIGHTS."""
        host, port = self._listener.getsockname()[:2]
        line = protocol.encode({"host": host, "port": port})
        descriptor = os.dup(writer.get_extra_info("socket").fileno())
        with socket.socket(fileno=descriptor) as own:
            socket.send_fds(own, [line], [self._listener.fileno()])
