"""The outbox: numbers without gaps, nothing lost that was not said to be, under any cuts and any losses."""

import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from model_deployment_agent import outbox
from model_deployment_agent.clock import Clock
from model_deployment_agent.database import Database
from model_deployment_agent.errors import AgentError
from model_deployment_agent.outbox import MAX_UNACKNOWLEDGED, Kind, Outbox


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    found = Database(tmp_path / "agent.sqlite3")
    yield found
    found.close()


def _put(store: Database, kind: Kind, text: str, items: int = 1) -> None:
    with store.transaction() as connection:
        data = {"release": 1, "state": text} if kind == "progress" else {"text": text}
        outbox.put(connection, kind, data, 5, items=items)


def test_urgent_ones_go_first_and_keep_their_numbers(store: Database) -> None:
    box = Outbox(store, Clock())
    assert box.resume(0)
    for kind in ("captures", "log", "metrics", "answer"):
        _put(store, kind, kind)
    first = box.next(0, limit=2)
    assert [(one.seq, one.kind) for one in first] == [(1, "answer"), (2, "metrics")]
    _put(store, "progress", "running")
    # A number that was given stays: it may have been stored.
    assert [(one.seq, one.kind) for one in box.next(0)] == [
        (1, "answer"), (2, "metrics"), (3, "progress"), (4, "log"), (5, "captures"),
    ]  # fmt: skip
    assert box.next(5) == []
    box.acknowledge(3)
    assert [one.seq for one in box.next(0)] == [4, 5]
    assert box.waiting() == 2


def test_not_more_than_64_are_on_their_way(store: Database) -> None:
    box = Outbox(store, Clock())
    for number in range(100):
        _put(store, "log", str(number))
    assert len(box.next(0)) == MAX_UNACKNOWLEDGED
    assert box.next(64) == []
    box.acknowledge(10)
    assert [one.seq for one in box.next(64)] == list(range(65, 75))


def test_a_call_takes_as_much_as_fits_and_at_least_one(store: Database) -> None:
    box = Outbox(store, Clock())
    for _ in range(3):
        _put(store, "log", "x" * 1000)
    assert len(box.next(0, size=10)) == 1
    assert len(box.next(0, size=2100)) == 2


@pytest.mark.parametrize("received", [11, 3])
def test_numbers_that_do_not_fit_begin_a_new_stream(store: Database, received: int) -> None:
    """The controller has more than was sent, or has lost what it had: one of both has an older state."""
    box = Outbox(store, Clock())
    for number in range(10):
        _put(store, "log", str(number))
    before = box.stream()
    box.next(0)
    box.acknowledge(5)
    assert not box.resume(received)
    assert box.stream() != before
    assert box.resume(0)
    assert [(one.seq, one.data["text"]) for one in box.next(0)] == [
        (place, str(number)) for place, number in enumerate(range(5, 10), start=1)
    ]


def test_weeks_offline_drop_the_oldest_captures_first_and_say_how_many(store: Database) -> None:
    box = Outbox(store, Clock(), max_bytes=200_000)
    _put(store, "answer", "kept")
    for start in range(0, 400, 50):
        with store.transaction() as connection:
            for number in range(start, start + 50):
                data = {"text": f"{number}" + "x" * 1000}
                outbox.put(connection, "captures", data, 5, items=3)
                outbox.put(connection, "metrics", {"text": f"{number}"}, 5)
        _put(store, "log", "line")
        box.trim()
    box.trim()
    assert box.resume(0)
    found: list[outbox.Message] = []
    while messages := box.next(found[-1].seq if found else 0):
        found += messages
        box.acknowledge(found[-1].seq)
    assert [one.seq for one in found] == list(range(1, len(found) + 1)), "no gaps"
    kinds = [one.kind for one in found]
    assert (kinds.count("answer"), kinds.count("metrics"), kinds.count("log")) == (1, 400, 9)
    kept = kinds.count("captures")
    assert 100 < kept < 200
    captures = [int(one.data["text"].rstrip("x")) for one in found if one.kind == "captures"]
    assert captures == list(range(400 - kept, 400)), "the newest are kept"
    said = [one.data["lines"][0]["text"] for one in found if "lines" in one.data]
    assert said == [
        "The device was offline for so long that it dropped its oldest "
        f"{3 * (400 - kept):,} captures."
    ]


def test_what_was_numbered_is_never_dropped(store: Database) -> None:
    box = Outbox(store, Clock(), max_bytes=0)
    for number in range(70):
        _put(store, "captures", str(number))
    box.next(0)
    box.trim()
    assert [one.seq for one in box.next(0)] == list(range(1, 65))
    assert box.waiting() == 64


def test_bytes_of_a_minute_ago_are_replaced(store: Database) -> None:
    box = Outbox(store, Clock())
    for text in ("downloading", "downloading", "running"):
        _put(store, "progress", text)
    assert [one.data["state"] for one in box.next(0)] == ["downloading", "running"]


@pytest.mark.parametrize(
    "content", [b"", b"this is no database " * 100, b"SQLite format 3\x00" + b"x" * 5000]
)
def test_a_broken_file_is_set_aside_and_a_new_stream_begins(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "agent.sqlite3"
    store = Database(path)
    stream = Outbox(store, Clock()).stream()
    store.close()
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    path.write_bytes(content)
    again = Database(path)
    assert Outbox(again, Clock()).stream() != stream
    again.close()
    aside = list(tmp_path.glob("agent.sqlite3.broken-*"))
    assert [one.read_bytes() for one in aside] == ([content] if content else [])


def test_a_file_that_breaks_while_it_is_used_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "agent.sqlite3"
    store = Database(path)
    box = Outbox(store, Clock())
    for number in range(200):
        _put(store, "log", f"{number}" + "x" * 500)
    store.close()
    content = bytearray(path.read_bytes())
    content[8192:40960] = b"\xff" * (40960 - 8192)
    store = Database.__new__(Database)
    store.path = path
    path.write_bytes(content)
    # As if it had broken after the check of the start.
    store._connection = sqlite3.connect(path, isolation_level=None)
    box = Outbox(store, Clock())
    with pytest.raises(AgentError, match="cannot store the state of the device"):
        box.next(0)
    assert box.next(0) == []
    _put(store, "log", "again")
    assert [one.seq for one in box.next(0)] == [1]
    store.close()
    assert list(tmp_path.glob("agent.sqlite3.broken-*"))


def test_an_error_of_ours_breaks_no_file(store: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError), store.transaction() as connection:
        connection.execute("INSERT INTO failed VALUES (1, NULL)")
    with pytest.raises(sqlite3.ProgrammingError), store.transaction() as connection:  # noqa: PT012
        connection.execute("INSERT INTO failed VALUES (1, 'x')")
        raise sqlite3.ProgrammingError
    with store.transaction() as connection:
        assert connection.execute("SELECT count(*) FROM failed").fetchone() == (0,)
    assert not list(store.path.parent.glob("*.broken-*"))


class Wire(RuleBasedStateMachine):
    """A device and a controller over a line that is cut anywhere: stored once each, in order, without
    gaps."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Database(Path(self.folder.name) / "agent.sqlite3")
        self.box = Outbox(self.store, Clock())
        self.made = 0
        self.received: dict[str, int] = {}
        self.stored: list[str] = []
        self.connected = False
        self.sent = 0

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @rule(kind=st.sampled_from(["answer", "log", "captures"]))
    def make(self, kind: Kind) -> None:
        self.made += 1
        _put(self.store, kind, str(self.made))

    @rule()
    def connect(self) -> None:
        stream = self.box.stream()
        if self.box.resume(self.received.get(stream, 0)):
            self.connected, self.sent = True, self.received.get(stream, 0)

    @rule()
    def the_agent_is_killed(self) -> None:
        self.store.close()
        self.store = Database(Path(self.folder.name) / "agent.sqlite3")
        self.box = Outbox(self.store, Clock())
        self.connected = False

    @rule(arrive=st.integers(0, 70), acknowledged=st.booleans())
    def send(self, arrive: int, acknowledged: bool) -> None:
        """So many arrive before the line is cut; the acknowledgement may not come back."""
        if not self.connected:
            return
        stream = self.box.stream()
        messages = self.box.next(self.sent, limit=8)
        for message in messages[:arrive]:
            if message.seq == self.received.get(stream, 0) + 1:
                self.received[stream] = message.seq
                self.stored.append(message.data["text"])
        self.sent = messages[-1].seq if messages else self.sent
        if acknowledged:
            self.box.acknowledge(self.received.get(stream, 0))
        if arrive < len(messages):
            self.connected = False

    @invariant()
    def nothing_is_stored_twice(self) -> None:
        assert len(self.stored) == len(set(self.stored))
        assert len(self.received) <= 1

    @rule()
    def in_the_end_all_is_there(self) -> None:
        self.connect()
        for _ in range(200):
            self.send(arrive=70, acknowledged=True)
            if self.box.waiting() == 0:
                break
        assert sorted(map(int, self.stored)) == list(range(1, self.made + 1))


Wire.TestCase.settings = settings(max_examples=12, stateful_step_count=25, deadline=None)
TestWire = Wire.TestCase
