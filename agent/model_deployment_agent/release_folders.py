"""Folders of releases, and the links ``current`` and ``previous`` that say which of them serve.

A folder appears whole or not at all: it is built beside, made durable, and renamed. Equal files are
there once, as hard links of ``blobs/``, where the file system has hard links.
"""

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Literal

from model_deployment_agent.errors import AgentError, UpdateFailed
from model_deployment_agent.folder import Folder, sync_folder, write_json
from model_deployment_agent.manifest import Manifest, Offer, ReleaseFile, opened

#: Bytes read at once.
CHUNK = 64 * 1024
#: The offer that a folder was built from.
OFFER = "release.json"

Link = Literal["current", "previous"]


class BrokenFile(UpdateFailed):
    """A file is not what the manifest says; it was removed, and may be loaded again."""


class ReleaseFolders:
    """What is below ``releases/`` and ``blobs/``."""

    def __init__(self, folder: Folder, public: bytes) -> None:
        self._folder = folder
        self._public = public
        folder.blobs.mkdir(parents=True, exist_ok=True)
        folder.releases.mkdir(parents=True, exist_ok=True)

    def named(self, link: Link) -> str | None:
        """Name of the folder that a link names; None if there is none, or it is not whole."""
        try:
            name = (self._folder.path / link).readlink().name
        except OSError:
            return None
        return name if (self._folder.releases / name / OFFER).exists() else None

    def path(self, name: str) -> Path:
        """The folder of that name."""
        return self._folder.releases / name

    def manifest(self, name: str) -> Manifest:
        """The manifest that a folder was built from; its signature is checked again.

        Raises:
            AgentError: it cannot be read, or is not signed.
        """
        try:
            found = json.loads((self.path(name) / OFFER).read_text())
        except (OSError, ValueError) as error:
            raise AgentError(f"cannot read the release {name}: {error!a:.200}") from error
        return opened(Offer.of(found), self._public)

    def damage(self, name: str) -> str:
        """What is wrong with the files of a folder; empty: each is as it was signed. Reads all of them."""
        try:
            manifest = self.manifest(name)
        except AgentError as error:
            return str(error)
        for file in manifest.files:
            if digest(self.path(name) / file.path) != file.sha256:
                return f"cannot use {file.path}: its SHA-256 is no longer that of the manifest"
        return ""

    def set_aside(self, name: str) -> None:
        """Serve a damaged folder no more, but the one before it; its good files need not be loaded again.

        Raises:
            AgentError: the disk takes no changes.
        """
        try:
            before = self.named("previous")
            if self.named("current") == name:
                if before is not None and before != name:
                    self.point("current", before)
                else:
                    self.unlink("current")
            if before is not None:
                self.unlink("previous")
            _remove(self.path(name))
        except OSError as error:
            raise AgentError(f"cannot set the release {name} aside: {error}") from error

    def fall_back(self) -> bool:
        """Where ``current`` is lost, let it name the release before, if there is one; whether it does.

        Raises:
            OSError: the disk takes no changes.
        """
        before = self.named("previous")
        if before is None or self.named("current") is not None:
            return False
        self.point("current", before)
        self.unlink("previous")
        return True

    def missing(self, manifest: Manifest) -> list[ReleaseFile]:
        """Files that have to be loaded, each content once, the smallest first."""
        wanted = {one.sha256: one for one in manifest.files}
        return sorted(
            (one for one in wanted.values() if not self._has(one)),
            key=lambda one: (one.size, one.sha256),
        )

    def _has(self, file: ReleaseFile) -> bool:
        try:
            return (self._folder.blobs / file.sha256).stat().st_size == file.size
        except OSError:
            return False

    def build(self, manifest: Manifest, offer: Offer) -> None:
        """Check all files, and make the folder of a release of them.

        Raises:
            BrokenFile: a file has another digest; it was removed.
            UpdateFailed: the folder cannot be written.
        """
        broken = [
            one
            for one in {one.sha256: one for one in manifest.files}.values()
            if digest(self._folder.blobs / one.sha256) != one.sha256
        ]
        for file in broken:
            (self._folder.blobs / file.sha256).unlink(missing_ok=True)
        if broken:
            raise BrokenFile(
                f"cannot use {broken[0].path}: its SHA-256 is not that of the manifest"
            )
        fresh = self._folder.releases / f".{manifest.folder}"
        try:
            _remove(fresh)
            for file in manifest.files:
                target = fresh / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(self._folder.blobs / file.sha256, target)
            fresh.mkdir(exist_ok=True)
            write_json(fresh / OFFER, offer.as_dict())
            for inside in sorted({fresh, *(path for path in fresh.rglob("*") if path.is_dir())}):
                sync_folder(inside)
            _remove(self.path(manifest.folder))
            fresh.rename(self.path(manifest.folder))
            sync_folder(self._folder.releases)
        except OSError as error:
            _remove(fresh)
            raise UpdateFailed(
                f"cannot write the folder of release {manifest.number}: {error}"
            ) from error

    def point(self, link: Link, name: str) -> None:
        """Let a link name a folder, in one step."""
        fresh, target = self._folder.path / f".{link}", self._folder.path / link
        _remove(fresh)
        fresh.symlink_to(Path("releases") / name)
        if not target.is_symlink():  # somebody copied the folder without its links
            _remove(target)
        fresh.replace(target)
        sync_folder(self._folder.path)

    def unlink(self, link: Link) -> None:
        """Remove a link."""
        _remove(self._folder.path / link)
        sync_folder(self._folder.path)

    def tidy(self, wanted: Manifest | None) -> None:
        """Remove folders besides ``current`` and ``previous``, and files that neither they nor the wanted
        release need."""
        kept = {self.named("current"), self.named("previous")}
        for path in self._folder.releases.iterdir():
            if path.name not in kept:
                _remove(path)
        needed = {one.sha256 for one in wanted.files} if wanted else set()
        for path in self._folder.blobs.iterdir():
            with contextlib.suppress(OSError):
                if path.name.removesuffix(".part") not in needed and path.stat().st_nlink == 1:
                    path.unlink()


def digest(path: Path) -> str:
    """SHA-256 of a file; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _link(blob: Path, target: Path) -> None:
    try:
        os.link(blob, target)
    except OSError:  # no hard links here
        shutil.copyfile(blob, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
