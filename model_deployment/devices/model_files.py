"""The files of a version as devices get them: fetched, verified; plain files also where it has links."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from model_deployment.core.errors import Conflict
from model_deployment.core.names import ModelKey
from model_deployment.devices.blobs import BlobStore, WrongContent
from model_deployment.devices.manifest import MODEL, ReleaseFile, UnfitRelease
from model_deployment.registry.artifacts import ArtifactCache
from model_deployment.registry.values import RegisteredVersion

_log = logging.getLogger(__name__)

#: Files of a release, and folders within each other, at most. Links may lead to folders above them.
_MOST_FILES, _MOST_FOLDERS = 10_000, 40
#: A cached entry may be replaced while its files are taken.
_TRIES = 3


class VersionSource(Protocol):
    """The registry."""

    async def version(self, key: ModelKey) -> RegisteredVersion: ...

    async def download(self, key: ModelKey, destination: Path) -> Path: ...


@dataclass(frozen=True, slots=True)
class PlainFile:
    """A file and the SHA-256 that it had when it was downloaded."""

    source: Path
    sha256: str


def plain_files(folder: Path, digests: Mapping[str, str]) -> dict[str, PlainFile]:
    """The files of a model by relative path with ``/``; links are followed.

    Args:
        digests: as the artifact cache has them. Files that it does not list were added later and are left
            out.

    Raises:
        UnfitRelease: there are too many, or names that are no text.
        OSError: a folder cannot be read.
    """
    root = folder.resolve(strict=True)
    found: dict[str, PlainFile] = {}

    def take(place: Path, path: str, depth: int) -> None:
        real = place.resolve(strict=True)
        if real.is_dir():
            if depth > _MOST_FOLDERS:
                raise UnfitRelease(
                    "cannot release the model: its folders lie too deep, or a link leads to a folder above"
                )
            for inner in sorted(real.iterdir()):
                take(inner, f"{path}/{inner.name}" if path else inner.name, depth + 1)
            return
        digest = digests.get(real.relative_to(root).as_posix())
        if digest is None:
            return
        if len(found) >= _MOST_FILES:
            raise UnfitRelease(
                f"cannot release the model: it has more than {_MOST_FILES} files; put them into an archive"
            )
        found[path] = PlainFile(real, digest)

    take(root, "", 0)
    return found


@dataclass(frozen=True, slots=True)
class FetchedModel:
    """A version whose files are blobs.

    Attributes:
        folder: of the cached artifacts, to read only.
        digests: of the files in it, as the cache has them.
        plain: what is released, by path in the folder.
        files: the same as a manifest has them.
    """

    key: ModelKey
    folder: Path
    digests: Mapping[str, str]
    plain: Mapping[str, PlainFile]
    files: tuple[ReleaseFile, ...]

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(file.size for file in self.files)


class ModelFiles:
    """Fetches versions."""

    def __init__(self, cache: ArtifactCache, registry: VersionSource, blobs: BlobStore) -> None:
        self._cache = cache
        self._registry = registry
        self._blobs = blobs

    async def fetch(self, key: ModelKey) -> FetchedModel:
        """Make the files of a version blobs.

        Raises:
            UnknownModel: the registry has no such version.
            Conflict: the version is not complete in the registry.
            UnfitRelease: its files cannot be released.
            DiskFull, OSError, Damaged, RegistryUnavailable: they cannot be had, or there is no room.
        """
        version = await self._registry.version(key)
        if version.status != "READY":
            raise Conflict(f"cannot release {key}: its status in the registry is {version.status}")
        for left in reversed(range(_TRIES)):
            await self._cache.registered(
                version.artifact, partial(self._registry.download, key), partial(_report, key)
            )
            try:
                return await asyncio.to_thread(self._take, key, version.artifact)
            except (FileNotFoundError, WrongContent):
                if not left:
                    raise
        raise AssertionError  # the last try has raised

    def _take(self, key: ModelKey, entry: str) -> FetchedModel:
        folder, digests = self._cache.path(entry), self._cache.digests(entry)
        plain = plain_files(folder, digests)
        files = []
        for path, file in plain.items():
            self._blobs.add(file.source, file.sha256)
            size = self._blobs.path(file.sha256).stat().st_size
            files.append(ReleaseFile(f"{MODEL}/{path}", size, file.sha256))
        return FetchedModel(key, folder, digests, plain, tuple(files))


def _report(key: ModelKey, text: str) -> None:
    _log.warning("%s: %s", key, text)
