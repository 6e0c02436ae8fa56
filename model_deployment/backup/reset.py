"""Replaces an unusable state, or an unusable document store, by an empty one.

Only on request, and never if the existing one is usable: a flag that was left in a start script must not
delete data later.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

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
    path = data_dir / "state.db"

    def replace() -> list[Path]:
        if _is_usable_state(path):
            raise StateError(
                f"cannot begin with an empty state: {path} is undamaged. Leave out --new-state"
            )
        moved = [*files.set_aside(path, files.stamp())]
        files.create(path)
        (data_dir / files.UNFINISHED).unlink(missing_ok=True)
        return moved

    return _with_lock(data_dir, replace)


def new_documents(data_dir: Path) -> Sequence[Path]:
    """Replace an unusable embedded document store; returns the files that were moved aside.

    Raises:
        StateError: the store is usable, or a controller runs.
    """
    path = data_dir / "documents.db"

    def replace() -> list[Path]:
        if _is_usable_store(path):
            raise StateError(
                f"cannot begin with an empty document store: {path} is undamaged. Leave out --new-documents"
            )
        moved = [*files.set_aside(path, files.stamp())]
        documents_file.create(path)
        sync(data_dir)
        return moved

    return _with_lock(data_dir, replace)


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


def _with_lock(data_dir: Path, replace: Callable[[], list[Path]]) -> list[Path]:
    """Run while no controller can; without a data directory there is nothing to replace."""
    if not data_dir.exists():
        return []
    lock = Lock(data_dir / "controller.lock")
    lock.acquire()
    try:
        return replace()
    except StoreUnavailable as error:
        raise StateError(str(error)) from error
    except (OSError, DatabaseError) as error:
        raise unusable(data_dir, error) from error
    finally:
        lock.release()
