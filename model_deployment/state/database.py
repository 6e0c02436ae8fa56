"""One SQLite connection on one thread of its own.

The event loop never waits for the connection (an fsync can take long). The connection is not shared, and
is closed before anything forks. Nothing else opens the database files meanwhile: closing any other
descriptor of these files would drop SQLite's POSIX locks.
"""

import asyncio
import fcntl
import os
import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from model_deployment.core.errors import StateError
from model_deployment.state import files, instance, migration

T = TypeVar("T")

#: Raised by reads and writes when the file is damaged or the disk fails.
DatabaseError = sqlite3.Error

#: Seconds after which the write-ahead log is merged into the file.
_MERGE = 0.2


class InUse(StateError):
    """Another process holds the data directory."""


class Lock:
    """Held by the one controller of a data directory, on a lock file of its own.

    The descriptor is close-on-exec: a model that inherited it would go on holding the lock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock or fail at once.

        Raises:
            InUse: another controller runs on this data directory.
            StateError: the lock file cannot be written.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unusable(self._path.parent, error) from error
        try:
            self._take(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def _take(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            raise InUse(
                f"cannot use the data directory {self._path.parent}: another controller (pid "
                f"{holder or 'unknown'}) runs on it. Stop that controller, or set "
                f"MODEL_DEPLOYMENT_DATA_DIR"
            ) from None
        except OSError as error:
            raise unusable(self._path.parent, error) from error

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Database:
    """Runs functions on the connection, one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="state")
        self._connection: sqlite3.Connection | None = None
        self._unmerged = False
        self._merging: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open or create the database.

        Raises:
            StateError: the file is lost, damaged, or was written by a newer release; or the disk is full
                or fails.
        """
        try:
            await self._on_thread(self._open)
        except (sqlite3.DatabaseError, OSError) as error:
            self._thread.shutdown()
            raise files.open_error(self.path, error) from error
        except StateError:
            self._thread.shutdown()
            raise

    def _open(self) -> None:
        if sqlite3.sqlite_version_info < (3, 37):
            raise StateError(
                f"cannot use SQLite {sqlite3.sqlite_version}: version 3.37 or newer is needed"
            )
        if not files.examine(self.path):
            files.create(self.path)
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=10)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            migration.migrate(connection)
            connection.execute("PRAGMA foreign_keys=ON")
            _write_instance_id(connection, self.path.with_name(instance.FILE))
        except BaseException:
            connection.close()
            raise
        self.path.chmod(0o600)
        self._connection = connection

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` without a transaction."""
        return await self._on_thread(lambda: work(self._open_connection()))

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in one immediate transaction; an exception rolls it back.

        A caller that is cancelled meanwhile does not end the transaction.
        """
        try:
            return await self._on_thread(lambda: self._transact(work))
        finally:
            self._unmerged = True
            if self._merging is None or self._merging.done():
                self._merging = asyncio.create_task(self._merge())

    async def _merge(self) -> None:
        """Merge the write-ahead log into the file soon, so that a lost log loses nothing.

        A merge with each commit would take four times as long.
        """

        def work() -> None:
            if self._connection is not None:
                # On a full disk the log keeps what was written.
                with suppress(sqlite3.Error):
                    self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

        while self._unmerged:
            self._unmerged = False
            await asyncio.sleep(_MERGE)
            await self._on_thread(work)

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._open_connection() as connection:  # commits, or rolls back after an exception
            connection.execute("BEGIN IMMEDIATE")
            return work(connection)

    async def change(self, statement: str, values: Sequence[Any] | Mapping[str, Any]) -> None:
        """Run one statement in a transaction."""

        def work(connection: sqlite3.Connection) -> None:
            # The cursor must not leave the thread: freed on another thread, it resets a statement that this
            # thread may be running.
            connection.execute(statement, values)

        await self.write(work)

    async def meta(self, name: str) -> str | None:
        """A value of the ``meta`` table."""

        def work(connection: sqlite3.Connection) -> str | None:
            row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
            return row["value"] if row else None

        return await self.read(work)

    async def instance_id(self) -> str:
        """The random id of this data directory; model processes carry it."""
        return await self.meta("instance_id") or ""

    async def new_boot(self, boot_id: str) -> bool:
        """Write the machine's boot id; if it is a new one, reset all monotonic times."""

        def work(connection: sqlite3.Connection) -> bool:
            row = connection.execute("SELECT value FROM meta WHERE name = 'boot_id'").fetchone()
            if row and row["value"] == boot_id:
                return False
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('boot_id', ?)", (boot_id,))
            connection.execute(
                "UPDATE launches SET not_before = 0, deadline = NULL, ready_since = NULL, kills = 0, "
                "tries = 0"
            )
            connection.execute("UPDATE replacements SET deadline = NULL")
            connection.execute("UPDATE ports SET quarantined_until = 0, blocked_until = 0")
            return True

        return await self.write(work)

    async def close(self) -> None:
        """Close the connection after all calls made before."""

        def work() -> None:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

        if self._merging is not None:
            self._merging.cancel()
            await asyncio.gather(self._merging, return_exceptions=True)
        await self._on_thread(work)
        self._thread.shutdown()

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StateError("cannot use the state database: it is not open")
        return self._connection

    async def _on_thread(self, work: Callable[[], T]) -> T:
        future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        # Shielded: what was begun is committed also when the caller is cancelled.
        return await asyncio.shield(future)


def unusable(data_dir: Path, error: OSError | DatabaseError) -> StateError:
    what = (isinstance(error, OSError) and error.strerror) or str(error)
    return StateError(
        f"cannot use the data directory {data_dir}: {what}. Make sure that it has free space and is "
        f"writable, or set MODEL_DEPLOYMENT_DATA_DIR to another folder"
    )


def is_full(error: DatabaseError) -> bool:
    """Whether the disk is full, rather than the database damaged."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


def _write_instance_id(connection: sqlite3.Connection, file: Path) -> None:
    """Make the database and the file hold the same instance id.

    The file wins: it is as old as the processes that carry its id, while the database may be new, or a
    copy of another directory's, whose models this controller must not end.
    """
    noted = instance.read(file)
    if noted is not None:
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('instance_id', ?)", (noted,))
        return
    connection.execute(
        "INSERT OR IGNORE INTO meta VALUES ('instance_id', ?)", (secrets.token_hex(6),)
    )
    (name,) = connection.execute("SELECT value FROM meta WHERE name = 'instance_id'").fetchone()
    instance.write(file, name)
