"""The local cache of model artifacts: downloaded once, verified before each start.

An entry is a folder ``<name>`` with the artifacts in ``model/`` and their SHA-256 digests in
``manifest.json``. It appears by one rename, complete or not at all, readable by its owner only: what
lies here is code that will be run. A damaged entry is not used, and stays until its replacement is
there: a model may still be reading it.

Models are not served from there: some write beside their artifacts, or into them. Each start gets a copy
of its own in ``served/``, as it was downloaded. What the launch before had written is told once, and is
kept in ``left/`` until another one has written something.
"""

import asyncio
import contextlib
import hashlib
import json
import secrets
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from model_deployment.registry import model_copy

#: Puts a version's artifacts below a folder, which it makes, and returns the one with ``MLmodel`` in
#: it. One that goes on after it was cancelled removes the folder when it ends: nobody else can tell.
Download = Callable[[Path], Awaitable[Path]]

T = TypeVar("T")

_PARTIAL = ".partial-"
#: What the copy that is served looked like when it was made.
_STAMPS = "served.json"

#: Notes something among the events of the deployment.
Tell = Callable[[str], None]


class Damaged(Exception):
    """The cached files are not those that were downloaded."""


class ArtifactCache:
    """The folder of cached artifacts."""

    def __init__(self, root: Path) -> None:
        self._root = root
        #: One preparation of an entry at a time; they would take each other's result for damaged.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        #: What was told of damaged entries that are not replaced yet: each of many tries finds it anew.
        self._told: dict[str, str] = {}
        #: The same of what was told last of copies.
        self._written: dict[str, str] = {}

    def open(self) -> None:
        """Create the folder, and clear away downloads that an earlier controller did not finish."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root.chmod(0o700)
        for left in self._root.glob(f"{_PARTIAL}*"):
            shutil.rmtree(left, ignore_errors=True)

    def path(self, name: str) -> Path:
        """Where an entry's artifacts are, or would be."""
        return self._root / name / "model"

    async def ensure(self, name: str, download: Download, tell: Tell = lambda text: None) -> Path:
        """Local artifacts to serve, as they were downloaded; a missing or damaged entry is downloaded.

        Args:
            tell: is told of a damaged entry, of files that a model wrote among its artifacts, and where
                there is no room for a copy.

        Raises:
            Damaged: a fresh download holds no model, or reaches out of its folder; or the entry is damaged
                and ``download`` failed.
            Exception: whatever ``download`` raises where there is no entry.
        """
        async with self._locks.setdefault(name, asyncio.Lock()):
            damage = await asyncio.to_thread(self._damage, name)
            if damage is not None:
                await self._mend(name, damage, download, tell)
            self._told.pop(name, None)
            path, written = await _whole(lambda: self._serve(name))
            if written and self._written.get(name) != written:
                tell(written)
            self._written[name] = written
            return path

    async def _mend(self, name: str, damage: str, download: Download, tell: Tell) -> None:
        if not damage:
            await self._replace(name, download)
            return
        what = f"the local copy of the artifacts is damaged ({damage})"
        if self._told.get(name) != damage:
            self._told[name] = damage
            tell(f"{what}; fetching them again")
        try:
            await self._replace(name, download)
        except Exception as error:
            why = str(error) or type(error).__name__
            raise Damaged(f"{what}, and they cannot be fetched again: {why}") from error

    async def _replace(self, name: str, download: Download) -> None:
        folder = self._root / f"{_PARTIAL}{secrets.token_hex(8)}"
        try:
            source = await download(folder)
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise
        # The thread goes on: who comes next has to find either all it does or nothing of it.
        await _whole(lambda: self._adopt(name, folder, source))

    def _damage(self, name: str) -> str | None:
        """What is wrong with an entry; None if nothing is, empty if there is none."""
        try:
            self.verify(name)
        except FileNotFoundError:
            return "" if not self.path(name).exists() else "its manifest is gone"
        except Damaged as error:
            return str(error)
        return None

    def verify(self, name: str) -> None:
        """Compare an entry with its manifest.

        Raises:
            FileNotFoundError: there is no such entry.
            Damaged: a file was changed or removed since the download. What was added is not looked at: only
                what was downloaded is served.
        """
        manifest = _read_manifest(self._root / name / "manifest.json")
        folder = self.path(name)
        missing = manifest.keys() - {*model_copy.files(folder)}
        if missing:
            raise Damaged(f"missing: {model_copy.listed(missing)}")
        for file in sorted(manifest):
            if _digest(folder / file) != manifest[file]:
                raise Damaged(f"{file} has changed")

    def _serve(self, name: str) -> tuple[Path, str]:
        """A copy to serve, in place of that of the launch before; and what is to be told of that."""
        entry = self._root / name
        work = self._root / f"{_PARTIAL}{secrets.token_hex(8)}"
        before = _read_stamps(entry / _STAMPS)
        served = entry / "served"
        try:
            work.mkdir(mode=0o700)
            names = sorted(_read_manifest(entry / "manifest.json"))
            stamps = model_copy.make(self.path(name), work / "new", names)
            found = model_copy.Written()
            if served.exists() and before.files:
                found = model_copy.written(served, before.files)
            noted = {"files": stamps, "told": before.told or bool(found)}
            (work / "stamps").write_text(json.dumps(noted), encoding="utf-8")
            # From here on nothing needs room.
            with contextlib.suppress(FileNotFoundError):
                served.rename(work / "old")
                _keep(entry, work, found)
            (work / "stamps").rename(entry / _STAMPS)
            (work / "new").rename(served)
        except OSError as error:
            # What the last launch has left is better than to have it write into what was downloaded.
            left = (served / "MLmodel").is_file()
            return served if left else self.path(name), _not_copied(error, left=left)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return served, _told(name, found) if found and not before.told else ""

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
            names = model_copy.files(entry / "model")
            manifest = {file: _digest(entry / "model" / file) for file in names}
            (entry / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            with contextlib.suppress(FileNotFoundError):  # the damaged one, if there is one
                (self._root / name).rename(work / "damaged")
            entry.rename(self._root / name)
        finally:
            for left in (work, folder):
                shutil.rmtree(left, ignore_errors=True)


def _check(model: Path) -> None:
    """Refuse what is no model, or leads to files that are not the model's own."""
    for file in model_copy.files(model):
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
    if not isinstance(manifest, dict) or "MLmodel" not in manifest:
        raise Damaged("the manifest has another shape")
    return manifest


class _Before(NamedTuple):
    """What was noted of the copy of the launch before."""

    files: dict[str, Any]
    told: bool


def _read_stamps(path: Path) -> _Before:
    """Nothing where that cannot be read."""
    try:
        found = json.loads(path.read_bytes())
        return _Before(dict(found["files"]), found["told"] is True)
    except (OSError, ValueError, TypeError, KeyError):
        return _Before({}, told=False)


def _told(name: str, found: model_copy.Written) -> str:
    return (
        f"the model writes among its artifacts ({found}). Each start gets them as they were registered; "
        f"what the last launch wrote is in models/{name}/left of the data directory, until another one has "
        "written something. Have the model keep elsewhere what has to stay"
    )


def _not_copied(error: OSError, *, left: bool) -> str:
    what = (
        "it starts with them as the last launch left them"
        if left
        else "what was downloaded is served itself, and is damaged by a model that writes into it"
    )
    return f"cannot copy the artifacts ({error.strerror or error}), so {what}: make room"


def _keep(entry: Path, work: Path, found: model_copy.Written) -> None:
    """Keep what the launch before wrote into its copy."""
    if found.added or found.changed:
        model_copy.keep_only(work / "old", {*found.added, *found.changed})
        with contextlib.suppress(FileNotFoundError):
            (entry / "left").rename(work / "older")
        (work / "old").rename(entry / "left")


async def _whole(work: Callable[[], T]) -> T:
    """Work on a thread, which is waited for also by a caller who is cancelled."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    # Retrieved here, since a caller who was cancelled does not ask what has become of it.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def _remove_compiled(folder: Path) -> None:
    """Python loads compiled files in place of the source."""
    for compiled in [*folder.rglob("__pycache__")]:
        if compiled.is_dir() and not compiled.is_symlink():
            shutil.rmtree(compiled)


def _digest(path: Path) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
