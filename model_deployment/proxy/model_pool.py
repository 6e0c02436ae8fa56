"""The connections to the server of one launch: opened when needed, kept while they are in use."""

import asyncio
from pathlib import Path

from model_deployment.core.domain import Address
from model_deployment.http.unix_sockets import connected
from model_deployment.proxy.model_connection import ModelConnection

#: Seconds. uvicorn closes a connection that was idle for 5 s. Only by closing it first is a request never
#: sent into a connection that is being closed: a POST must not be sent again.
KEEPALIVE = 4.0
#: Seconds that opening a connection may take.
_CONNECT_TIMEOUT = 5.0
#: Seconds between looks at the connections. One timer serves all calls.
_LOOK = 1.0


class NotConnected(Exception):
    """The server does not accept connections."""


class NotAccepted(Exception):
    """The server has not accepted a connection in time."""


class ModelPool:
    """Connections for one request at a time each; the most recently used one is used next."""

    def __init__(self, address: Address, *, read_timeout: float, answer_bytes: int) -> None:
        """
        Args:
            read_timeout: seconds without a sign of life after which a call is given up.
            answer_bytes: bytes that an answer which is read whole may have.
        """
        self._address = address
        self._read_timeout = read_timeout
        self._answer_bytes = answer_bytes
        self._loop = asyncio.get_running_loop()
        self._idle: list[ModelConnection] = []
        self._busy: set[ModelConnection] = set()
        self._look_every = min(_LOOK, read_timeout / 4)
        self._timer: asyncio.TimerHandle | None = None
        self.closed = False

    async def take(self) -> ModelConnection:
        """A connection for one request; give it to :meth:`put_back` afterwards.

        Raises:
            NotConnected: there is none.
            NotAccepted: the server does not accept one in time.
        """
        connection = self._take_idle()
        if connection is None:
            connection = await self._connect()
        self._busy.add(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(self._look_every, self._look)
        return connection

    def put_back(self, connection: ModelConnection) -> None:
        """End the use of a connection: keep it, or close it if its answer is not complete."""
        self._busy.discard(connection)
        if connection.done() and not self.closed:
            self._idle.append(connection)
        else:
            connection.transport.abort()

    def close(self) -> None:
        """Close all connections. Calls under way have been aborted."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        for connection in (*self._idle, *self._busy):
            connection.transport.abort()

    def _take_idle(self) -> ModelConnection | None:
        oldest = self._loop.time() - KEEPALIVE
        while self._idle:
            connection = self._idle.pop()
            if connection.since > oldest and connection.reusable:
                return connection
            connection.transport.abort()
        return None

    async def _connect(self) -> ModelConnection:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                return await self._open()
        except TimeoutError as error:
            raise NotAccepted from error
        except OSError as error:
            raise NotConnected(str(error)) from error

    async def _open(self) -> ModelConnection:
        address = self._address
        if address.path:
            _, connection = await self._loop.create_unix_connection(
                self._new, sock=await connected(Path(address.path))
            )
        else:
            _, connection = await self._loop.create_connection(
                self._new, address.host, address.port
            )
        return connection

    def _new(self) -> ModelConnection:
        return ModelConnection(self._lost, self._answer_bytes)

    def _lost(self, connection: ModelConnection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)

    def _look(self) -> None:
        """Give up calls without a sign of life, and close connections that are idle for long."""
        now = self._loop.time()
        for connection in [*self._busy]:
            connection.expire(now - self._read_timeout)
        while self._idle and self._idle[0].since <= now - KEEPALIVE:
            self._idle.pop(0).transport.abort()
        more = self._idle or self._busy
        self._timer = self._loop.call_later(self._look_every, self._look) if more else None
