"""The local cache of model artifacts: downloaded once, verified before each start.

An entry is a folder ``<name>`` with the artifacts in ``model/`` and their SHA-256 digests in
``manifest.json``. It appears by one rename, complete or not at all, readable by its owner only: what
lies here is code that will be run.
"""

import asyncio
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

#: Puts a version's artifacts below a folder, and returns the one with ``MLmodel`` in it.
Download = Callable[[Path], Awaitable[Path]]

_PARTIAL = ".partial-"


class Damaged(Exception):
    """The cached files are not those that were downloaded."""


class ArtifactCache:
    """The folder of cached artifacts."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self) -> None:
        """Create the folder, and clear away downloads that an earlier controller did not finish."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root.chmod(0o700)
        for left in self._root.glob(f"{_PARTIAL}*"):
            shutil.rmtree(left, ignore_errors=True)

    def path(self, name: str) -> Path:
        """Where an entry's artifacts are, or would be."""
        return self._root / name / "model"

    async def ensure(self, name: str, download: Download) -> Path:
        """The verified local artifacts; a missing or damaged entry is downloaded.

        Raises:
            Damaged: a fresh download holds no model.
            Exception: whatever ``download`` raises.
        """
        if await asyncio.to_thread(self._intact, name):
            return self.path(name)
        partial = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=_PARTIAL, dir=self._root))
        try:
            source = await download(partial / "download")
            await asyncio.to_thread(self._adopt, name, partial, source)
        finally:
            await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
        return self.path(name)

    def _intact(self, name: str) -> bool:
        try:
            self.verify(name)
        except (Damaged, FileNotFoundError):
            shutil.rmtree(self._root / name, ignore_errors=True)
            return False
        return True

    def verify(self, name: str) -> None:
        """Compare an entry with its manifest.

        Raises:
            FileNotFoundError: there is no such entry.
            Damaged: a file was changed, added or removed since the download.
        """
        manifest = _read_manifest(self._root / name / "manifest.json")
        folder = self.path(name)
        _remove_compiled(folder)
        found = set(_files(folder))
        if found != manifest.keys():
            raise Damaged(f"files came or went: {sorted(found ^ manifest.keys())[:5]}")
        for file in sorted(found):
            if _digest(folder / file) != manifest[file]:
                raise Damaged(f"{file} has changed")

    def _adopt(self, name: str, partial: Path, source: Path) -> None:
        if not (source / "MLmodel").is_file():
            raise Damaged("cannot use the downloaded artifacts: there is no MLmodel file in them")
        entry = partial / "entry"
        entry.mkdir(mode=0o700)
        source.rename(entry / "model")
        _remove_compiled(entry / "model")
        manifest = {file: _digest(entry / "model" / file) for file in _files(entry / "model")}
        (entry / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        try:
            entry.rename(self._root / name)
        except OSError:
            if not self._intact(name):  # not because somebody else was faster
                raise


def _read_manifest(path: Path) -> dict[str, str]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Damaged(f"the manifest cannot be read: {error}") from error
    if not isinstance(manifest, dict):
        raise Damaged("the manifest has another shape")
    return manifest


def _remove_compiled(folder: Path) -> None:
    """A model server writes compiled files, and loads them in place of the source."""
    for compiled in [*folder.rglob("__pycache__")]:
        if compiled.is_dir() and not compiled.is_symlink():
            shutil.rmtree(compiled)


def _files(folder: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        # A link to a folder is as good as the files in it, and is not walked into.
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in (*names, *links):
            yield (Path(parent) / name).relative_to(folder).as_posix()


def _digest(path: Path) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
