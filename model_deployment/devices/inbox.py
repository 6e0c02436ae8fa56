"""Stores what devices send: the messages of all devices of some milliseconds in one transaction.

A message is acknowledged after it was stored. Until then the device keeps it, and the inbox has it in
memory, which is limited. What does not fit in waits outside: in the sockets, and at last in the devices.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from model_deployment.core.device_messages import BrokenMessage, ReceivedBatch
from model_deployment.core.devices import DeviceMessage
from model_deployment.core.errors import Unavailable
from model_deployment.devices.document_backlog import CARRIED, DocumentBacklog
from model_deployment.state.database import DatabaseError

_log = logging.getLogger(__name__)

#: Seconds that messages wait for others to share their transaction.
_GATHER = 0.02
#: Messages of one transaction, of all devices and of one; and bytes after which no message is added.
_MESSAGES, _OF_ONE, _BYTES = 1000, 64, 4 * 1024 * 1024
#: Bytes that may wait in memory.
_CAPACITY = 32 * 1024 * 1024
#: Seconds between tries while the state database cannot be written, growing.
_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
#: Seconds between two lines of the log about that.
_QUIET = 60.0

Message = DeviceMessage | BrokenMessage
#: Called with the number of the last stored message of the stream; with None if the message was not stored,
#: since the device was revoked or has a newer connection.
Stored = Callable[[int | None], None]


class MessageRows(Protocol):
    """``state/devices.py`` has them."""

    async def receive(self, batches: Sequence[ReceivedBatch]) -> Mapping[int, int]: ...


@dataclass(frozen=True, slots=True)
class Origin:
    """Where messages come from."""

    device_id: int
    #: Of the connection; None: without one.
    generation: int | None
    stream: str


@dataclass(frozen=True, slots=True)
class _Entry:
    message: Message
    #: Bytes of its frame.
    size: int
    #: None: another entry behind it has it.
    stored: Stored | None


@dataclass(slots=True)
class _Taken:
    """What goes into one transaction."""

    entries: dict[Origin, list[_Entry]] = field(default_factory=dict)
    messages: int = 0
    bytes: int = 0

    def add(self, origin: Origin, entry: _Entry) -> bool:
        """Whether there was room for it."""
        if self.messages >= _MESSAGES or self.bytes >= _BYTES:
            return False
        of_one = self.entries.setdefault(origin, [])
        if len(of_one) >= _OF_ONE:
            return False
        of_one.append(entry)
        self.messages += 1
        self.bytes += entry.size
        return True


class Inbox:
    """Devices take turns: what one floods it with keeps no other waiting."""

    def __init__(
        self, rows: MessageRows, backlog: DocumentBacklog, *, capacity: int = _CAPACITY
    ) -> None:
        self._rows = rows
        self._backlog = backlog
        self._capacity = capacity
        #: The oldest messages of each origin first; the origin whose turn it is first.
        self._waiting: dict[Origin, list[_Entry]] = {}
        self._bytes = 0
        self._arrived = asyncio.Event()
        #: Set, and replaced by a new event, after each transaction.
        self._stored = asyncio.Event()
        self._complained = -_QUIET
        self._failing = False
        self._closing = False
        #: Messages that were taken into the database, or that it had already.
        self.messages = 0
        #: Set when something was stored that goes on to the document store.
        self.carried = asyncio.Event()

    @property
    def failing(self) -> bool:
        """Whether the last try to store something failed."""
        return self._failing

    def has_room(self) -> bool:
        """Whether devices that were held up may send again."""
        return not self._failing and self._backlog.has_room and self._bytes < self._capacity // 2

    def accepts(self, message: Message) -> bool:
        """Whether a message may be added, as far as the document store is concerned."""
        carried = isinstance(message, DeviceMessage) and message.kind in CARRIED
        return not (carried and self._backlog.full)

    async def room(self, patience: float) -> bool:
        """Wait until memory has room for a message; False after ``patience`` seconds."""
        try:
            async with asyncio.timeout(patience):
                while self._bytes >= self._capacity:
                    await self._stored.wait()
        except TimeoutError:
            return False
        return True

    def add(self, origin: Origin, message: Message, size: int, stored: Stored | None) -> None:
        """Have a message stored soon; the caller has asked whether there is room."""
        self._waiting.setdefault(origin, []).append(_Entry(message, size, stored))
        self._bytes += size
        self._arrived.set()

    async def put(self, origin: Origin, messages: Sequence[Message], size: int) -> int:
        """Store messages, and return the number of the last stored one of the stream.

        Messages from the first one on that cannot be taken now are not stored: the number says so.

        Args:
            size: bytes of all of them.

        Raises:
            Unavailable: nothing can be stored now; the device keeps its messages.
        """
        if not await self.room(_LONGEST_PAUSE):
            raise _unavailable()
        taken: list[Message] = []
        for message in messages:
            if not self.accepts(message):
                break
            taken.append(message)
        if messages and not taken:
            raise _unavailable()
        done: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

        def stored(number: int | None) -> None:
            if not done.done():
                done.set_result(number)

        each = size // max(1, len(messages))
        for message in taken[:-1]:
            self.add(origin, message, each, None)
        for message in taken[-1:]:
            self.add(origin, message, each, stored)
        try:
            async with asyncio.timeout(2 * _LONGEST_PAUSE):
                number = await done
        except TimeoutError:
            raise _unavailable() from None
        if number is None:
            raise _unavailable()
        return number

    def forget(self, origin: Origin) -> None:
        """Drop what waits of a connection that is over: the device sends it again."""
        for entry in self._waiting.pop(origin, ()):
            self._bytes -= entry.size

    async def run(self) -> None:
        """Store messages until cancelled, or until all is stored after :meth:`close`."""
        pause = _PAUSE
        while not (self._closing and not self._waiting):
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            await asyncio.sleep(0 if self._closing else _GATHER)
            if await self._step():
                pause = _PAUSE
            elif self._closing:
                return
            else:
                await asyncio.sleep(pause)
                pause = min(_LONGEST_PAUSE, 2 * pause)

    def close(self) -> None:
        """Let :meth:`run` end when all is stored that can be."""
        self._closing = True
        self._arrived.set()

    async def _step(self) -> bool:
        """One transaction; False if it failed, and all waits as before."""
        taken = self._take()
        if not taken.messages:
            return True
        try:
            numbers = await self._store(taken.entries)
        except DatabaseError as error:
            self._put_back(taken)
            self._complain(error)
            return False
        except BaseException:
            self._put_back(taken)
            raise
        if self._failing:
            _log.info("messages of devices are stored again")
        self._failing = False
        self._bytes -= taken.bytes
        self.messages += taken.messages
        for origin, entries in taken.entries.items():
            number = numbers.get(origin)
            for stored in dict.fromkeys(one.stored for one in entries):
                if stored is not None:
                    stored(number)
        before, self._stored = self._stored, asyncio.Event()
        before.set()
        return True

    def _take(self) -> _Taken:
        taken = _Taken()
        for origin in [*self._waiting]:
            entries = self._waiting.pop(origin)
            number = 0
            while number < len(entries) and taken.add(origin, entries[number]):
                number += 1
            if number < len(entries):
                # The next turn is after those that came meanwhile.
                self._waiting[origin] = entries[number:]
            if taken.messages >= _MESSAGES or taken.bytes >= _BYTES:
                break
        return taken

    def _put_back(self, taken: _Taken) -> None:
        before = taken.entries
        for origin, entries in self._waiting.items():
            before.setdefault(origin, []).extend(entries)
        self._waiting = before

    async def _store(self, taken: Mapping[Origin, Sequence[_Entry]]) -> dict[Origin, int]:
        """What is stored of each device. A batch that makes the transaction fail is tried alone.

        Raises:
            DatabaseError: nothing is stored.
        """
        now = datetime.now(UTC)
        batches = {
            origin: ReceivedBatch(
                origin.device_id,
                origin.generation,
                origin.stream,
                [one.message for one in entries],
                now,
            )
            for origin, entries in taken.items()
        }
        try:
            numbers = await self._rows.receive([*batches.values()])
        except DatabaseError:
            raise
        except Exception:
            if len(batches) == 1:
                # It is not stored; its connection ends, and nobody else's.
                (origin,) = batches
                _log.exception("cannot store the messages of device %s", origin.device_id)
                return {}
            alone: dict[Origin, int] = {}
            for origin, entries in taken.items():
                alone |= await self._store({origin: entries})
            return alone
        for origin, entries in taken.items():
            if origin.device_id in numbers:
                self._note_carried(entries)
        return {one: numbers[one.device_id] for one in taken if one.device_id in numbers}

    def _note_carried(self, entries: Sequence[_Entry]) -> None:
        for one in entries:
            if isinstance(one.message, DeviceMessage) and one.message.kind in CARRIED:
                self._backlog.grew(one.size)
                self.carried.set()

    def _complain(self, error: Exception) -> None:
        self._failing = True
        now = time.monotonic()
        if now - self._complained >= _QUIET:
            self._complained = now
            _log.error("cannot store messages of devices, which keep them: %s", error)


def _unavailable() -> Unavailable:
    return Unavailable(
        "cannot store the messages now: too much waits to be stored; send them again later",
        retry_after=10,
    )
