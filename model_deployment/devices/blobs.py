"""The files of releases, each under the SHA-256 of its content: ``releases/blobs/<sha256>``.

A blob is a hard link of a verified file of the artifact cache where the disk is the same, else a copy, so
it stays when the cache's folder is removed. It appears whole, by one rename. Its content is checked against
its name before it is sent for the first time, and again whenever the file has changed since: a program that
writes into the file of the cache writes into the blob, too.
"""

import contextlib
import errno
import hashlib
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Collection
from pathlib import Path

from model_deployment.core.errors import DiskFull

_log = logging.getLogger(__name__)

FOLDER = Path("releases", "blobs")
_SHA256 = re.compile("[0-9a-f]{64}")
#: Begins the name of a file that is no blob yet.
_PARTIAL = ".partial-"
#: Bytes that have to stay free on the disk, for the state of the controller.
_SPARE = 64 * 1024 * 1024
#: Seconds that a blob stays without a release.
GRACE = 3600.0

#: Inode, size, and times of the last change of the content and of the file, in nanoseconds.
_Stamp = tuple[int, int, int, int]


class WrongContent(Exception):
    """A file has not the SHA-256 that it should have."""


class BlobStore:
    """The blobs of a data directory. Every call may take as long as reading the file: not on the loop."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / FOLDER
        #: The file that was found whole, by digest.
        self._checked: dict[str, _Stamp] = {}

    def open(self) -> None:
        """Make the folder, and remove what an interrupted controller left."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        for left in self.folder.glob(f"{_PARTIAL}*"):
            left.unlink(missing_ok=True)

    def path(self, sha256: str) -> Path:
        """Where a blob is, whether it exists or not.

        Raises:
            ValueError: this is no SHA-256 in lower-case hexadecimal digits.
        """
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"{sha256[:80]!a} is no SHA-256")
        return self.folder / sha256

    def has(self, sha256: str) -> bool:
        """Whether a blob exists, whole or not."""
        return self.path(sha256).is_file()

    def checked(self, sha256: str) -> Path | None:
        """The path of a blob that has the content of its name; None if there is none.

        A damaged one is removed, so that it can be added again.
        """
        path = self.path(sha256)
        try:
            if self._checked.get(sha256) == (stamp := _stamp(path)):
                return path
            found = digest(path)
        except FileNotFoundError:
            return None
        if found != sha256:
            _log.error("the file %s of a release has changed, and is removed", sha256)
            self._checked.pop(sha256, None)
            path.unlink(missing_ok=True)
            return None
        self._checked[sha256] = stamp
        return path

    def add(self, source: Path, sha256: str | None = None) -> str:
        """Make a file a blob, unless there is one; returns its SHA-256.

        Args:
            source: a file, whose links are followed. It stays.
            sha256: that it must have; None: whatever it has.

        Raises:
            WrongContent: it has another SHA-256.
            FileNotFoundError: there is no such file.
            DiskFull: it cannot be copied for lack of space.
        """
        if sha256 is not None and self.checked(sha256) is not None:
            return sha256
        draft = self.folder / f"{_PARTIAL}{secrets.token_hex(8)}"
        try:
            _link_or_copy(source.resolve(strict=True), draft)
            found = digest(draft)  # not of the source, which may be replaced meanwhile
            if sha256 is not None and found != sha256:
                raise WrongContent(f"{source.name} has the SHA-256 {found}, not {sha256}")
            draft.rename(self.path(found))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _disk_full() from error
            raise
        finally:
            draft.unlink(missing_ok=True)
        return found

    def tidy(self, keep: Collection[str], *, grace: float = GRACE) -> int:
        """Remove all blobs but these; returns how many were removed.

        Args:
            grace: seconds since a blob was added or linked in which it stays: its release may not be
                written down yet.
        """
        removed = 0
        for path in self.folder.iterdir():
            if path.name in keep or not _SHA256.fullmatch(path.name):
                continue
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_ctime < grace:
                    continue
            path.unlink(missing_ok=True)
            self._checked.pop(path.name, None)
            removed += 1
        return removed


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _link_or_copy(source: Path, target: Path) -> None:
    with contextlib.suppress(OSError):  # another disk, or a file system without hard links
        target.hardlink_to(source)
        return
    if shutil.disk_usage(target.parent).free < source.stat().st_size + _SPARE:
        raise _disk_full()
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _disk_full() -> DiskFull:
    return DiskFull(
        "cannot keep the files of the release: the disk of the data directory is full. Free some space, "
        "then set the model again"
    )


def _stamp(path: Path) -> _Stamp:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
