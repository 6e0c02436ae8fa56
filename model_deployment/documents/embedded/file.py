"""The file of the embedded store: its tables, its creation, and the check before it is opened."""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from model_deployment.documents.base import StoreUnavailable, StoreUnusable

#: "MDdo" in the header of the file, so that no other database is mistaken for ours.
APPLICATION_ID = 0x4D44646F
SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    collection TEXT NOT NULL,
    id TEXT NOT NULL,
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    request_id TEXT,
    body TEXT NOT NULL,
    PRIMARY KEY (collection, id)
) STRICT;
CREATE INDEX IF NOT EXISTS documents_of_a_version ON documents (collection, model, version, ts, id);
CREATE INDEX IF NOT EXISTS documents_by_time ON documents (collection, ts, id);
CREATE INDEX IF NOT EXISTS documents_of_a_request ON documents (collection, request_id)
    WHERE request_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS pages (id TEXT PRIMARY KEY, content BLOB NOT NULL) STRICT;
"""

_CREATE = (
    f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA application_id = {APPLICATION_ID}; "
    f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT"
)

#: Bytes that the log is cut to after a burst.
_LOG_BYTES = 64 * 2**20

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

#: What helps if the file is lost or damaged.
HELP = (
    "Nothing was changed. Restore a backup with `model-deployment restore --force FILE`, or start with "
    "an empty store with `model-deployment serve --new-documents`, which keeps the old files"
)


def create(path: Path) -> None:
    """Create an empty store.

    Raises:
        FileExistsError: there is a file already.
    """
    _create_file(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(_CREATE)


def open_for_writing(path: Path, *, busy: float, check_seconds: float) -> sqlite3.Connection:
    """Check an existing file, or create one, and return the connection that writes.

    Args:
        busy: seconds to wait for a lock of another process.
        check_seconds: seconds the check of an existing file may take.

    Raises:
        StoreUnusable: the file is damaged, not ours, or of a newer release. It is left as it is.
    """
    if sqlite3.sqlite_version_info < (3, 37):
        raise StoreUnavailable(
            f"cannot use SQLite {sqlite3.sqlite_version}: version 3.37 or newer is needed"
        )
    try:
        _create_file(path)
    except FileExistsError:
        check(path, busy=busy, seconds=check_seconds)
    path.chmod(0o600)
    connection = connect(path, "rw", busy)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.executescript(_CREATE)
    return connection


def connect(path: Path, mode: str, busy: float) -> sqlite3.Connection:
    """A connection that never creates a file: a lost file must not be replaced by an empty one."""
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}",
        uri=True,
        isolation_level=None,
        timeout=busy,
        check_same_thread=False,
    )
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    return connection


def check_all(path: Path) -> None:
    """Check a complete file that no process writes to.

    Raises:
        StoreUnusable: the file is damaged, empty, not ours, or of a newer release.
        StoreUnavailable: the file cannot be read now.
    """
    if path.is_dir() or not path.stat().st_size:
        raise unusable(path, "it is a folder" if path.is_dir() else "it is empty")
    try:
        check(path, busy=3.0, seconds=float("inf"))
    except sqlite3.Error as error:
        raise explain(path, error) from error


def check(path: Path, *, busy: float, seconds: float) -> None:
    """Check a file without changing it. Damage that is not reached in time shows when it is read.

    Raises:
        StoreUnusable: the file is damaged, not ours, or of a newer release.
        sqlite3.Error: the file cannot be read.
    """
    if not path.stat().st_size:
        return  # an interrupted first start
    # SQLite creates the log first and removes it last: the index is looked for twice, in case both are
    # being removed right now.
    log, index = (path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-shm"))
    if index.exists() and not log.exists() and index.exists():
        raise unusable(path, f"its log {log.name} is missing")
    try:
        _check(path, "ro", busy, seconds)
    except sqlite3.OperationalError as error:
        if error_code(error) != sqlite3.SQLITE_READONLY:
            raise
        # After a kill the index of the log has to be rebuilt, which a reader may not do.
        _check(path, "rw", busy, seconds)


def _check(path: Path, mode: str, busy: float, seconds: float) -> None:
    with closing(connect(path, mode, busy)) as connection:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if application != APPLICATION_ID and (application or tables):
            raise unusable(path, "it is the database of another program")
        if version > SCHEMA_VERSION:
            raise unusable(
                path,
                f"a newer release wrote it (layout {version}; this release reads layout {SCHEMA_VERSION})",
            )
        end = time.monotonic() + seconds
        connection.set_progress_handler(lambda: time.monotonic() > end, 10_000)
        try:
            (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError as error:
            if error_code(error) != sqlite3.SQLITE_INTERRUPT:
                raise
            result = "ok"  # as far as was checked
    if result != "ok":
        raise unusable(path, f"it is damaged ({result})")


def identity(path: Path) -> tuple[int, int]:
    """Tells two files apart that had the same name."""
    status = path.stat()
    return status.st_dev, status.st_ino


def error_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def explain(path: Path, error: sqlite3.Error | OSError) -> StoreUnavailable:
    """The error of the store for an error of SQLite or of the disk."""
    if isinstance(error, OSError):
        return StoreUnavailable(f"cannot use the document store {path}: {error.strerror or error}")
    if error_code(error) in _DAMAGED:
        return unusable(path, f"it is damaged ({error})")
    return StoreUnavailable(f"cannot use the document store {path}: {error}")


def unusable(path: Path, why: str) -> StoreUnusable:
    """The error for a file that an operator has to look at."""
    return StoreUnusable(f"cannot use the document store {path}: {why}. {HELP}")


def _create_file(path: Path) -> None:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
