"""Restores a backup: everything is checked first, and then restored completely.

Existing files are moved aside. While files are exchanged the data directory has a file
``restore-unfinished``, with which no controller starts.
"""

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_deployment.backup import data_files, release_key
from model_deployment.backup.archive import (
    DOCUMENTS,
    INSTANCE,
    STATE,
    BadArchive,
    Manifest,
    Member,
    extract,
)
from model_deployment.backup.drain import end_drain
from model_deployment.core.errors import StateError
from model_deployment.documents.base import StoreUnavailable
from model_deployment.documents.embedded import file as documents_file
from model_deployment.runtime import identity
from model_deployment.state import files, instance, restored
from model_deployment.state.database import DatabaseError, Lock, unusable
from model_deployment.state.snapshot import BESIDE, sync

#: Prefix of the folder that an archive is extracted to.
_WORK_PREFIX = ".restore-"
#: How far captures have reached the store that is replaced.
_PROGRESS = "spool/drain.json"


@dataclass(frozen=True, slots=True)
class Restored:
    """The outcome of a restore."""

    manifest: Manifest
    #: The files that were moved aside.
    aside: Sequence[Path]


def restore(
    data_dir: Path,
    archive: Path,
    *,
    force: bool = False,
    clone: bool = False,
    step: Callable[[str], None] = lambda name: None,
) -> Restored:
    """Bring a data directory back to the time of the backup.

    Args:
        data_dir: created if missing.
        archive: a file that ``backup`` wrote.
        force: move existing files aside.
        clone: give the data directory an instance id of its own, for a second controller.
        step: called after each change with its name.

    Raises:
        StateError: a controller runs, or files exist and ``force`` was not given.
        BadArchive: the file is damaged, or not a backup.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = Lock(data_dir / "controller.lock")
        lock.acquire()
        with contextlib.ExitStack() as stack:
            stack.callback(lock.release)
            folder = stack.enter_context(_work_folder(data_dir))
            manifest = extract(archive, folder, _is_sound)
            _check(archive, folder, manifest)
            instance_id = _choose_instance_id(data_dir, manifest, force=force, clone=clone)
            if not force:
                _refuse_to_replace(data_dir, manifest)
            end_drain(data_dir)
            # The rows of another data directory name processes that are not ours to signal.
            foreign = instance_id != manifest.instance or clone
            restored.prepare(folder / STATE, foreign=foreign)
            instance.write(folder / INSTANCE, instance_id)
            for file in (*folder.rglob("*"), data_dir / "controller.lock"):
                files.give_to_owner(file, data_dir)
            return Restored(manifest, [*_exchange(data_dir, folder, manifest, step)])
    except (OSError, DatabaseError) as error:
        raise unusable(data_dir, error) from error


def _is_sound(name: str, member: Member) -> bool:
    return data_files.is_sound(name, member) or release_key.is_sound(name, member)


@contextlib.contextmanager
def _work_folder(data_dir: Path) -> Iterator[Path]:
    for left in data_dir.glob(f"{_WORK_PREFIX}*"):  # by a killed restore: we hold the lock
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=data_dir, prefix=_WORK_PREFIX) as folder:
        yield Path(folder)


def _check(archive: Path, folder: Path, manifest: Manifest) -> None:
    """Check what checksums cannot: the files are ours, undamaged, and of a known layout."""
    try:
        files.check(folder / STATE, shown_as=archive)
        if DOCUMENTS in manifest.members:
            documents_file.check_all(folder / DOCUMENTS)
            sync(folder / DOCUMENTS)
    except (DatabaseError, StoreUnavailable, StateError) as error:
        raise BadArchive(f"cannot use the backup {archive}: {error}") from error
    if instance.read(folder / INSTANCE) != manifest.instance:
        raise BadArchive(f"cannot use the backup {archive}: its two instance ids differ")


def _choose_instance_id(data_dir: Path, manifest: Manifest, *, force: bool, clone: bool) -> str:
    """Choose the instance id that marks model processes.

    A data directory keeps its id, since its running models carry it. Without one it takes the id of the
    backup, unless running models carry that.
    """
    if (own := instance.read(data_dir / INSTANCE)) is not None:
        return own
    if clone:
        return secrets.token_hex(6)
    # A companion is evidence as well: it may outlive the last model.
    running = identity.launched_processes, identity.companions
    if not force and any(any(find(manifest.instance)) for find in running):
        raise StateError(
            f"cannot restore to {data_dir}: models of the backed-up controller are running on this "
            f"machine. If that controller lost its data directory, adopt its models with --force; to "
            f"run both controllers, use --clone"
        )
    return manifest.instance


def _refuse_to_replace(data_dir: Path, manifest: Manifest) -> None:
    names = [f"{name}{more}" for name in _databases(manifest) for more in ("", *BESIDE)]
    there = [name for name in names if os.path.lexists(data_dir / name)]
    if there := there + release_key.replaced(data_dir, manifest):
        raise StateError(
            f"cannot restore to {data_dir}: {', '.join(there)} would be replaced; with --force they "
            f"are moved aside first"
        )


def _databases(manifest: Manifest) -> list[str]:
    return [name for name in (STATE, DOCUMENTS) if name in manifest.members]


def _exchange(
    data_dir: Path, folder: Path, manifest: Manifest, step: Callable[[str], None]
) -> Iterator[Path]:
    """Exchange the files. An interruption before this leaves no trace, one from here on the marker."""
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
    for moved in release_key.set_aside(data_dir, manifest, moment):
        step(f"moved {moved.name}")
        yield moved
    if DOCUMENTS in manifest.members and (progress := data_dir / _PROGRESS).exists():
        # Captures in the spool may have reached only the replaced store. Writing twice is harmless.
        yield progress.rename(progress.with_name(f"{progress.name}.{moment}.replaced"))
        step("moved the progress")
    for name in (INSTANCE, *_databases(manifest)):
        (folder / name).rename(data_dir / name)
        step(f"placed {name}")
    release_key.place(folder, data_dir)
    step("placed the release key")
    data_files.place(folder, data_dir)
    sync(data_dir)
    step("placed all")
    marker.unlink()
    sync(data_dir)
    step("done")
