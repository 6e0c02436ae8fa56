"""The SQLite file of a device: each change is a transaction that survives a power cut.

A broken file is set aside, and a new one begins: the device goes on to serve what it serves. Where the
file system takes no changes, there is none.
"""

import contextlib
import json
import logging
import secrets
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model_deployment_agent.errors import AgentError
from model_deployment_agent.folder import is_read_only

log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
-- Messages to the controller. One gets its number when it is first sent: dropping one before leaves no gap.
CREATE TABLE IF NOT EXISTS outbox (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    kind  TEXT NOT NULL,
    urgency INTEGER NOT NULL,
    at    INTEGER NOT NULL,
    data  TEXT NOT NULL,
    items INTEGER NOT NULL,
    seq   INTEGER UNIQUE
) STRICT;
CREATE INDEX IF NOT EXISTS unsent ON outbox (urgency, id) WHERE seq IS NULL;
CREATE TABLE IF NOT EXISTS windows (
    minute INTEGER NOT NULL, release INTEGER NOT NULL, data TEXT NOT NULL, PRIMARY KEY (minute, release)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS commands (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, value TEXT NOT NULL, answered INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS command_values (
    name TEXT PRIMARY KEY, value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
-- The update under way, or the last one: one row at most.
CREATE TABLE IF NOT EXISTS update_row (
    only    INTEGER PRIMARY KEY CHECK (only = 1),
    number  INTEGER NOT NULL,
    folder  TEXT NOT NULL,
    state   TEXT NOT NULL,
    reason  TEXT NOT NULL,
    starts  INTEGER NOT NULL DEFAULT 0,
    excused INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS failed (number INTEGER PRIMARY KEY, reason TEXT NOT NULL) STRICT;
"""
#: Results of SQLite that say that the file is broken; others say that the disk is full or busy.
_BROKEN = {"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT"}
#: Files that were set aside are kept for a look, as many.
_KEPT = 2


class Database:
    """One connection, used by one thread."""

    def __init__(self, path: Path) -> None:
        """Open or make the file.

        Raises:
            AgentError: the file can be neither opened nor set aside.
        """
        self.path = path
        try:
            if is_read_only(path.parent):
                log.error("%s takes no changes: the state is kept in memory, and lost", path.parent)
                self.path = Path(":memory:")
            self._connection = self._open()
        except sqlite3.DatabaseError as error:
            self._connection = self._begin_anew(error)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing of what is done inside.

        Raises:
            AgentError: nothing was stored: the disk is full, or the file was broken and a new one was
            begun.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection
            self._connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            if _is_broken(error):
                self._connection = self._begin_anew(error)
            else:
                self._roll_back()
                if not isinstance(error, sqlite3.OperationalError):
                    raise  # an error of ours
            raise AgentError(f"cannot store the state of the device: {error}") from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=5, isolation_level=None, cached_statements=32
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA cache_size = -512")
            connection.execute("PRAGMA journal_size_limit = 1048576")
            found = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != ("ok",):
                raise sqlite3.DatabaseError(str(found[0])[:200])
            connection.executescript(_SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection

    def _begin_anew(self, error: sqlite3.DatabaseError) -> sqlite3.Connection:
        if hasattr(self, "_connection"):
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        if not _is_broken(error):
            raise AgentError(f"cannot open {self.path}: {error}") from error
        aside = self.path.with_name(f"{self.path.name}.broken-{time.time_ns()}")
        log.error(
            "cannot read %s: %s; it is kept as %s, unsent messages are lost",
            self.path,
            error,
            aside.name,
        )
        self.path.replace(aside)
        for end in ("-wal", "-shm"):
            self.path.with_name(self.path.name + end).unlink(missing_ok=True)
        for old in sorted(self.path.parent.glob(f"{self.path.name}.broken-*"))[:-_KEPT]:
            old.unlink()
        return self._open()


def _is_broken(error: sqlite3.Error) -> bool:
    name: str | None = getattr(error, "sqlite_errorname", None)
    if name is None:  # our own, of quick_check
        return type(error) is sqlite3.DatabaseError
    return any(name.startswith(one) for one in _BROKEN)


def fact(connection: sqlite3.Connection, name: str, otherwise: Any = None) -> Any:
    """A stored JSON value."""
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    try:
        return json.loads(row[0]) if row else otherwise
    except ValueError:  # a bit fell over within the text: SQLite does not notice that
        log.error("the stored value of %s cannot be read, and is forgotten", name)
        return otherwise


def set_fact(connection: sqlite3.Connection, name: str, value: Any) -> None:
    """Store a JSON value."""
    connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))


def stream(connection: sqlite3.Connection) -> str:
    """Name of this store of messages; a new one if there is none."""
    found: str | None = fact(connection, "stream")
    return found or new_stream(connection)


def new_stream(connection: sqlite3.Connection) -> str:
    """Number all messages anew, from 1, under a new name."""
    name = secrets.token_hex(8)
    set_fact(connection, "stream", name)
    set_fact(connection, "numbered", 0)
    connection.execute("UPDATE outbox SET seq = NULL WHERE seq IS NOT NULL")
    return name
