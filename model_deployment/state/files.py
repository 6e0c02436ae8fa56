"""The files of the state database: whether they are there, whole and ours; begun, and moved aside.

A state that was lost is never replaced by an empty one without being told to: that would end every model.
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

from model_deployment.core.domain import Endpoint
from model_deployment.core.errors import StateError
from model_deployment.core.options import Options
from model_deployment.state.snapshot import BESIDE, sync

#: Raised when the layout of the tables changes; compared with ``PRAGMA user_version``.
SCHEMA_VERSION = 3
#: There while a restore is under way, or was cut off.
UNFINISHED = "restore-unfinished"
#: The name in the table ``meta`` of whether there is an embedded document store.
DOCUMENTS = "documents"

_TABLES = {"meta", "deployments", "ports", "events"}

#: SQLite's codes for trouble that is not in the file: no room, no rights, a disk that fails.
_SURROUNDINGS = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
    }
)

_HELP = (
    "Nothing was changed, and models that still run go on serving. Restore a backup with "
    "`model-deployment restore --force FILE`, or begin with an empty state with `model-deployment serve "
    "--new-state`, which keeps the files there are, and ends those models"
)


class Unusable(StateError):
    """The files themselves are the trouble: only a backup helps, or an empty state."""


def examine(path: Path) -> bool:
    """Look at a state database without changing it; False if there never was one.

    Nobody else may have it open: the controller's lock is held.

    Raises:
        Unusable: it is lost, damaged, not ours, or was written by a newer release.
        StateError: it cannot be looked at.
    """
    if (unfinished := path.with_name(UNFINISHED)).exists():
        raise Unusable(
            f"cannot use the data directory {path.parent}: a restore was cut off, and what is there may be "
            f"of two different times ({unfinished.name} is there). {_HELP}"
        )
    if not path.exists():
        if had := _evidence(path):
            raise Unusable(
                f"cannot find the state database {path}, and this data directory has had one ({had} is "
                f"there). {_HELP}"
            )
        return False
    try:
        _look_at_copy(path)
    except (sqlite3.Error, OSError) as error:
        raise trouble(path, error) from error
    return True


def _evidence(path: Path) -> str:
    """What tells that there was a database; a controller makes none of these before it has one."""
    folder = path.parent
    names = ["instance-id", *(f"{path.name}{more}" for more in BESIDE), "documents.db"]
    found = [name for name in names if (folder / name).exists()]
    found += [f"spool/{segment.name}" for segment in sorted((folder / "spool").glob("*.seg"))]
    if path.is_symlink():
        found.append("a link to it")
    return found[0] if found else ""


_EXAMINE = ".examine-"


def give_to_owner(path: Path, folder: Path) -> None:
    """What root has made is for whom the folder belongs to: the controller may be somebody else."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def _look_at_copy(path: Path) -> None:
    """A copy, since opening the file itself changes it: SQLite merges a log left over."""
    if path.is_file() and not path.stat().st_size:
        raise sqlite3.DatabaseError("it is empty")
    # SQLite makes the log first and removes it last.
    log, index = (path.with_name(f"{path.name}{more}") for more in ("-wal", "-shm"))
    if index.exists() and not log.exists():
        raise sqlite3.DatabaseError(f"its log {log.name} is missing")
    for left in path.parent.glob(f"{_EXAMINE}*"):  # by a start that was killed: the lock is ours
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=_EXAMINE) as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        if log.exists():
            shutil.copyfile(log, f"{copy}-wal")
        look(copy, told=path)


def look(path: Path, *, told: Path) -> None:
    """Whether a database is whole and ours. May change the file.

    Args:
        path: the database, which nobody else has open.
        told: its name for messages.

    Raises:
        Unusable: it was written by a newer release.
        sqlite3.Error: it is damaged, or not ours.
    """
    with closing(sqlite3.connect(path)) as connection:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        names = set(connection.execute("SELECT type, name FROM sqlite_schema"))
        if not {("table", name) for name in _TABLES} <= names:
            raise sqlite3.DatabaseError("it is not a state database of model_deployment")
        if found > SCHEMA_VERSION:
            raise Unusable(
                f"cannot open the state database {told}: a newer release wrote it (layout {found}, "
                f"this one knows {SCHEMA_VERSION}). Use that release. {_HELP}"
            )
        if any(kind in {"trigger", "view"} for kind, _ in names):
            raise sqlite3.DatabaseError("there are triggers or views in it, and we make none")
        for problem in _problems(connection):
            raise sqlite3.DatabaseError(problem)


def _problems(connection: sqlite3.Connection) -> Iterator[str]:
    """All that can be told without knowing what the values mean."""
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        yield str(verdict)
    if connection.execute("PRAGMA foreign_key_check").fetchone():
        yield "there are events of no deployment"
    for options, handle in connection.execute("SELECT options, handle FROM deployments"):
        try:
            Options.from_dict(json.loads(options))
            if handle is not None:
                where = json.loads(handle)
                Endpoint(str(where["host"]), int(where["port"]))
                dict(where["ref"])
        except (ValueError, TypeError, KeyError, AttributeError):
            yield "the options of a deployment, or where it runs, cannot be read"


def trouble(path: Path, error: Exception) -> StateError:
    """The error of a database that cannot be opened, with what helps.

    A good file must not be given up because the disk is full.
    """
    what = (isinstance(error, OSError) and error.strerror) or str(error)
    text = f"cannot open the state database {path}: {what}"
    if isinstance(error, sqlite3.Error):
        surroundings = getattr(error, "sqlite_errorcode", 0) & 0xFF in _SURROUNDINGS
    else:
        surroundings = not isinstance(error, IsADirectoryError)
    if not surroundings:
        return Unusable(f"{text}. {_HELP}")
    return StateError(
        f"{text}. The file was not found to be damaged: leave it where it is, make sure that its disk "
        "works and has room, and that its folder can be written to, and start again"
    )


def make(path: Path) -> None:
    """Make an empty state database: whole or not at all, so that an empty file is always damage."""
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
    """A value of the table ``meta`` of a database that nobody has open."""
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else None


def stamp() -> str:
    """The moment, for names of files."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"


def set_aside(path: Path, moment: str) -> Iterator[Path]:
    """Move a database out of the way, with what belongs to it; yields each new place.

    The new names fit each other, so that SQLite opens it there.
    """
    aside = path.with_name(f"{path.name}.{moment}.replaced")
    for more in ("", *BESIDE):
        old = path.with_name(f"{path.name}{more}")
        if old.exists() or old.is_symlink():
            yield old.rename(aside.with_name(f"{aside.name}{more}"))


def settle(path: Path, *, strange: bool) -> None:
    """Make a restored database fit for a start.

    Its monotonic times may be long past, also on the boot they were written in. What was starting is
    asked once whether it is ready.

    Args:
        path: the database, which nobody else has open.
        strange: nothing that runs on this machine belongs to it.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(_SETTLE + (_FORGET if strange else "") + "COMMIT;")
    sync(path)


_SETTLE = """
BEGIN IMMEDIATE;
UPDATE deployments SET not_before = 0, ready_since = NULL, deadline = iif(deadline IS NULL, NULL, 0),
    tries = CASE state WHEN 'failed' THEN tries ELSE 0 END;
UPDATE ports SET quarantined_until = 0, blocked_until = 0;
"""

_FORGET = """
UPDATE ports SET launch_id = NULL;
UPDATE deployments SET launch_id = NULL, handle = NULL, port = NULL, step = NULL, deadline = NULL,
    state = iif(desired = 'running', 'pending', 'stopped'), reason = 'restored as a copy'
    WHERE launch_id IS NOT NULL;
"""


def schema() -> str:
    """``schema.sql``: inside an installed package, or at the top of a source tree."""
    package = Path(__file__).parents[1]
    for path in (package / "schema.sql", package.parent / "schema.sql"):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise StateError(
        "cannot find schema.sql: the installation is incomplete, install the package again"
    )
