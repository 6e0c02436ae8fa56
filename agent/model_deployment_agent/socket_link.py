"""The socket: says hello, sends what waits, takes what is desired, and notices when nobody is there any
more.

Protocol: ``docs/reference/device-protocol.md``. Numbers are kept in the outbox, so a connection may end
at any byte.
"""

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    WebSocketException,
)

from model_deployment_agent import __version__
from model_deployment_agent.controller import segment
from model_deployment_agent.conversation import PROTOCOL, Conversation, wait_any
from model_deployment_agent.errors import AgentError, TokenRejected, Unreachable

log = logging.getLogger(__name__)

#: Seconds between two signs of life, and without one of the controller before it counts as gone.
PING_EVERY, SILENCE = 20.0, 60.0
#: Bytes of a frame.
MAX_FRAME = 1024 * 1024
#: Characters of messages that are read from the store at once.
_AT_ONCE = 256 * 1024
#: Close codes of the controller.
_BAD_TOKEN, _REPLACED = 4401, 4409


class Replaced(Unreachable):
    """Another connection took the place of this one: another agent has the same token."""


class NoSocket(Unreachable):
    """The controller or something before it does not let the socket through; calls may get through."""


class NewStream(Unreachable):
    """The numbers of messages did not fit: a new stream has begun, and hello has to be said again."""


class SocketLink:
    """Connections one after the other; each lasts until it raises."""

    def __init__(self, conversation: Conversation) -> None:
        self._with = conversation
        #: When this connection was welcomed; monotonic seconds, None before.
        self.welcomed: float | None = None
        #: Something came over this connection.
        self.through = False
        self._welcome = asyncio.Event()
        self._sent = 0
        self._heard = 0.0

    async def converse(self) -> None:
        """Connect, and talk until the connection ends.

        Raises:
            TokenRejected, Replaced, NoSocket, NewStream, Unreachable: why it ended.
        """
        self.welcomed, self.through = None, False
        self._welcome.clear()
        controller, identity = self._with.controller, self._with.identity
        url = f"{controller.address.socket_url}/ws/{segment(identity.device)}"
        token = await asyncio.to_thread(self._with.folder.token_of, identity)
        try:
            async with connect(
                url,
                ssl=controller.tls(),
                proxy=None,
                compression=None,
                max_size=MAX_FRAME,
                max_queue=4,
                ping_interval=None,  # the protocol has pings of its own
                open_timeout=20,
                close_timeout=3,
                user_agent_header=f"model-deployment-agent/{__version__}",
                additional_headers={"Authorization": f"Bearer {token}"},
            ) as socket:
                await self._talk(socket)
        except InvalidStatus as error:
            status = error.response.status_code
            if status in {401, 403}:
                raise TokenRejected(f"the controller answered {status} to the socket") from error
            raise NoSocket(f"the controller answered {status} to the socket") from error
        except ConnectionClosed as error:
            self.through = self.through or error.rcvd is not None
            raise _why_closed(error) from error
        except InvalidHandshake as error:
            raise NoSocket(f"the socket was not opened: {error!a:.200}") from error
        except (OSError, WebSocketException) as error:
            raise Unreachable(f"cannot reach the controller: {error!a:.200}") from error

    async def _talk(self, socket: ClientConnection) -> None:
        hello = {
            "type": "hello",
            "protocol": PROTOCOL,
            "agent": __version__,
            "stream": self._with.outbox.stream(),
            "running": self._with.running(),
        }
        await socket.send(json.dumps(hello))
        self._heard = time.monotonic()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen(socket))
                tasks.create_task(self._speak(socket))
        except ExceptionGroup as errors:
            raise _leaves(errors)[0] from None

    async def _listen(self, socket: ClientConnection) -> None:
        while True:
            left = self._heard + SILENCE - time.monotonic()
            try:
                async with asyncio.timeout(max(0.0, left)):
                    text = await socket.recv()
            except TimeoutError:
                raise Unreachable(f"the controller said nothing for {SILENCE:g} s") from None
            self._heard, self.through = time.monotonic(), True
            try:
                frame = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise Unreachable(f"the controller sent no JSON: {error!a:.100}") from error
            if isinstance(frame, Mapping):
                try:
                    self._take(frame)
                except (TypeError, ValueError, OverflowError) as error:
                    raise Unreachable(
                        f"cannot take what the controller sent: {error!a:.100}"
                    ) from error

    def _take(self, frame: Mapping[str, Any]) -> None:
        match frame.get("type"):
            case "welcome":
                self._with.told_time(frame.get("time"))
                received = _whole(frame.get("received"))
                if not self._with.outbox.resume(received):
                    raise NewStream("the numbers of messages did not fit; a new stream begins")
                self._sent = received
                self.welcomed = time.monotonic()
                self._welcome.set()
                self._with.state.generation = _whole(frame.get("generation", 0))
                self._with.state.state, self._with.state.reason = "connected", "over a socket"
                log.info("connected to %s", self._with.identity.url)
            case "ack":
                self._with.outbox.acknowledge(min(_whole(frame.get("seq")), self._sent))
            case "desired":
                self._with.offered(frame.get("release"))
            case "command":
                self._with.commands.take(frame)
            case "bye":
                log.info("the controller ends the connection: %.200r", frame.get("reason"))

    async def _speak(self, socket: ClientConnection) -> None:
        """Send what waits, and a ping when nothing does."""
        changed = self._with.outbox.changed
        await self._welcome.wait()
        await self._ping(socket)
        pinged = time.monotonic()
        while True:
            changed.clear()
            while messages := self._with.outbox.next(self._sent, size=_AT_ONCE):
                for message in messages:
                    await socket.send(json.dumps({"type": "message", **message.as_dict()}))
                    self._sent = message.seq
            left = pinged + PING_EVERY - time.monotonic()
            if left <= 0 or not await wait_any(changed, left):
                await self._ping(socket)
                pinged = time.monotonic()

    async def _ping(self, socket: ClientConnection) -> None:
        await socket.send(json.dumps({"type": "ping", "health": dict(self._with.health())}))


def _whole(found: Any) -> int:
    if type(found) is not int or found < 0:
        raise Unreachable(f"the controller sent no number where one has to be: {found!a:.60}")
    return found


def _why_closed(error: ConnectionClosed) -> AgentError:
    code = error.rcvd.code if error.rcvd else None
    reason = error.rcvd.reason if error.rcvd else ""
    text = f"the connection ended (code {code}{': ' + reason if reason else ''})"
    if code == _BAD_TOKEN:
        return TokenRejected(text)
    return Replaced(text) if code == _REPLACED else Unreachable(text)


def _leaves(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    found: list[Exception] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
