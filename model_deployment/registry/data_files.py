"""Copies data files from folders that are allowed, whatever links and paths claim.

Anybody who may write to the registry chooses the source of a logged dataset, and the files of a run. So a
file is opened first, and copied only if the opened file lies in an allowed folder.
"""

import csv
import errno
import os
import re
import shutil
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote

from model_deployment.registry.links import is_circle
from model_deployment.registry.s3_objects import S3Object, read_prefix
from model_deployment.registry.values import shown

_CHUNK = 1024 * 1024
_LONGEST_HEADER = 1024 * 1024
_FILE_URL = re.compile(
    r"file:(?://(?:localhost)?)?(/(?!/).*)", re.ASCII | re.DOTALL | re.IGNORECASE
)
_WEB_URL = re.compile(r"https?://", re.ASCII | re.IGNORECASE)
_S3_URL = "s3://"
#: The file is missing, is not ours to read, or is not a file.
_PERMANENT = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO}
)


class NotRetrievable(Exception):
    """The file is missing, not allowed, or not a table. Trying again does not help."""


def local_path(text: str) -> Path | None:
    """The file that an absolute path or a ``file:`` URL names; None for anything else."""
    if found := _FILE_URL.fullmatch(text):
        text = unquote(found[1])
    return Path(text) if text.startswith("/") and "\0" not in text else None


def allowed_folders(entries: Iterable[str]) -> list[Path]:
    """Read the folders in the list of places that logged datasets may be copied from.

    Web addresses, which earlier releases took, are left out: see :func:`no_longer_read`.

    Raises:
        ValueError: an entry is no absolute folder (the root folder is none) and no address of S3.
    """
    folders = []
    for entry in entries:
        if _WEB_URL.match(entry) or (entry.startswith(_S3_URL) and read_prefix(entry)):
            continue
        if not entry.startswith("/") or "\0" in entry or Path(entry).resolve() == Path("/"):
            raise ValueError(
                f"cannot allow training data from {shown(entry)!r}: write an absolute path, or s3://BUCKET/PREFIX/"
            )
        folders.append(Path(entry))
    return folders


def allowed_prefixes(entries: Iterable[str]) -> list[S3Object]:
    """Read the prefixes ``s3://bucket/prefix/`` in the list."""
    return [
        prefix for entry in entries if entry.startswith(_S3_URL) and (prefix := read_prefix(entry))
    ]


def no_longer_read(entries: Iterable[str]) -> list[str]:
    """The web addresses in the list, as they may be shown."""
    return [shown(entry) for entry in entries if _WEB_URL.match(entry)]


def containing(path: Path, folders: Sequence[Path]) -> Path | None:
    """The folder, with its links resolved, that contains a file once all links are followed."""
    try:
        real = path.resolve()
        resolved = [folder.resolve() for folder in folders]
    except (OSError, RuntimeError, ValueError):
        return None
    if is_circle(path):
        return None
    return next((one for one in resolved if real != one and real.is_relative_to(one)), None)


def copy(path: Path, folders: Sequence[Path], target: Path, max_bytes: int) -> None:
    """Copy a regular file that lies in one of the folders, even if links change meanwhile.

    Raises:
        NotRetrievable: the file is not in these folders, not a regular file, or too large.
        OSError: the disk fails.
    """
    folder = containing(path, folders)
    if folder is None:
        raise NotRetrievable(f"{path} is not in an allowed folder")
    # Without blocking: the path may be a pipe.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path.resolve(), flags)
    except OSError as error:
        if error.errno not in _PERMANENT:
            raise
        raise NotRetrievable(f"{path}: {error.strerror}") from None
    try:
        # The opened file is checked, not what the path named a moment ago.
        if not Path(f"/proc/self/fd/{descriptor}").readlink().is_relative_to(folder):
            raise NotRetrievable(f"{path} is not in an allowed folder")
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRetrievable(f"{path} is not a file")
        with target.open("xb") as copied:
            while chunk := os.read(descriptor, _CHUNK):
                if copied.tell() + len(chunk) > max_bytes:
                    raise NotRetrievable(f"the file is larger than {max_bytes} bytes")
                copied.write(chunk)
    finally:
        os.close(descriptor)


def column_names(path: Path) -> list[str]:
    """The names of the columns of a Parquet or CSV file.

    Raises:
        NotRetrievable: the file is neither.
    """
    try:
        if path.suffix == ".parquet":
            from pyarrow import parquet

            return [str(name) for name in parquet.read_schema(path).names]
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = next(csv.reader([file.readline(_LONGEST_HEADER)]), [])
    except (OSError, ValueError, csv.Error) as error:  # pyarrow raises the first two
        raise NotRetrievable(f"the file cannot be read: {brief(error)}") from None
    if not names:
        raise NotRetrievable("the file has no columns")
    return names


def brief(error: Exception) -> str:
    """The first line of an error, at most 200 characters."""
    text = (getattr(error, "strerror", None) or str(error)).strip()
    return (text.splitlines() or [type(error).__name__])[0][:200]


def remove_folder(folder: Path) -> None:
    """Remove a folder if it exists."""
    shutil.rmtree(folder, ignore_errors=True)
