"""Replaces an unusable state, or an unusable document store, by an empty one.

Only on request, and never if the existing one is usable: a flag that was left in a start script must not
delete data later.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from model_deployment.backup.drain import end_drain
from model_deployment.core.errors import StateError
from model_deployment.documents.base import StoreUnavailable, StoreUnusable
from model_deployment.documents.embedded import file as documents_file
from model_deployment.state import files
from model_deployment.state.database import DatabaseError, Lock, unusable
from model_deployment.state.snapshot import sync


def new_state(data_dir: Path) -> Sequence[Path]:
    """Replace an unusable state by an empty one; returns the files that were moved aside.

    Raises:
        StateError: the state is usable, or a controller runs.
    """

    def create(path: Path) -> None:
        files.create(path)
        (data_dir / files.UNFINISHED).unlink(missing_ok=True)

    return _replace(data_dir / "state.db", "state", "--new-state", _is_usable_state, create)


def new_documents(data_dir: Path) -> Sequence[Path]:
    """Replace an unusable embedded document store; returns the files that were moved aside.

    Raises:
        StateError: the store is usable, or a controller runs.
    """

    def create(path: Path) -> None:
        documents_file.create(path)
        sync(data_dir)

    path = data_dir / "documents.db"
    return _replace(path, "document store", "--new-documents", _is_usable_store, create)


def _replace(
    path: Path,
    what: str,
    option: str,
    is_usable: Callable[[Path], bool],
    create: Callable[[Path], None],
) -> list[Path]:
    if not path.parent.exists():
        return []
    lock = Lock(path.with_name("controller.lock"))
    lock.acquire()
    try:
        if is_usable(path):
            raise StateError(
                f"cannot start with an empty {what}: {path} is not damaged; omit {option}"
            )
        end_drain(path.parent)
        moved = [*files.set_aside(path, files.stamp())]
        create(path)
        return moved
    except StoreUnavailable as error:
        raise StateError(str(error)) from error
    except (OSError, DatabaseError) as error:
        raise unusable(path.parent, error) from error
    finally:
        lock.release()


def _is_usable_state(path: Path) -> bool:
    try:
        return files.examine(path)
    except files.Unusable:
        return False


def _is_usable_store(path: Path) -> bool:
    try:
        documents_file.check_all(path)
    except (StoreUnusable, FileNotFoundError):
        return False
    return True
