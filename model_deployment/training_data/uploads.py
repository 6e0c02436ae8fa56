"""Takes uploads: receives a file, has it checked, and keeps it as a version of the training data."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from model_deployment.core.errors import NotFound, TooBusy
from model_deployment.training_data.body import UploadedFile, clean_name
from model_deployment.training_data.checking import Checker, Original
from model_deployment.training_data.receiving import disk_full, ensure_room, is_full, receive
from model_deployment.training_data.versions import KnownVersion, Version, Versions

_log = logging.getLogger(__name__)

#: Uploads at a time.
_AT_ONCE = 4


@dataclass(frozen=True)
class Upload:
    """What comes with a file."""

    experiment: str
    file: UploadedFile
    #: Bytes of the body, as its headers announce them.
    declared: int | None
    user: str | None
    #: Of the file, if the caller gives another one than the form.
    name: str | None


@dataclass
class Uploads:
    """
    Attributes:
        original: what new data of an experiment are compared with; raises InvalidRequest or NotFound.
        max_bytes: that a file may have.
        kept: called after each new version.
    """

    versions: Versions
    checker: Checker
    original: Callable[[str], Original]
    max_bytes: int
    kept: Callable[[Version], None] = lambda version: None
    _under_way: int = field(default=0, init=False)

    async def take(self, upload: Upload) -> Version:
        """Keep a file.

        Raises:
            NotFound, InvalidRequest: there is no such experiment, or no project.
            PayloadTooLarge, UnsupportedMediaType, UnfitData: the file cannot be used.
            KnownVersion: it is kept already.
            TooBusy: other uploads are under way.
            DiskFull: there is no room for it.
        """
        original = await asyncio.to_thread(self.original, upload.experiment)
        if self._under_way >= _AT_ONCE:
            raise TooBusy(
                f"cannot take another upload: {_AT_ONCE} are under way; try again in a moment",
                retry_after=10,
            )
        self._under_way += 1
        try:
            version = await self._take(upload, original)
        except OSError as error:
            if is_full(error):
                raise disk_full(error) from error
            raise
        finally:
            self._under_way -= 1
        fields = {"experiment": version.experiment, "user": upload.user}
        _log.info(
            "version %s of the training data: %s rows", version.sha256, version.rows, extra=fields
        )
        self.kept(version)
        return version

    async def _take(self, upload: Upload, original: Original) -> Version:
        with self.versions.incoming() as folder:
            ensure_room(folder, upload.declared, self.max_bytes)
            path = folder / "received"
            pieces: AsyncIterator[bytes] = upload.file.pieces()
            sha256, size = await receive(pieces, path, limit=self.max_bytes)
            await asyncio.to_thread(self._refuse_known, sha256)
            table = await self.checker.check(path, upload.file.format, original, upload.experiment)
            version = Version(
                sha256=sha256,
                experiment=upload.experiment,
                format=table.format,
                rows=table.rows,
                columns=table.columns,
                bytes=size,
                uploaded_at=datetime.now(UTC),
                uploaded_by=upload.user,
                name=clean_name(upload.name) or upload.file.name,
                path=folder / f"data.{table.format}",
            )
            return await asyncio.to_thread(self._keep, path, version, folder)

    def _keep(self, path: Path, version: Version, folder: Path) -> Version:
        path.rename(version.path)
        return self.versions.keep(folder, version)

    def _refuse_known(self, sha256: str) -> None:
        try:
            version = self.versions.get(sha256)
        except NotFound:
            return
        raise KnownVersion(version)
