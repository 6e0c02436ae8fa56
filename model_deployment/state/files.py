"""The files of the state database: examined before a start, created, and moved aside.

A lost database is replaced by an empty one only on request: that ends every model.
"""

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from model_deployment.core.errors import StateError
from model_deployment.core.options import Options
from model_deployment.core.rollout_counts import StageCounts
from model_deployment.state import device_check, endpoint_rows, instance, rows
from model_deployment.state.snapshot import BESIDE, sync

#: Raised when the layout of the tables changes; compared with ``PRAGMA user_version``.
SCHEMA_VERSION = 8
#: A file that exists while a restore runs, or after it was interrupted.
UNFINISHED = "restore-unfinished"
#: Name of the entry in ``meta`` that says that there is an embedded document store.
DOCUMENTS = "documents"

_TABLES = {"meta", "deployments", "ports", "events"}

#: SQLite's codes for errors outside the file: no room, no permission, a failing disk.
_ENVIRONMENT_ERRORS = frozenset({
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM,
})  # fmt: skip

_HELP = (
    "Nothing was changed, and running models keep serving. Restore a backup with "
    "`model-deployment restore --force FILE`, or start with an empty state with `model-deployment "
    "serve --new-state`, which keeps the old files and stops those models"
)


class Unusable(StateError):
    """The files are lost or damaged: only a backup helps, or an empty state."""


def examine(path: Path) -> bool:
    """Check a state database without changing it; False if there never was one.

    The caller holds the controller's lock.

    Raises:
        Unusable: it is lost, damaged, another program's, or was written by a newer release.
        StateError: it cannot be read.
    """
    if (unfinished := path.with_name(UNFINISHED)).exists():
        raise Unusable(
            f"cannot use the data directory {path.parent}: a restore was interrupted, so its files may "
            f"be of two different times ({unfinished.name} exists). {_HELP}"
        )
    if not path.exists():
        if had := _evidence(path):
            raise Unusable(
                f"cannot find the state database {path}: the file is missing, but this data directory "
                f"had one ({had} exists). {_HELP}"
            )
        return False
    try:
        _check_copy(path)
    except (sqlite3.Error, OSError) as error:
        raise open_error(path, error) from error
    return True


def _evidence(path: Path) -> str:
    """A file that exists only beside a database; empty if there is none."""
    folder = path.parent
    names = [instance.FILE, *(f"{path.name}{more}" for more in BESIDE), "documents.db"]
    found = [name for name in names if (folder / name).exists()]
    found += [f"spool/{segment.name}" for segment in sorted((folder / "spool").glob("*.seg"))]
    if path.is_symlink():
        found.append("a link to it")
    return found[0] if found else ""


_EXAMINE = ".examine-"


def give_to_owner(path: Path, folder: Path) -> None:
    """Give a file that root has made to the owner of the folder, who may run the controller."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def _check_copy(path: Path) -> None:
    """Check a copy, since opening the file itself merges a log that was left."""
    if path.is_file() and not path.stat().st_size:
        raise sqlite3.DatabaseError("it is empty")
    # SQLite makes the log first and removes it last.
    log, index = (path.with_name(f"{path.name}{more}") for more in ("-wal", "-shm"))
    if index.exists() and not log.exists():
        raise sqlite3.DatabaseError(f"its log {log.name} is missing")
    for left in path.parent.glob(f"{_EXAMINE}*"):  # by a start that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=_EXAMINE) as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        if log.exists():
            shutil.copyfile(log, f"{copy}-wal")
        check(copy, shown_as=path)


def check(path: Path, *, shown_as: Path) -> None:
    """Check that a database is complete and a state database. May change the file.

    Args:
        path: the database, which no other process has open.
        shown_as: its name in messages.

    Raises:
        Unusable: it was written by a newer release.
        sqlite3.Error: it is damaged, or another program's.
    """
    with closing(sqlite3.connect(path)) as connection:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        names = set(connection.execute("SELECT type, name FROM sqlite_schema"))
        if not {("table", name) for name in _TABLES} <= names:
            raise sqlite3.DatabaseError("it is not a state database of model_deployment")
        if found > SCHEMA_VERSION:
            raise Unusable(
                f"cannot open the state database {shown_as}: a newer release wrote it (layout {found}; "
                f"this release reads layout {SCHEMA_VERSION}). Use that release. {_HELP}"
            )
        if any(kind in {"trigger", "view"} for kind, _ in names):
            raise sqlite3.DatabaseError(
                "it contains triggers or views, which model_deployment never creates"
            )
        for problem in _problems(connection):
            raise sqlite3.DatabaseError(problem)


def _problems(connection: sqlite3.Connection) -> Iterator[str]:
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        yield str(verdict)
    if connection.execute("PRAGMA foreign_key_check").fetchone():
        yield "there are events without a deployment"
    for table in _SPOKEN_OF:
        yield from _unreadable(connection, table)
    if _has(connection, "endpoints"):
        yield from _endpoint_problems(connection)
    if _has(connection, "devices"):
        yield from device_check.problems(connection)


def _has(connection: sqlite3.Connection, table: str) -> bool:
    found = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,))
    return found.fetchone() is not None


#: Tables with JSON of options or addresses, and what a row of each is. Earlier layouts lack some.
_SPOKEN_OF = {
    "deployments": "a deployment",
    "launches": "a launch",
    "replacements": "a replacement",
}


def _unreadable(connection: sqlite3.Connection, table: str) -> Iterator[str]:
    names = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
    if "options" not in names:
        return
    handle = "handle" if "handle" in names else "NULL"
    for options, text in connection.execute(f"SELECT options, {handle} FROM {table}"):  # noqa: S608
        if not _can_be_read(options, text):
            yield f"the options or the address of {_SPOKEN_OF[table]} cannot be read"


def _can_be_read(options: str, handle: str | None) -> bool:
    try:
        Options.from_dict(json.loads(options))
        if handle is not None:
            where = json.loads(handle)
            rows.address_of(where)
            dict(where["ref"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return False
    return True


def _endpoint_problems(connection: sqlite3.Connection) -> Iterator[str]:
    """What is wrong with the rows of endpoints, which layouts before 5 do not have."""
    connection.row_factory = sqlite3.Row
    for row in connection.execute("SELECT * FROM endpoints"):
        try:
            endpoint_rows.endpoint_of(row)
        except (ValueError, TypeError, KeyError, AttributeError):
            yield f"the policy of the endpoint {row['model']}@{row['alias']} cannot be read"
    for row in connection.execute("SELECT * FROM rollouts"):
        try:
            evidence = endpoint_rows.rollout_of(row).evidence
            for stages in evidence.get("counts", {}).values():
                [*map(StageCounts.from_dict, stages.values())]
        except (ValueError, TypeError, KeyError, AttributeError):
            yield f"what is known of rollout {row['id']} cannot be read"


def open_error(path: Path, error: Exception) -> StateError:
    """The error of a database that cannot be opened, with what helps.

    A full disk is no reason to give up a good file.
    """
    what = (isinstance(error, OSError) and error.strerror) or str(error)
    text = f"cannot open the state database {path}: {what}"
    if isinstance(error, sqlite3.Error):
        environment = getattr(error, "sqlite_errorcode", 0) & 0xFF in _ENVIRONMENT_ERRORS
    else:
        environment = not isinstance(error, IsADirectoryError)
    if not environment:
        return Unusable(f"{text}. {_HELP}")
    return StateError(
        f"{text}. The file does not seem to be damaged: leave it in place, make sure that its disk "
        f"works and has free space and that its folder is writable, then start again"
    )


def create(path: Path) -> None:
    """Create an empty state database atomically, so that an empty file is always damage."""
    draft = path.with_name(f".{path.name}.new")
    for more in ("", *BESIDE):
        draft.with_name(f"{draft.name}{more}").unlink(missing_ok=True)
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            connection.executescript(f"BEGIN; {schema()}; COMMIT")
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        sync(draft)
        draft.rename(path)
        sync(path.parent)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def recorded(path: Path, name: str) -> str | None:
    """A value of the table ``meta`` of a database that is not open."""
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else None


def stamp() -> str:
    """The current time, for file names."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"


def set_aside(path: Path, moment: str) -> Iterator[Path]:
    """Move a database and its log aside; yields each new path.

    The new names match, so that SQLite can open the database there.
    """
    aside = path.with_name(f"{path.name}.{moment}.replaced")
    for more in ("", *BESIDE):
        old = path.with_name(f"{path.name}{more}")
        if old.exists() or old.is_symlink():
            yield old.rename(aside.with_name(f"{aside.name}{more}"))


def schema() -> str:
    """``schema.sql``: inside an installed package, or at the top of a source tree."""
    package = Path(__file__).parents[1]
    for path in (package / "schema.sql", package.parent / "schema.sql"):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise StateError(
        "cannot find schema.sql: the installation is incomplete, install the package again"
    )
