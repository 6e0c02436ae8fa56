"""Which files the devices of a project may load: those that its releases name, by digest or path."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from model_deployment.core.devices import DeviceProject
from model_deployment.core.errors import NotFound, Unavailable, UnknownProject
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import Release
from model_deployment.devices.manifest import ReleaseFile, ReleaseManifest
from model_deployment.devices.publish import ReleasePublisher

#: Releases of a project, newest first, whose files are sent besides those that devices may be told to run.
RELEASES = 50
#: Seconds after which a caller tries again while files are fetched.
_RETRY_AFTER = 10

#: A project by its name or id; None if there is none.
FindProject = Callable[[str], Awaitable[DeviceProject | None]]


class FindsReleases(Protocol):
    """``state/releases.py`` does."""

    async def offerable(self, project: DeviceProject) -> Sequence[Release]: ...

    async def all(self, project: DeviceProject, limit: int) -> Sequence[Release]: ...


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a release, which is there and whole."""

    file: ReleaseFile
    path: Path


@dataclass(frozen=True, slots=True)
class _Listed:
    """The files of a manifest."""

    key: ModelKey
    by_digest: Mapping[str, ReleaseFile]
    by_path: Mapping[str, ReleaseFile]


class ReleaseFiles:
    """Finds files."""

    def __init__(
        self, projects: FindProject, releases: FindsReleases, publisher: ReleasePublisher
    ) -> None:
        self._projects = projects
        self._releases = releases
        self._publisher = publisher

    async def by_digest(self, project: str, sha256: str) -> StoredFile:
        """A file by its SHA-256.

        Raises:
            UnknownProject: there is no such project.
            NotFound: none of its releases has such a file, or only one whose files are kept no longer.
            Unavailable: it is missing at the moment, and is being fetched.
        """
        async for release, wanted in self._signed(project):
            if file := _listed(release.manifest).by_digest.get(sha256):
                return await self.stored(release, file, wanted=wanted)
        raise NotFound(f"cannot find the file {sha256[:80]!a}: no release of this project has it")

    async def by_path(self, project: str, key: ModelKey, path: str) -> StoredFile:
        """A file of the newest release of a version, by its path in the manifest. Raises as
        :meth:`by_digest`.
        """
        async for release, wanted in self._signed(project):
            listed = _listed(release.manifest)
            if listed.key != key:
                continue
            if file := listed.by_path.get(path):
                return await self.stored(release, file, wanted=wanted)
            raise NotFound(
                f"cannot find the file {path[:200]!a}: release {release.number} has not it"
            )
        raise NotFound(f"cannot find files of {key}: this project has no release of it")

    async def stored(
        self, release: Release, file: ReleaseFile, *, wanted: bool = True
    ) -> StoredFile:
        """A file of a release.

        Args:
            wanted: devices may be told to run the release. Files of other releases are sent while they are
                there, and never fetched: one device could have the disk filled with old releases.

        Raises:
            NotFound: it is not there, and not wanted.
            Unavailable: it is missing at the moment, and is being fetched.
        """
        path = await asyncio.to_thread(self._publisher.blobs.checked, file.sha256)
        if path is None and not wanted:
            raise NotFound(
                f"cannot send the file {file.path[:200]!a}: release {release.number} is not wanted any "
                "more, and its files are not kept"
            )
        if path is None:
            self._publisher.restore_soon(release)
            raise Unavailable(
                f"cannot send the file {file.path[:200]!a} now: it is missing or damaged, and is fetched "
                "again from the registry",
                retry_after=_RETRY_AFTER,
            )
        return StoredFile(file, path)

    async def _signed(self, project: str) -> AsyncIterator[tuple[Release, bool]]:
        """Newest first, and whether devices may be told to run it; those come before all others."""
        found = await self._projects(project)
        if found is None:
            raise UnknownProject(f"cannot find the project {project[:64]!a}")
        for release in await self._releases.offerable(found):
            yield release, True
        for release in await self._releases.all(found, RELEASES):
            if release.manifest:
                yield release, False


@lru_cache(maxsize=64)
def _listed(manifest: str) -> _Listed:
    parsed = ReleaseManifest.parse(manifest)
    return _Listed(
        parsed.key,
        {file.sha256: file for file in parsed.files},
        {file.path: file for file in parsed.files},
    )
