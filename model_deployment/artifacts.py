"""The local cache of model artifacts: downloaded once, verified before each start.

An entry is a folder ``<name>`` with the artifacts in ``model/`` and their SHA-256 digests in
``manifest.json``. It appears by one rename, complete or not at all, readable by its owner only: what
lies here is code that will be run. A damaged entry is not used, and stays until its replacement is
there: a model may still be reading it.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from weakref import WeakValueDictionary

#: Puts a version's artifacts below a folder, which it makes, and returns the one with ``MLmodel`` in
#: it. One that goes on after it was cancelled removes the folder when it ends: nobody else can tell.
Download = Callable[[Path], Awaitable[Path]]

_PARTIAL = ".partial-"


class Damaged(Exception):
    """The cached files are not those that were downloaded."""


class ArtifactCache:
    """The folder of cached artifacts."""

    def __init__(self, root: Path) -> None:
        self._root = root
        #: One preparation of an entry at a time; they would take each other's result for damaged.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

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
            Damaged: a fresh download holds no model, or reaches out of its folder.
            Exception: whatever ``download`` raises.
        """
        async with self._locks.setdefault(name, asyncio.Lock()):
            if not await asyncio.to_thread(self._intact, name):
                await self._replace(name, download)
        return self.path(name)

    async def _replace(self, name: str, download: Download) -> None:
        folder = self._root / f"{_PARTIAL}{secrets.token_hex(8)}"
        try:
            source = await download(folder)
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise
        adopting = asyncio.ensure_future(asyncio.to_thread(self._adopt, name, folder, source))
        # Retrieved here, since a caller who was cancelled does not ask what has become of it.
        adopting.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await asyncio.shield(adopting)
        except asyncio.CancelledError:
            # The thread goes on: who comes next has to find either all it does or nothing of it.
            await asyncio.wait({adopting})
            raise

    def _intact(self, name: str) -> bool:
        try:
            self.verify(name)
        except (Damaged, FileNotFoundError):
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

    def _adopt(self, name: str, folder: Path, source: Path) -> None:
        work = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=self._root))
        try:
            if not source.resolve().is_relative_to(folder.resolve()):
                raise Damaged("cannot use the downloaded artifacts: they are not where they belong")
            entry = work / "entry"
            entry.mkdir(mode=0o700)
            source.rename(entry / "model")
            _check(entry / "model")
            _remove_compiled(entry / "model")
            manifest = {file: _digest(entry / "model" / file) for file in _files(entry / "model")}
            (entry / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            with contextlib.suppress(FileNotFoundError):  # the damaged one, if there is one
                (self._root / name).rename(work / "damaged")
            entry.rename(self._root / name)
        finally:
            for left in (work, folder):
                shutil.rmtree(left, ignore_errors=True)


def _check(model: Path) -> None:
    """Refuse what is no model, or leads to files that are not the model's own."""
    for file in _files(model):
        if (model / file).is_symlink() and not _stays(model / file, model):
            raise Damaged(f"cannot use the downloaded artifacts: the link {file} leaves them")
    if not (model / "MLmodel").is_file():
        raise Damaged("cannot use the downloaded artifacts: there is no MLmodel file in them")


def _stays(link: Path, model: Path) -> bool:
    # The model moves to its place after this, and an absolute one would not move along.
    if link.readlink().is_absolute():
        return False
    try:
        return link.resolve().is_relative_to(model.resolve())
    except (OSError, RuntimeError):  # a circle
        return False


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
            # Another may be at it, and what is left is found to be damage.
            shutil.rmtree(compiled, ignore_errors=True)


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
