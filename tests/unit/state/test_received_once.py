"""Whatever is sent again, left out or lost on the way: each message is in the store once, in its order.

Devices send windows of their messages over connections that are replaced, and without one. The controller
dies in the middle of transactions, and after them before it acknowledges. A carrier moves messages to a
document store, and dies before it has removed them.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from model_deployment.core.device_messages import BrokenMessage, ReceivedBatch, StoredMessage
from model_deployment.core.devices import Device, DeviceMessage, MessageKind
from model_deployment.state import received
from model_deployment.state.database import Database
from tests.support.stored_devices import WHEN, DeviceStores, answer, log, metrics, progress

Message = DeviceMessage | BrokenMessage
CARRIED = [MessageKind.METRICS, MessageKind.CAPTURES]
STATES = st.sampled_from(["downloading", "trying", "running", "failed"])


class Died(Exception):
    """The controller ended here."""


@dataclass
class Sent:
    """A stream of a device, and how much of it has to be in the store."""

    name: str
    messages: list[Message] = field(default_factory=list)
    stored: int = 0
    acknowledged: int = 0


@dataclass
class Sender:
    """A device."""

    row: Device
    #: The id of a command that it got.
    command: int
    #: Generations that it has connections with; the last one is the newest.
    connections: list[int]
    streams: list[Sent]

    @property
    def stream(self) -> Sent:
        return self.streams[-1]


devices = st.integers(0, 2)


class Delivery(RuleBasedStateMachine):
    """See above."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folders = [self._folder()]
        #: By device, stream and number.
        self.documents: dict[tuple[int, str, int], object] = {}
        self.carried: list[tuple[int, str, int]] = []
        self.names = count(1)

    def _folder(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="delivery-"))

    @initialize()
    def begin(self) -> None:
        self.open()
        self.senders = [self.runner.run(self._sender(n)) for n in range(3)]

    async def _sender(self, number: int) -> Sender:
        project = "hall" if number < 2 else "other"
        row = await self.store.connected(f"camera-{number}", project)
        if number != 1:
            await self.store.release(project=project)
        (command,) = await self.store.commands.order([row.id], "dark", True, "ann")
        return Sender(row, command.id, [row.generation], [Sent("s")])

    def open(self) -> None:
        self.database = Database(self.folders[-1] / "state.db")
        self.runner.run(self.database.open())
        self.store = DeviceStores(self.database)

    # What devices do.

    @rule(who=devices, kind=st.sampled_from(["metrics", "log", "broken", "answer"]))
    def write(self, who: int, kind: str) -> None:
        """A device adds a message to its store."""
        messages = self.senders[who].stream.messages
        seq = len(messages) + 1
        text = f"{who}-{self.senders[who].stream.name}-{seq}"
        made: dict[str, Message] = {
            "metrics": metrics(seq, minute=seq * 7 + who),
            "log": log(seq, text),
            "broken": BrokenMessage(seq, text),
            "answer": answer(seq, self.senders[who].command, detail=text),
        }
        messages.append(made[kind])

    @rule(who=devices, state=STATES, number=st.integers(1, 2))
    def report(self, who: int, state: str, number: int) -> None:
        messages = self.senders[who].stream.messages
        seq = len(messages) + 1
        messages.append(progress(seq, number, state, f"reason {seq}"))

    @rule(who=devices, new=st.booleans())
    def connect(self, who: int, new: bool) -> None:
        """A device connects again, with a new store of messages if it has lost the one before."""
        sender = self.senders[who]
        if new:
            sender.streams.append(Sent(f"t{next(self.names)}"))
        row = self.runner.run(
            self.store.devices.connect(
                sender.row, stream=sender.stream.name, agent="1.0.0", running=None
            )
        )
        assert row.received == sender.stream.stored
        sender.stream.acknowledged = row.received
        sender.connections.append(row.generation)

    @rule(
        windows=st.lists(
            st.tuples(devices, st.integers(-3, 2), st.integers(0, 6), st.sampled_from([-1, -1, 0, None])),
            min_size=1,
            max_size=5,
        ),
        fate=st.sampled_from(["told", "told", "not told", "died before", "died after"]),
        place=st.integers(0, 8),
    )  # fmt: skip
    def send(self, windows: list[tuple[int, int, int, int | None]], fate: str, place: int) -> None:
        """Devices send from what was acknowledged, earlier or later; over the newest connection or not."""
        batches, kept = [], [(one.stream, one.stream.stored) for one in self.senders]
        for who, offset, length, connection in windows:
            sender = self.senders[who]
            start = max(0, sender.stream.acknowledged + offset)
            window = sender.stream.messages[start : start + length]
            generation = None if connection is None else sender.connections[connection]
            batches.append(
                ReceivedBatch(sender.row.id, generation, sender.stream.name, window, WHEN)
            )
            if generation in (None, sender.connections[-1]):
                for message in window:
                    sender.stream.stored += message.seq == sender.stream.stored + 1
        try:
            with died_at(place) if fate == "died before" else still():
                told = self.runner.run(self.store.devices.receive(batches))
        except Died:
            for stream, stored in kept:
                stream.stored = stored
            self.crash()
            return
        if fate == "died after":
            self.crash()
        elif fate == "told":
            self._tell(windows, told)

    def _tell(self, windows: list[tuple[int, int, int, int | None]], told: dict[int, int]) -> None:
        for who, sender in enumerate(self.senders):
            newest = {
                connection is None or sender.connections[connection] == sender.connections[-1]
                for one, _, _, connection in windows
                if one == who
            }
            if newest == {True}:
                assert told.pop(sender.row.id) == sender.stream.stored
                sender.stream.acknowledged = sender.stream.stored
        assert told == {}

    # What becomes of the controller.

    @rule()
    def crash(self) -> None:
        """The controller is killed: what is on the disk is all that there is."""
        after = self._folder()
        for path in self.folders[-1].iterdir():
            if path.name != "state.db-shm":  # it is shared memory
                shutil.copyfile(path, after / path.name)
        self.runner.run(self.database.close())
        self.folders.append(after)
        self.open()

    @rule(limit=st.integers(1, 5), dies=st.booleans())
    def carry(self, limit: int, dies: bool) -> None:
        """Messages are moved to the document store."""
        found = self.runner.run(self.store.messages.pending(CARRIED, limit))
        for one in found:
            place = (one.device_id, one.stream, one.seq)
            assert self.documents.setdefault(place, one.data) == one.data
            if place not in self.carried:
                self.carried.append(place)
        if not dies:
            self.runner.run(self.store.messages.remove(one.id for one in found))

    # What has to hold.

    @invariant()
    def each_is_stored_once_and_in_order(self) -> None:
        everything = self.runner.run(self.store.messages.pending([*MessageKind], 10_000))
        for sender in self.senders:
            for stream in sender.streams:
                self._check(sender, stream, [one for one in everything if one.stream == stream.name
                                             and one.device_id == sender.row.id])  # fmt: skip
            row = self.runner.run(self.store.reread(sender.row))
            if row.stream == sender.stream.name:
                assert row.received == sender.stream.stored
            self._check_update(sender)

    def _check(self, sender: Sender, stream: Sent, rows: list[StoredMessage]) -> None:
        whole = stream.messages[: stream.stored]
        seqs = [row.seq for row in rows]
        assert seqs == sorted(set(seqs))
        here = {row.seq: row for row in rows}
        carried = [
            seq for id, name, seq in self.carried if (id, name) == (sender.row.id, stream.name)
        ]
        assert carried == sorted(carried)
        for message in whole:
            place = (sender.row.id, stream.name, message.seq)
            if isinstance(message, DeviceMessage) and message.kind is MessageKind.METRICS:
                found = self.documents.get(place) or here[message.seq].data
                assert found == message.data
            elif isinstance(message, DeviceMessage) and message.kind is MessageKind.LOG:
                assert here[message.seq].data == message.data
            elif isinstance(message, BrokenMessage):
                assert message.reason in here[message.seq].data["lines"][0]["text"]
        assert all(seq <= stream.stored for seq in (*here, *carried))

    def _check_update(self, sender: Sender) -> None:
        """The newest report that is stored counts, and the first answer; there is no release 2."""
        stored = [one for stream in sender.streams for one in stream.messages[: stream.stored]]
        told = [one for one in stored if isinstance(one, DeviceMessage)]
        reports = [
            one.data
            for one in told
            if one.kind is MessageKind.PROGRESS and one.data["release"] == 1
        ]
        updates = self.runner.run(self.store.releases.updates_of(sender.row))
        assert [(one.number, one.state, one.reason) for one in updates] == [
            (1, one["state"], one["reason"]) for one in reports[-1:]
        ]
        answers = [one.data["detail"] for one in told if one.kind is MessageKind.ANSWER]
        (command,) = self.runner.run(self.store.commands.of(sender.row, 9))
        assert command.answer == (answers[0] if answers else "")

    def teardown(self) -> None:
        self.runner.run(self.database.close())
        self.runner.close()
        for folder in self.folders:
            shutil.rmtree(folder)


@contextmanager
def died_at(place: int) -> Iterator[None]:
    """The controller ends before it has stored the message at a place in the transaction."""
    whole, stored = received._store_one, count()

    def until(*arguments: object) -> None:
        if next(stored) == place:
            raise Died
        whole(*arguments)  # type: ignore[arg-type]

    with patch.object(received, "_store_one", until):
        yield


@contextmanager
def still() -> Iterator[None]:
    """Nothing happens."""
    yield


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(max_examples=10, stateful_step_count=25, deadline=None)
