"""The versions of training data that are kept in a data directory, and what flows found out about them.

A version is one file, named by its SHA-256. Its folder is ``<data dir>/training-data/<sha256>/``:

- ``data.csv`` or ``data.parquet``: the file, byte for byte as it was uploaded;
- ``version.json``: a :class:`Version`;
- ``analysis/<experiment>.json`` and ``.html``: the newest analysis for each experiment;
- ``registry.json``: where the registry has a copy.

A folder is written under another name and renamed, so a version is there whole or not at all. Names that
begin with a full stop are no versions: uploads that have not ended, and folders that are being removed.
"""

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from model_deployment.core.errors import Conflict, InvalidName, NotFound

FOLDER = "training-data"
#: The media types of uploads, by format.
MEDIA_TYPES: Mapping[str, str] = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}
_SHA256 = re.compile("[0-9a-f]{64}")
#: An experiment names a file of each version.
_EXPERIMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_VERSION, _REGISTRY, _ANALYSIS = "version.json", "registry.json", "analysis"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a file, with its type as Arrow names it, for example ``int64`` or ``string``."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the training data.

    Attributes:
        sha256: of the file, 64 lower-case hexadecimal digits.
        experiment: for which the file was uploaded.
        format: ``csv`` or ``parquet``.
        name: of the uploaded file; for people only.
        uploaded_at: in UTC.
        uploaded_by: a user, or None where the controller has no users.
        path: of the file.
    """

    sha256: str
    experiment: str
    format: str
    rows: int
    columns: tuple[Column, ...]
    bytes: int
    uploaded_at: datetime
    uploaded_by: str | None
    name: str | None
    path: Path

    @property
    def order(self) -> tuple[datetime, str]:
        """By which versions are sorted: the newest is the largest."""
        return self.uploaded_at, self.sha256

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a folder.

        Raises:
            OSError, ValueError, TypeError, KeyError: it is not a version.
        """
        fields = json.loads((folder / _VERSION).read_bytes())
        if fields["format"] not in MEDIA_TYPES or fields["sha256"] != folder.name:
            raise ValueError(folder)
        moment = datetime.fromisoformat(fields.pop("uploaded_at")).astimezone(UTC)
        columns = tuple(Column(**column) for column in fields.pop("columns"))
        return cls(
            **fields,
            uploaded_at=moment,
            columns=columns,
            path=folder / f"data.{fields['format']}",
        )

    def write(self, folder: Path) -> None:
        """Describe a folder that holds the file already."""
        fields = asdict(self) | {"uploaded_at": self.uploaded_at.isoformat()}
        del fields["path"]
        _write(folder / _VERSION, json.dumps(fields, ensure_ascii=False).encode())


class KnownVersion(Conflict):
    """The same file was uploaded before."""

    def __init__(self, version: Version) -> None:
        super().__init__(
            f"cannot keep this file a second time: version {version.sha256} has the same content; "
            f"it was uploaded {version.uploaded_at:%Y-%m-%d %H:%M} UTC for the experiment "
            f"{version.experiment}. Start a run with data={version.sha256} to use it again, also for "
            "another experiment",
            extra={"sha256": version.sha256, "experiment": version.experiment},
        )


class Versions:
    """The versions in a data directory. Several processes may use it at once."""

    def __init__(self, data_dir: Path | str) -> None:
        self.folder = Path(data_dir) / FOLDER

    def list(self, experiment: str | None = None) -> list[Version]:
        """All versions, or those uploaded for one experiment; the newest first."""
        found = [
            version
            for version in self._all()
            if experiment is None or version.experiment == experiment
        ]
        return sorted(found, key=lambda version: version.order, reverse=True)

    def get(self, sha256: str) -> Version:
        """One version.

        Raises:
            NotFound: there is no such version, or no longer.
        """
        folder = self._of(sha256)
        try:
            return Version.read(folder)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise _unknown(sha256) from error

    def newest(self, experiment: str) -> Version | None:
        """The version that was uploaded last for an experiment; None: none was."""
        return max(
            (version for version in self._all() if version.experiment == experiment),
            key=lambda version: version.order,
            default=None,
        )

    @contextlib.contextmanager
    def incoming(self) -> Iterator[Path]:
        """A folder for an upload that has not ended; whatever is left of it afterwards is removed."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = self.folder / f".incoming-{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, incoming: Path, version: Version) -> Version:
        """Make a version of the folder of an upload, whose file has the name that the version's path has.

        A damaged folder of that version is moved aside, and removed by the next :meth:`sweep`.

        Raises:
            KnownVersion: the same file is there already.
        """
        version.write(incoming)
        _sync(incoming / version.path.name)
        _sync(incoming)
        folder = self._of(version.sha256)
        try:
            incoming.rename(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            with contextlib.suppress(NotFound):
                raise KnownVersion(self.get(version.sha256)) from error
            folder.rename(self.folder / f".deleted-{secrets.token_hex(8)}")
            incoming.rename(folder)
        _sync(self.folder)
        return self.get(version.sha256)

    def delete(self, sha256: str) -> None:
        """Remove a version with its analyses; a killed process leaves nothing that is listed.

        Raises:
            NotFound: there is no such version.
        """
        gone = self.folder / f".deleted-{secrets.token_hex(8)}"
        try:
            self._of(sha256).rename(gone)
        except FileNotFoundError as error:
            raise _unknown(sha256) from error
        _sync(self.folder)
        shutil.rmtree(gone, ignore_errors=True)

    def sweep(self, older_than: float = 0.0) -> None:
        """Remove what killed processes left.

        Args:
            older_than: as a POSIX time stamp; what has changed later belongs to somebody who lives.
        """
        if not self.folder.is_dir():
            return
        for folder in self.folder.iterdir():
            if folder.name.startswith((".incoming-", ".deleted-")):
                with contextlib.suppress(FileNotFoundError):
                    if not older_than or folder.stat().st_mtime < older_than:
                        shutil.rmtree(folder, ignore_errors=True)

    def keep_analysis(
        self, sha256: str, experiment: str, summary: Mapping[str, Any], page: str
    ) -> None:
        """Keep the newest analysis of a version for an experiment.

        Args:
            summary: what :meth:`analyses` gives back; JSON.
            page: HTML, complete in itself.

        Raises:
            NotFound: there is no such version.
            InvalidName: an experiment cannot be called that.
        """
        name = _file_name(experiment)
        folder = self.get(sha256).path.parent / _ANALYSIS
        folder.mkdir(exist_ok=True, mode=0o700)
        _write(folder / f"{name}.html", page.encode())
        _write(folder / f"{name}.json", json.dumps(summary, ensure_ascii=False).encode())

    def analyses(self, sha256: str) -> dict[str, dict[str, Any]]:
        """The summaries of a version's analyses, by experiment.

        Raises:
            NotFound: there is no such version.
        """
        folder = self.get(sha256).path.parent / _ANALYSIS
        found = {}
        for file in sorted(folder.glob("*.json")) if folder.is_dir() else ():
            with contextlib.suppress(OSError, ValueError):
                found[file.stem] = json.loads(file.read_bytes())
        return found

    def page(self, sha256: str, experiment: str) -> Path:
        """The page of an analysis.

        Raises:
            NotFound: there is no such version, or no analysis for this experiment.
            InvalidName: an experiment cannot be called that.
        """
        name = _file_name(experiment)
        page = self.get(sha256).path.parent / _ANALYSIS / f"{name}.html"
        if not page.is_file():
            raise NotFound(
                f"cannot find an analysis of version {sha256} for the experiment {experiment}: no run "
                "has made one; start data_flow or full_flow with this version"
            )
        return page

    def keep_registry(self, sha256: str, place: Mapping[str, Any]) -> None:
        """Remember where the registry has a copy; JSON."""
        _write(self.get(sha256).path.parent / _REGISTRY, json.dumps(place).encode())

    def registry(self, sha256: str) -> dict[str, Any] | None:
        """Where the registry has a copy; None: nowhere yet."""
        file = self.get(sha256).path.parent / _REGISTRY
        try:
            place = json.loads(file.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return place if isinstance(place, dict) else None

    def _all(self) -> Iterator[Version]:
        with contextlib.suppress(FileNotFoundError):
            for folder in self.folder.iterdir():
                if _SHA256.fullmatch(folder.name):
                    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                        yield Version.read(folder)

    def _of(self, sha256: str) -> Path:
        if not _SHA256.fullmatch(sha256):
            raise _unknown(sha256)
        return self.folder / sha256


def _unknown(sha256: str) -> NotFound:
    return NotFound(
        f"cannot find the version {sha256[:70]!a} of the training data: there is none with this "
        "SHA-256; GET /datasets lists the versions"
    )


def _file_name(experiment: str) -> str:
    if not _EXPERIMENT.fullmatch(experiment):
        raise InvalidName(
            f"cannot use the experiment {experiment[:70]!a}: a name has 1 to 128 letters, digits, "
            "'.', '_' and '-', and begins with a letter, a digit or '_'"
        )
    return experiment


def _write(file: Path, content: bytes) -> None:
    """Write a file under another name, and rename it."""
    unfinished = file.with_name(f".{file.name}-{secrets.token_hex(4)}")
    try:
        with unfinished.open("xb") as target:
            target.write(content)
            target.flush()
            os.fsync(target.fileno())
        unfinished.rename(file)
    finally:
        unfinished.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Have the disk hold a file or folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
