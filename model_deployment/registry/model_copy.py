"""Makes a cheap copy of a model's files that its processes may write into, and finds what they wrote.

Files of usual sizes and databases, which change when they are opened, are copied. Very large files are
cloned if the file system can, else shared by a hard link and made read-only.
"""

import contextlib
import ctypes
import fcntl
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

#: Bytes from which on a file is not copied. Copying a smaller one takes less time than its verification.
LARGE = 256 * 1024 * 1024
#: See ioctl_ficlone(2).
_FICLONE = 0x40049409
#: Offset and bytes that mark a database: SQLite, DuckDB, LMDB.
_DATABASES = ((0, b"SQLite format 3\0"), (8, b"DUCK"), (16, b"\xde\xc0\xef\xbe"))
_WRITABLE = 0o222
#: See renameat2(2): paths are relative to the working directory, and both change places.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
#: Folders of files that Python and Numba compiled.
COMPILED = "__pycache__"

#: Size, time of the last change in nanoseconds, and inode. A written file has a different stamp.
Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes of a copy; names are relative to it."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    def __str__(self) -> str:
        parts = {"added": self.added, "changed": self.changed, "removed": self.removed}
        return "; ".join(f"{how} {listed(names)}" for how, names in parts.items() if names)


def listed(names: Iterable[str], limit: int = 5) -> str:
    """The first few names, for messages."""
    ordered = sorted(names)
    more = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(ordered[:limit]) + more


def files(folder: Path) -> list[str]:
    """The relative names of all files below a folder. A link to a folder counts as a file."""
    found = []
    for parent, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        found += [(Path(parent) / name).relative_to(folder).as_posix() for name in (*names, *links)]
    return found


def make(source: Path, target: Path, names: Iterable[str]) -> dict[str, Stamp]:
    """Copy these files into a new folder; returns their stamps there.

    Raises:
        OSError: the disk is full, or a file cannot be read.
    """
    target.mkdir(mode=0o700)
    for folder, _, _ in os.walk(source):
        inside = Path(folder).relative_to(source)
        if COMPILED not in inside.parts:
            (target / inside).mkdir(exist_ok=True)
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        _copy(source / name, target / name)
    return {name: _stamp(target / name) for name in names}


def written(folder: Path, stamps: Mapping[str, Stamp]) -> Changes:
    """The changes since a copy was made. Compiled files do not count."""
    found = {name for name in files(folder) if COMPILED not in Path(name).parts[:-1]}
    return Changes(
        tuple(sorted(found - stamps.keys())),
        tuple(n for n in sorted(found & stamps.keys()) if _stamp(folder / n) != tuple(stamps[n])),
        tuple(sorted(stamps.keys() - found)),
    )


def put(new: Path, place: Path, before: Path) -> None:
    """Move a folder to its place; the one that was there, if any, moves to ``before``.

    A process that reads the folder at its place always finds one or the other, where the kernel and the
    file system can exchange two folders.

    Raises:
        OSError: it cannot be moved.
    """
    if not place.exists():
        new.rename(place)
    elif _exchange(new, place):
        new.rename(before)
    else:
        place.rename(before)
        new.rename(place)


def keep_only(folder: Path, names: Iterable[str]) -> None:
    """Remove all other files of a copy, and the folders that become empty."""
    kept = set(names)
    for name in files(folder):
        if name not in kept:
            (folder / name).unlink(missing_ok=True)
    for parent, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):  # not empty
            Path(parent).rmdir()


def _copy(source: Path, target: Path) -> None:
    if source.is_symlink():
        target.symlink_to(source.readlink())
        return
    mode = source.stat().st_mode & 0o777
    if source.stat().st_size >= LARGE and not _is_database(source):
        if _clone(source, target):
            target.chmod(mode | 0o200)
            return
        with contextlib.suppress(OSError):  # a file system without hard links
            target.hardlink_to(source)
            source.chmod(mode & ~_WRITABLE)
            return
    shutil.copyfile(source, target)
    target.chmod(mode | 0o200)


def _clone(source: Path, target: Path) -> bool:
    try:
        with source.open("rb") as old, target.open("xb") as new:
            fcntl.ioctl(new, _FICLONE, old.fileno())
    except OSError:
        target.unlink(missing_ok=True)
        return False
    return True


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False if that is not possible here."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    paths = os.fsencode(one), os.fsencode(other)
    return bool(rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0)


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(64)
    return any(head[at : at + len(sign)] == sign for at, sign in _DATABASES)


def _stamp(path: Path) -> Stamp:
    found = path.lstat()
    return found.st_size, found.st_mtime_ns, found.st_ino
