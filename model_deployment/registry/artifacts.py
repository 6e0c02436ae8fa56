"""The local cache of model artifacts: downloaded once, verified before each start.

An entry is a folder ``<name>`` with the artifacts in ``model/`` and their SHA-256 digests in
``manifest.json``. An entry appears complete, by one rename, and only its owner can read it: the files are
code that will run. A damaged entry is not used, but stays until its replacement is complete, since a model
may still read it.

Models are not served from ``model/``, because some write among their artifacts. Each start gets a copy in
``served/`` to which nobody has written: a fresh one takes the place of the one before at once, since other
launches may be loading the model. What the launch before wrote is reported once, and stays in ``left/``
until a later launch has written something.
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
from model_deployment.registry.links import is_circle

#: Creates the given folder, puts a version's artifacts below it, and returns the folder with ``MLmodel``.
#: A download that goes on after it was cancelled removes its folder when it ends.
Download = Callable[[Path], Awaitable[Path]]

T = TypeVar("T")

_PARTIAL = ".partial-"
#: Sizes and times of the files in ``served/`` when the copy was made.
_STAMPS = "served.json"

#: Adds an event to the deployment.
Report = Callable[[str], None]


class Damaged(Exception):
    """The cached files differ from the downloaded ones."""


class ArtifactCache:
    """The folder of cached artifacts."""

    def __init__(self, root: Path) -> None:
        self._root = root
        #: One preparation of an entry at a time: two would take each other's files for damage.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        #: The reported damage of entries that are not replaced yet. Each of many attempts finds it again.
        self._reported_damage: dict[str, str] = {}
        #: The last report on each copy.
        self._reported_copies: dict[str, str] = {}

    def open(self) -> None:
        """Create the folder, and remove unfinished downloads of an earlier controller."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root.chmod(0o700)
        for left in self._root.glob(f"{_PARTIAL}*"):
            shutil.rmtree(left, ignore_errors=True)

    def path(self, name: str) -> Path:
        """The folder of an entry's artifacts, whether it exists or not."""
        return self._root / name / "model"

    async def registered(
        self, name: str, download: Download, report: Report = lambda text: None
    ) -> Path:
        """The artifacts as they were registered, to read only. A missing or damaged entry is downloaded.

        Raises as :meth:`ensure`.
        """
        async with self._locks.setdefault(name, asyncio.Lock()):
            await self._ensure_whole(name, download, report)
            return self.path(name)

    async def ensure(
        self, name: str, download: Download, report: Report = lambda text: None
    ) -> Path:
        """A copy of the artifacts to serve. A missing or damaged entry is downloaded first.

        Args:
            report: receives a damaged entry, files that a model wrote among its artifacts, and a copy that
                does not fit on the disk.

        Raises:
            Damaged: the download contains no model, or leads out of its folder; or the entry is damaged
                and ``download`` failed.
            Exception: ``download`` failed and there was no entry.
        """
        async with self._locks.setdefault(name, asyncio.Lock()):
            await self._ensure_whole(name, download, report)
            path, message = await _uncancelled(lambda: self._serve(name))
            if message and self._reported_copies.get(name) != message:
                report(message)
            self._reported_copies[name] = message
            return path

    async def _ensure_whole(self, name: str, download: Download, report: Report) -> None:
        damage = await asyncio.to_thread(self._damage, name)
        if damage is not None:
            await self._replace_damaged(name, damage, download, report)
        self._reported_damage.pop(name, None)

    async def _replace_damaged(
        self, name: str, damage: str, download: Download, report: Report
    ) -> None:
        if not damage:
            await self._replace(name, download)
            return
        what = f"the local copy of the artifacts is damaged ({damage})"
        if self._reported_damage.get(name) != damage:
            self._reported_damage[name] = damage
            report(f"{what}; fetching them again")
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
        # A cancelled caller waits too: the next one must find all or nothing of this work.
        await _uncancelled(lambda: self._adopt(name, folder, source))

    def _damage(self, name: str) -> str | None:
        """What is wrong with an entry: None if nothing is, empty if there is no entry."""
        try:
            self.verify(name)
        except FileNotFoundError:
            return "" if not self.path(name).exists() else "its manifest is missing"
        except Damaged as error:
            return str(error)
        return None

    def digests(self, name: str) -> dict[str, str]:
        """The SHA-256 of each file of an entry, or ``link to`` and where a link leads.

        Raises:
            FileNotFoundError: there is no such entry.
            Damaged: its manifest cannot be read.
        """
        return _read_manifest(self._root / name / "manifest.json")

    def verify(self, name: str) -> None:
        """Compare an entry with its manifest.

        Raises:
            FileNotFoundError: there is no such entry.
            Damaged: a file was changed or removed since the download. Added files do not count: they are
                not served.
        """
        manifest = self.digests(name)
        folder = self.path(name)
        missing = manifest.keys() - {*model_copy.files(folder)}
        if missing:
            raise Damaged(f"missing: {model_copy.listed(missing)}")
        for file in sorted(manifest):
            if _digest(folder / file) != manifest[file]:
                raise Damaged(f"{file} has changed")

    def _serve(self, name: str) -> tuple[Path, str]:
        """Replace the copy of the launch before; returns the new copy, and an event to report."""
        entry = self._root / name
        work = self._root / f"{_PARTIAL}{secrets.token_hex(8)}"
        before = _read_stamps(entry / _STAMPS)
        served = entry / "served"
        try:
            work.mkdir(mode=0o700)
            names = sorted(_read_manifest(entry / "manifest.json"))
            found = model_copy.Changes()
            if served.exists() and before.files:
                found = model_copy.written(served, before.files)
                compiled = next(served.rglob(model_copy.COMPILED), None)
                if not (found or compiled) and sorted(before.files) == names:
                    return served, ""  # another launch may be loading the model from it
            stamps = model_copy.make(self.path(name), work / "new", names)
            record = {"files": stamps, "told": before.reported or bool(found)}
            (work / "stamps").write_text(json.dumps(record), encoding="utf-8")
            # From here on no step needs room on the disk. Without stamps nothing is taken for written.
            (entry / _STAMPS).unlink(missing_ok=True)
            model_copy.put(work / "new", served, work / "old")
            (work / "stamps").rename(entry / _STAMPS)
            if (work / "old").exists():
                _keep(entry, work, found)
        except OSError as error:
            # An old copy is better than letting the model write into the downloaded files.
            left = (served / "MLmodel").is_file()
            return served if left else self.path(name), _not_copied(error, left=left)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return served, _written_message(name, found) if found and not before.reported else ""

    def _adopt(self, name: str, folder: Path, source: Path) -> None:
        work = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=self._root))
        try:
            if not source.resolve().is_relative_to(folder.resolve()):
                raise Damaged("cannot use the downloaded artifacts: they are outside their folder")
            entry = work / "entry"
            entry.mkdir(mode=0o700)
            source.rename(entry / "model")
            _check(entry / "model")
            _remove_compiled(entry / "model")
            names = model_copy.files(entry / "model")
            manifest = {file: _digest(entry / "model" / file) for file in names}
            (entry / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            with contextlib.suppress(FileNotFoundError):  # unless there is no damaged one
                (self._root / name).rename(work / "damaged")
            entry.rename(self._root / name)
        finally:
            for left in (work, folder):
                shutil.rmtree(left, ignore_errors=True)


def _check(model: Path) -> None:
    """Refuse a folder without a model, or with links that leave it."""
    for file in model_copy.files(model):
        if (model / file).is_symlink() and not _stays(model / file, model):
            raise Damaged(
                f"cannot use the downloaded artifacts: the link {file} leaves their folder"
            )
    if not (model / "MLmodel").is_file():
        raise Damaged("cannot use the downloaded artifacts: they contain no MLmodel file")


def _stays(link: Path, model: Path) -> bool:
    # The folder moves afterwards, and an absolute link would not move along.
    if link.readlink().is_absolute():
        return False
    try:
        return not is_circle(link) and link.resolve().is_relative_to(model.resolve())
    except (OSError, RuntimeError):  # RuntimeError: a circle, before Python 3.13
        return False


def _read_manifest(path: Path) -> dict[str, str]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Damaged(f"the manifest cannot be read: {error}") from error
    if not isinstance(manifest, dict) or "MLmodel" not in manifest:
        raise Damaged("the manifest has an unknown format")
    return manifest


class _EarlierCopy(NamedTuple):
    """The stamps of the copy of the launch before, and whether its changes were reported."""

    files: dict[str, Any]
    reported: bool


def _read_stamps(path: Path) -> _EarlierCopy:
    """Empty if the stamps cannot be read."""
    try:
        found = json.loads(path.read_bytes())
        return _EarlierCopy(dict(found["files"]), found["told"] is True)
    except (OSError, ValueError, TypeError, KeyError):
        return _EarlierCopy({}, reported=False)


def _written_message(name: str, found: model_copy.Changes) -> str:
    return (
        f"the model writes among its artifacts ({found}). Each start gets them as they were registered; "
        f"the files that the last launch wrote are in models/{name}/left of the data directory, until "
        f"a later launch writes files. Make the model write files that must persist elsewhere"
    )


def _not_copied(error: OSError, *, left: bool) -> str:
    what = (
        "the model starts with the files that the last launch left"
        if left
        else "the model uses the downloaded files, and damages them if it writes into them"
    )
    return (
        f"cannot copy the artifacts: {error.strerror or error}; {what}; free some space on the disk"
    )


def _keep(entry: Path, work: Path, found: model_copy.Changes) -> None:
    """Move the files that the launch before wrote into its copy to ``left/``."""
    if found.added or found.changed:
        model_copy.keep_only(work / "old", {*found.added, *found.changed})
        with contextlib.suppress(FileNotFoundError):
            (entry / "left").rename(work / "older")
        (work / "old").rename(entry / "left")


async def _uncancelled(work: Callable[[], T]) -> T:
    """Work on a thread, and wait for its end even if the caller is cancelled."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    # A cancelled caller does not retrieve the exception.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def _remove_compiled(folder: Path) -> None:
    """Python would load compiled files in place of the source."""
    for compiled in [*folder.rglob(model_copy.COMPILED)]:
        if compiled.is_dir() and not compiled.is_symlink():
            shutil.rmtree(compiled)


def _digest(path: Path) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
