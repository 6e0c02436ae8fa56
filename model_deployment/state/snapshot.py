"""Copies SQLite databases while others write to them, and tells whether a copy is whole."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

#: What a database consists of on the disk, beside the file itself.
BESIDE = ("-wal", "-shm", "-journal")

#: Seconds to wait for one who holds the whole file.
_PATIENCE = 10.0


class Unreadable(Exception):
    """The database cannot be copied, or the copy is not whole."""


class NeedsOwner(Unreadable):
    """Who only reads cannot open it now: its last owner was killed, and nobody has cleared up since."""


def copy(source: Path, target: Path, *, mode: str = "ro") -> None:
    """Make ``target`` a consistent copy of a database, also while other processes write to it.

    All pages are copied in one step, within one read transaction. In several steps SQLite begins again
    whenever another process has written in between: with a writer that never rests, that never ends
    (3,600 new beginnings in 8 seconds, when tried). Held open, the transaction costs the writer nothing
    but a log that grows meanwhile.

    Args:
        source: a database; it is opened by SQLite alone, whose locks any other descriptor would drop.
        target: must not exist.
        mode: ``ro``, or ``rw`` to clear up after a process that was killed.

    Raises:
        NeedsOwner: try again with ``rw``, when nobody else has it open.
        Unreadable: it is damaged, or locked for long, or there is no room for the copy.
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
    """Force a file or a folder to the disk."""
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
        timeout=_PATIENCE,
    )
