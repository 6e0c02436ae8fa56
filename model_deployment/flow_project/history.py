"""Saves ``settings.yaml``, and keeps each text that it has had: who saved the text, and when."""

import contextlib
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model_deployment.core.errors import DiskFull, InvalidProject, NotFound, PreconditionFailed
from model_deployment.flow_project.files import MAX_BYTES, SETTINGS_FILE, read_text, sha256_of
from model_deployment.flow_project.parse import parse

HISTORY_FOLDER = ".settings-history"
#: Older texts are removed.
MOST_KEPT = 200
#: Who has saved a text that the history finds in the file.
OUTSIDE = ""


@dataclass(frozen=True, slots=True)
class Saved:
    """One text that the settings have had."""

    #: From 1, rising.
    number: int
    sha256: str
    at: datetime
    #: The user; empty if the file was edited outside the controller, or nobody needs a password.
    by: str
    text: str


def save(folder: Path, text: str, *, by: str, expected: str | None = None) -> Saved:
    """Replace ``settings.yaml`` by a text that can be used; the same text again changes nothing.

    Args:
        expected: the SHA-256 of the text that this one replaces; None replaces any.

    Raises:
        InvalidProject: the text cannot be used, or the folder cannot be written.
        PreconditionFailed: the file has another text than ``expected``.
        DiskFull: there is no room.
    """
    if len(text.encode()) > MAX_BYTES:
        raise InvalidProject(
            f"cannot save the settings: they have more than {MAX_BYTES} bytes; describe fewer experiments"
        )
    parse(text)
    with _writing(folder):
        current = _current(folder)
        if expected is not None and (current is None or sha256_of(current) != expected):
            raise PreconditionFailed(
                "cannot save the settings: somebody has changed them since they were read; read them "
                "again, and repeat the change"
            )
        newest = _note_edited(folder, current)
        if current == text and newest is not None:
            return newest
        _replace(folder / SETTINGS_FILE, text)
        return _keep(folder, text, by, (newest.number if newest else 0) + 1)


def entries(folder: Path) -> list[Saved]:
    """All texts that are kept, the newest first. A file edited outside is kept with the next save."""
    return [found for path in reversed(_paths(folder)) if (found := _read(path)) is not None]


def entry(folder: Path, number: int) -> Saved:
    """One text.

    Raises:
        NotFound: it is not kept.
    """
    found = _read(_path(folder, number))
    if found is None:
        raise NotFound(
            f"cannot find the settings number {number}: the newest {MOST_KEPT} are kept; "
            "the history lists them"
        )
    return found


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """One writer at a time, of all processes."""
    try:
        (folder / HISTORY_FOLDER).mkdir(exist_ok=True)
        with (folder / HISTORY_FOLDER / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"cannot save the settings: the disk of {folder} is full; free some space"
            ) from None
        raise InvalidProject(
            f"cannot save the settings in {folder}: {error.strerror}; the controller's user has to be "
            "able to write there"
        ) from None


def _current(folder: Path) -> str | None:
    """The text that the file has; None: it has none, or one that no save could have written."""
    with contextlib.suppress(InvalidProject):
        return read_text(folder)
    return None


def _note_edited(folder: Path, current: str | None) -> Saved | None:
    """The entry of the current text; it is made if the file was edited outside."""
    newest = next(iter(entries(folder)), None)
    if current is None or (newest is not None and newest.text == current):
        return newest
    written = datetime.fromtimestamp((folder / SETTINGS_FILE).stat().st_mtime, UTC)
    return _keep(folder, current, OUTSIDE, (newest.number if newest else 0) + 1, written)


def _keep(folder: Path, text: str, by: str, number: int, at: datetime | None = None) -> Saved:
    kept = Saved(number, sha256_of(text), at or datetime.now(UTC), by, text)
    document = {
        "number": kept.number,
        "sha256": kept.sha256,
        "at": kept.at.isoformat(),
        "by": kept.by,
        "text": kept.text,
    }
    _replace(_path(folder, number), json.dumps(document, indent=1) + "\n")
    for old in _paths(folder)[:-MOST_KEPT]:
        old.unlink(missing_ok=True)
    return kept


def _replace(path: Path, content: str) -> None:
    """Write a file so that a kill at any moment leaves the old or the new content.

    The file keeps its permissions, and a link stays one.
    """
    path = path.resolve()
    draft = path.with_name(f".{path.name}.new")
    try:
        with draft.open("w", encoding="utf-8", newline="") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(path, draft)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def _paths(folder: Path) -> list[Path]:
    return sorted((folder / HISTORY_FOLDER).glob("[0-9]*.json"))


def _path(folder: Path, number: int) -> Path:
    return folder / HISTORY_FOLDER / f"{number:06}.json"


def _read(path: Path) -> Saved | None:
    """None if the file is gone, or no entry."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        at = datetime.fromisoformat(found["at"])
        return Saved(int(found["number"]), found["sha256"], at, found["by"], found["text"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
