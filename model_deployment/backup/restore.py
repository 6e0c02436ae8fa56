"""Puts a backup back: checked before anything is changed, and never half of it.

What was there is moved aside. While files are exchanged, ``restore-unfinished`` is there, with which no
controller starts.
"""

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_deployment.backup.archive import (
    DOCUMENTS,
    INSTANCE,
    STATE,
    BadArchive,
    Manifest,
    extract,
)
from model_deployment.core.errors import StateError
from model_deployment.documents import embedded
from model_deployment.documents.base import StoreUnavailable
from model_deployment.runtime import identity
from model_deployment.state import files, instance
from model_deployment.state.database import DatabaseError, Lock, unusable
from model_deployment.state.snapshot import BESIDE, sync

#: Folders of an archive that is being looked at.
_WORKSHOP = ".restore-"
#: How far captures have reached a store that is replaced now.
_PROGRESS = "spool/drain.json"


@dataclass(frozen=True, slots=True)
class Restored:
    """What was done."""

    manifest: Manifest
    #: Where the files are that were there.
    aside: Sequence[Path]


def restore(
    data_dir: Path,
    archive: Path,
    *,
    force: bool = False,
    clone: bool = False,
    step: Callable[[str], None] = lambda name: None,
) -> Restored:
    """Make a data directory what it was when the backup was made.

    Args:
        data_dir: made if it is not there.
        archive: what ``backup`` has written.
        force: move aside what is there.
        clone: give the data directory a name of its own, for a second controller beside the first.
        step: called between any two changes, with the name of the last one.

    Raises:
        StateError: a controller runs there, or there is something and ``force`` was not given.
        BadArchive: the backup is damaged, or none.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = Lock(data_dir / "controller.lock")
        lock.acquire()
        with contextlib.ExitStack() as stack:
            stack.callback(lock.release)
            folder = stack.enter_context(_workshop(data_dir))
            manifest = extract(archive, folder)
            _check(archive, folder, manifest)
            name = _choose_name(data_dir, manifest, force=force, clone=clone)
            if not force:
                _refuse_to_replace(data_dir, manifest)
            # The rows of another data directory tell of processes that are not ours to touch.
            files.prepare_restored(folder / STATE, foreign=name != manifest.instance or clone)
            instance.write(folder / INSTANCE, name)
            for file in (*folder.iterdir(), data_dir / "controller.lock"):
                files.give_to_owner(file, data_dir)
            return Restored(manifest, [*_exchange(data_dir, folder, manifest, step)])
    except (OSError, DatabaseError) as error:
        raise unusable(data_dir, error) from error


@contextlib.contextmanager
def _workshop(data_dir: Path) -> Iterator[Path]:
    for left in data_dir.glob(f"{_WORKSHOP}*"):  # by a restore that was killed: the lock is ours
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=data_dir, prefix=_WORKSHOP) as folder:
        yield Path(folder)


def _check(archive: Path, folder: Path, manifest: Manifest) -> None:
    """What checksums do not tell: that the files are ours, whole, and of a layout we know."""
    try:
        files.check(folder / STATE, shown_as=archive)
        if DOCUMENTS in manifest.members:
            embedded.look_through(folder / DOCUMENTS)
            sync(folder / DOCUMENTS)
    except (DatabaseError, StoreUnavailable, StateError) as error:
        raise BadArchive(f"cannot use the backup {archive}: {error}") from error
    if instance.read(folder / INSTANCE) != manifest.instance:
        raise BadArchive(f"cannot use the backup {archive}: it has two names")


def _choose_name(data_dir: Path, manifest: Manifest, *, force: bool, clone: bool) -> str:
    """The name that model processes are known by.

    A data directory keeps its own: the models that run for it carry that. One that has none takes that of
    the backup, unless somebody else goes by it.
    """
    if (own := instance.read(data_dir / INSTANCE)) is not None:
        return own
    if clone:
        return secrets.token_hex(6)
    if not force and any(identity.marked_processes(manifest.instance)):
        raise StateError(
            f"cannot restore to {data_dir}: models of the controller that was backed up run on this "
            "machine. If its data directory was lost, take them over with --force; if it is to go on "
            "beside this one, use --clone"
        )
    return manifest.instance


def _refuse_to_replace(data_dir: Path, manifest: Manifest) -> None:
    names = [f"{name}{more}" for name in _databases(manifest) for more in ("", *BESIDE)]
    if there := [name for name in names if os.path.lexists(data_dir / name)]:
        raise StateError(
            f"cannot restore to {data_dir}: {', '.join(there)} would be replaced. With --force they are "
            "kept under another name, and replaced"
        )


def _databases(manifest: Manifest) -> list[str]:
    return [name for name in (STATE, DOCUMENTS) if name in manifest.members]


def _exchange(
    data_dir: Path, folder: Path, manifest: Manifest, step: Callable[[str], None]
) -> Iterator[Path]:
    """Everything up to here may be cut off without a trace; from here on it has to be finished."""
    sync(folder)
    step("checked")
    marker = data_dir / files.UNFINISHED
    marker.touch(mode=0o600)
    sync(data_dir)
    step("announced")
    moment = files.stamp()
    for name in _databases(manifest):
        for moved in files.set_aside(data_dir / name, moment):
            step(f"moved {moved.name}")
            yield moved
    if DOCUMENTS in manifest.members and (progress := data_dir / _PROGRESS).exists():
        # What is in the spool may have reached the other store only. Twice is once.
        yield progress.rename(progress.with_name(f"{progress.name}.{moment}.replaced"))
        step("moved the progress")
    for name in (INSTANCE, *_databases(manifest)):
        (folder / name).rename(data_dir / name)
        step(f"placed {name}")
    sync(data_dir)
    step("placed all")
    marker.unlink()
    sync(data_dir)
    step("done")
