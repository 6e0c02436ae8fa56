"""Makes a backup of a data directory, also while its controller runs."""

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
from model_deployment.backup import data_files, release_key
from model_deployment.backup.archive import (
    DATABASES_ONLY,
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
from model_deployment.state import files, instance, release_files
from model_deployment.state.database import DatabaseError, InUse, Lock
from model_deployment.state.snapshot import NeedsOwner, Unreadable, copy, sync

#: Attempts to copy the state, and seconds between them, while its controller is starting or ending.
_TRIES, _PAUSE = 20, 0.1


def backup(data_dir: Path, target: Path, *, documents: str, force: bool = False) -> Manifest:
    """Write a complete backup, or none.

    Args:
        data_dir: the folder to back up.
        target: the file to write.
        documents: where captures and reports are stored: ``embedded`` or ``mongodb``.
        force: replace an existing ``target``.

    Raises:
        StateError: there is nothing to back up, the data are damaged, or the file cannot be written.
        BadArchive: there are more files than an archive can list.
    """
    _check(data_dir, target, force=force)
    try:
        with _work_folder(target) as folder:
            manifest = _copy_all(data_dir, folder, documents)
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
        raise StateError(f"cannot write the backup {target}: it is a folder; name a file in it")
    if os.path.lexists(target) and not force:
        raise StateError(
            f"cannot write the backup {target}: the file exists; replace it with --force"
        )


@contextlib.contextmanager
def _work_folder(target: Path) -> Iterator[Path]:
    """A folder on the disk of the backup, so that the finished file only has to be renamed."""
    folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.unfinished-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy_all(data_dir: Path, folder: Path, documents: str) -> Manifest:
    """Copy state, instance id, documents and further files, and describe them.

    The documents come behind the state, so that the state has every deployment that a document names.
    """
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    _copy_state(data_dir, folder / STATE)
    try:
        files.check(folder / STATE, shown_as=data_dir / STATE)
    except DatabaseError as error:
        raise files.open_error(data_dir / STATE, error) from error
    members = {STATE: measure(folder / STATE, files.SCHEMA_VERSION)}
    instance_id = (
        instance.read(data_dir / INSTANCE)
        or files.recorded(folder / STATE, "instance_id")
        or secrets.token_hex(6)
    )
    instance.write(folder / INSTANCE, instance_id)
    members[INSTANCE] = measure(folder / INSTANCE)
    had_store = files.recorded(folder / STATE, files.DOCUMENTS) is not None
    if documents == "embedded" and (had_store or (data_dir / DOCUMENTS).exists()):
        members[DOCUMENTS] = _copy_documents(data_dir / DOCUMENTS, folder / DOCUMENTS)
    blobs = data_files.generated(release_files.manifests_in(folder / STATE))
    further = data_files.copy(data_dir, folder, blobs) | release_key.copy(data_dir, folder)
    format = FORMAT if further else DATABASES_ONLY
    return Manifest(format, __version__, moment, instance_id, documents, members | further)


def _copy_state(data_dir: Path, target: Path) -> None:
    """Copy with a connection that only reads while the controller runs, else as the owner of the file."""
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
                # The controller is starting, or has just ended.
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
    # Not "ro": the last connection to close merges the log, which a reader cannot do.
    copy(source, target, mode="rw")
    documents_file.check_all(target)
    return measure(target, documents_file.SCHEMA_VERSION)
