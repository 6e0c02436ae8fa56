"""Messages that wait until the controller has stored them.

A message gets its number when it is first sent, in the order of urgency and age. So the oldest captures
can be dropped when a device is offline for weeks, and numbers have no gaps.
"""

import asyncio
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from model_deployment_agent import database
from model_deployment_agent.clock import Clock
from model_deployment_agent.database import Database, fact, set_fact

Kind = Literal["progress", "answer", "metrics", "log", "captures"]

#: So many messages may be on their way without an answer.
MAX_UNACKNOWLEDGED = 64
#: Bytes of data that wait, at most.
MAX_BYTES = 16 * 1024 * 1024
#: What is sent first, 0 before all.
_URGENCY: Mapping[Kind, int] = {"progress": 0, "answer": 0, "metrics": 1, "log": 2, "captures": 3}
#: What is dropped first where there is too much, and what one item of it is called.
_DROPPED_FIRST: Mapping[Kind, str] = {
    "captures": "captures",
    "log": "lines of logs",
    "metrics": "minutes of metrics",
}


@dataclass(frozen=True, slots=True)
class Message:
    """A message with its number."""

    seq: int
    kind: str
    #: Milliseconds since 1970.
    at: int
    #: JSON.
    data: Any

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, as a frame or within a list."""
        return {"seq": self.seq, "kind": self.kind, "at": self.at, "data": self.data}


def put(
    connection: sqlite3.Connection, kind: Kind, data: Mapping[str, Any], at: int, *, items: int = 1
) -> None:
    """Add a message, in the transaction of what it tells of.

    Args:
        at: milliseconds since 1970.
        items: captures, lines or minutes in it, for the count of what was dropped.
    """
    if kind == "progress":  # how many bytes there were a minute ago, nobody needs to know
        connection.execute(
            "DELETE FROM outbox WHERE kind = 'progress' AND seq IS NULL"
            " AND json_extract(data, '$.release') = ? AND json_extract(data, '$.state') = ?",
            (data["release"], data["state"]),
        )
    connection.execute(
        "INSERT INTO outbox (kind, urgency, at, data, items) VALUES (?, ?, ?, ?, ?)",
        (kind, _URGENCY[kind], at, json.dumps(data, separators=(",", ":")), items),
    )


class Outbox:
    """The stream of messages of this device."""

    def __init__(self, store: Database, clock: Clock, max_bytes: int = MAX_BYTES) -> None:
        self._store = store
        self._clock = clock
        self._max_bytes = max_bytes
        #: Set when there may be something to send.
        self.changed = asyncio.Event()

    def stream(self) -> str:
        """Name of the stream."""
        with self._store.transaction() as connection:
            return database.stream(connection)

    def resume(self, received: int) -> bool:
        """Go on behind the last message that the controller has.

        Returns: False if the controller's number does not fit what is here, because one of both has an
        older state
            than before: a new stream has begun, with which the device has to say hello again.
        """
        with self._store.transaction() as connection:
            database.stream(connection)
            numbered = fact(connection, "numbered", 0)
            row = connection.execute("SELECT min(seq) FROM outbox WHERE seq IS NOT NULL").fetchone()
            lowest = row[0] or numbered + 1
            if not lowest - 1 <= received <= numbered:
                database.new_stream(connection)
                return False
            connection.execute("DELETE FROM outbox WHERE seq <= ?", (received,))
            _say_dropped(connection, self._clock.now())
        self.changed.set()
        return True

    def acknowledge(self, seq: int) -> None:
        """Forget messages up to a number: the controller has stored them."""
        with self._store.transaction() as connection:
            connection.execute("DELETE FROM outbox WHERE seq <= ?", (seq,))
        self.changed.set()

    def next(self, after: int, limit: int = MAX_UNACKNOWLEDGED, size: int = 2**63) -> list[Message]:
        """Messages to send now, numbered for good.

        Args:
            after: number of the last one that was sent over this connection.
            limit: so many may be unacknowledged.
            size: characters of data that are enough; at least one message is returned.
        """
        with self._store.transaction() as connection:
            self._number(connection, limit)
            rows = connection.execute(
                "SELECT seq, kind, at, data FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?",
                (after, limit),
            )
            found: list[Message] = []
            for seq, kind, at, data in rows:
                size -= len(data)
                if found and size < 0:
                    break
                found.append(Message(seq, kind, at, json.loads(data)))
        return found

    @staticmethod
    def _number(connection: sqlite3.Connection, limit: int) -> None:
        row = connection.execute("SELECT count(*) FROM outbox WHERE seq IS NOT NULL").fetchone()
        fresh = connection.execute(
            "SELECT id FROM outbox WHERE seq IS NULL ORDER BY urgency, id LIMIT ?",
            (max(0, limit - row[0]),),
        ).fetchall()
        if fresh:
            numbered = fact(connection, "numbered", 0)
            connection.executemany(
                "UPDATE outbox SET seq = ? WHERE id = ?",
                [(numbered + place, one) for place, (one,) in enumerate(fresh, start=1)],
            )
            set_fact(connection, "numbered", numbered + len(fresh))

    def trim(self) -> None:
        """Drop the oldest captures, then lines of logs, then metrics, until what waits fits in its
        bounds."""
        with self._store.transaction() as connection:
            for kind in _DROPPED_FIRST:
                while self._size(connection) > self._max_bytes:
                    rows = connection.execute(
                        "DELETE FROM outbox WHERE id IN"
                        " (SELECT id FROM outbox WHERE kind = ? AND seq IS NULL"
                        " ORDER BY id LIMIT 20) RETURNING items",
                        (kind,),
                    ).fetchall()
                    if not rows:
                        break
                    dropped = fact(connection, "dropped", {})
                    dropped[kind] = dropped.get(kind, 0) + sum(row[0] for row in rows)
                    set_fact(connection, "dropped", dropped)

    @staticmethod
    def _size(connection: sqlite3.Connection) -> int:
        row = connection.execute("SELECT total(length(data)) FROM outbox").fetchone()
        return int(row[0])

    def waiting(self) -> int:
        """Number of messages that the controller has not acknowledged."""
        with self._store.transaction() as connection:
            return int(connection.execute("SELECT count(*) FROM outbox").fetchone()[0])


def _say_dropped(connection: sqlite3.Connection, at: int) -> None:
    dropped = fact(connection, "dropped", {})
    if dropped:
        what = ", ".join(
            f"{dropped[kind]:,} {name}" for kind, name in _DROPPED_FIRST.items() if kind in dropped
        )
        text = f"The device was offline for so long that it dropped its oldest {what}."
        line = {"at": at, "level": "warning", "text": text}
        put(connection, "log", {"lines": [line]}, at)
        set_fact(connection, "dropped", {})
