"""Makes a backup of a data directory, whether its controller runs or not."""

import contextlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from model_deployment import __version__
from model_deployment.backup.archive import (
    DOCUMENTS,
    FORMAT,
    INSTANCE,
    STATE,
    Manifest,
    Member,
    measure,
    write,
)
from model_deployment.core.errors import StateError
from model_deployment.documents.base import StoreUnavailable
from model_deployment.documents.embedded import file as documents_file
from model_deployment.state import files, instance
from model_deployment.state.database import DatabaseError, InUse, Lock
from model_deployment.state.snapshot import NeedsOwner, Unreadable, copy, sync

#: How often and with which pauses the state is tried where its controller is just starting or ending.
_TRIES, _PAUSE = 20, 0.1


def backup(data_dir: Path, target: Path, *, documents: str, force: bool = False) -> Manifest:
    """Write a backup, whole or not at all.

    Args:
        data_dir: what is backed up.
        target: the file to be written.
        documents: where captures and reports are kept: ``embedded`` or ``mongodb``.
        force: replace ``target`` if it is there.

    Raises:
        StateError: there is nothing to back up, or it is damaged, or the file cannot be written.
    """
    _check(data_dir, target, force=force)
    try:
        with _workshop(target) as folder:
            manifest = _gather(data_dir, folder, documents)
            archive = folder / "archive"
            with archive.open("xb") as file:
                write(file, manifest, folder)
                file.flush()
                os.fsync(file.fileno())
            archive.chmod(0o600)
            archive.rename(target)
            sync(target.parent)
    except (OSError, Unreadable, StoreUnavailable) as error:
        what = (isinstance(error, OSError) and error.strerror) or str(error)
        raise StateError(
            f"cannot back up {data_dir} to {target}: {what}. Nothing was written there"
        ) from error
    return manifest


def _check(data_dir: Path, target: Path, *, force: bool) -> None:
    if not data_dir.is_dir():
        raise StateError(
            f"cannot back up {data_dir}: there is no such folder. Set MODEL_DEPLOYMENT_DATA_DIR"
        )
    if not any((data_dir / name).exists() for name in (STATE, INSTANCE)):
        raise StateError(
            f"cannot back up {data_dir}: no controller has used it as its data directory. "
            "Set MODEL_DEPLOYMENT_DATA_DIR"
        )
    if target.is_dir():
        raise StateError(f"cannot write the backup {target}: it is a folder, name a file in it")
    if os.path.lexists(target) and not force:
        raise StateError(
            f"cannot write the backup {target}: it is there already. Replace it with --force"
        )


@contextlib.contextmanager
def _workshop(target: Path) -> Iterator[Path]:
    """A folder on the disk of the backup, so that the finished one only has to be renamed."""
    folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.unfinished-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _gather(data_dir: Path, folder: Path, documents: str) -> Manifest:
    """Copies of all there is, and the manifest of them.

    The documents come last: what they tell of, a deployment, is in the state then.
    """
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    _copy_state(data_dir, folder / STATE)
    try:
        files.check(folder / STATE, shown_as=data_dir / STATE)
    except DatabaseError as error:
        raise files.open_error(data_dir / STATE, error) from error
    members = {STATE: measure(folder / STATE, files.SCHEMA_VERSION)}
    name = instance.read(data_dir / INSTANCE) or files.recorded(folder / STATE, "instance_id")
    name = name or secrets.token_hex(6)
    instance.write(folder / INSTANCE, name)
    members[INSTANCE] = measure(folder / INSTANCE)
    had = files.recorded(folder / STATE, files.DOCUMENTS) is not None
    if documents == "embedded" and (had or (data_dir / DOCUMENTS).exists()):
        members[DOCUMENTS] = _copy_documents(data_dir / DOCUMENTS, folder / DOCUMENTS)
    return Manifest(FORMAT, __version__, moment, name, documents, members)


def _copy_state(data_dir: Path, target: Path) -> None:
    """While the controller runs, by a connection that only reads; else as its owner."""
    source = data_dir / STATE
    for last in (*([False] * _TRIES), True):
        lock = Lock(data_dir / "controller.lock")
        try:
            lock.acquire()
        except InUse:
            if not source.is_file():
                raise StateError(f"cannot find the state database {source}") from None
            try:
                copy(source, target)
                return
            except NeedsOwner:
                # Its controller is just starting, or has just ended.
                if last:
                    raise
                time.sleep(_PAUSE)
        else:
            with contextlib.ExitStack() as stack:
                stack.callback(lock.release)
                if not files.examine(source):
                    raise StateError(f"cannot find the state database {source}")
                copy(source, target, mode="rw")
                return


def _copy_documents(source: Path, target: Path) -> Member:
    if not source.is_file():
        raise StateError(f"cannot find the document store {source}. {documents_file.HELP}")
    # As one who may write: the last one to close it clears up, which who only reads cannot.
    copy(source, target, mode="rw")
    documents_file.check_all(target)
    return measure(target, documents_file.SCHEMA_VERSION)
