"""Begins with an empty state, or an empty document store, where the one that was there is unusable.

Only when told to, and never over one that is whole: a flag that stays in some start script must not empty
it on the day it matters.
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
    """Move aside what there is of a state that cannot be used; returns where it is now.

    Raises:
        StateError: it can be used, or a controller runs on it.
    """
    path = data_dir / "state.db"

    def begin() -> list[Path]:
        if _is_whole_state(path):
            raise StateError(
                f"cannot begin with an empty state: {path} is whole. Leave out --new-state"
            )
        moved = [*files.set_aside(path, files.stamp())]
        files.create(path)
        (data_dir / files.UNFINISHED).unlink(missing_ok=True)
        return moved

    return _alone(data_dir, begin)


def new_documents(data_dir: Path) -> Sequence[Path]:
    """The same for the embedded document store; the next start makes a new one.

    Raises:
        StateError: it can be used, or a controller runs on it.
    """
    path = data_dir / "documents.db"

    def begin() -> list[Path]:
        if _is_whole_store(path):
            raise StateError(
                f"cannot begin with an empty document store: {path} is whole. Leave out --new-documents"
            )
        moved = [*files.set_aside(path, files.stamp())]
        documents_file.create(path)
        sync(data_dir)
        return moved

    return _alone(data_dir, begin)


def _is_whole_state(path: Path) -> bool:
    try:
        return files.examine(path)
    except files.Unusable:
        return False


def _is_whole_store(path: Path) -> bool:
    try:
        documents_file.check_all(path)
    except (StoreUnusable, FileNotFoundError):
        return False
    return True


def _alone(data_dir: Path, begin: Callable[[], list[Path]]) -> list[Path]:
    """While no controller runs there; nothing, where there is no data directory."""
    if not data_dir.exists():
        return []
    lock = Lock(data_dir / "controller.lock")
    lock.acquire()
    try:
        return begin()
    except StoreUnavailable as error:
        raise StateError(str(error)) from error
    except (OSError, DatabaseError) as error:
        raise unusable(data_dir, error) from error
    finally:
        lock.release()
