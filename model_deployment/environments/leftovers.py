"""What is left in the folder of environments: drafts of killed controllers, unneeded ones, logs."""

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path

from model_deployment.environments import sessions

#: Folders that are made in, below the one of environments: movable ones, and those of conda, which stay.
DRAFTS, CONDA = "drafts", "conda"
#: Where what is to be deleted goes first, so that nothing half looks whole; and the logs of builds.
REMOVED, LOGS = "removed", "logs"
#: What uv has downloaded, where the user has no home for it.
CACHE = "cache"
#: Seconds for which the log of a build is kept that nobody needs.
_LOG_KEPT = 86400.0
#: How long the name of an environment is.
_DIGEST = 24


def environments(root: Path) -> Iterator[Path]:
    """The environments that are published, whole or not."""
    with contextlib.suppress(OSError):
        for path in sorted(root.iterdir()):
            if is_digest(path.name):
                yield path


def is_digest(name: str) -> bool:
    """Whether a name is that of an environment."""
    return len(name) == _DIGEST and all(char in "0123456789abcdef" for char in name)


def move_away(root: Path, path: Path) -> None:
    """Take something out of its place at once; what deletes it may be killed on the way.

    Raises:
        OSError: it cannot be moved.
    """
    removed = root / REMOVED
    removed.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        path.rename(removed / f"{path.name}-{uuid.uuid4().hex[:12]}")


def delete_removed(root: Path) -> None:
    """Delete what was moved away. What cannot be deleted now is tried again with the next call."""
    with contextlib.suppress(FileNotFoundError):
        for path in (root / REMOVED).iterdir():
            delete(path)


def delete(path: Path) -> None:
    """Delete a file or a tree, also one whose folders may not be written to."""

    def writable(_function: object, failed: str, _error: object) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(failed), 0o700)  # noqa: PTH101, PTH120
            os.unlink(failed)  # noqa: PTH108

    with contextlib.suppress(OSError):
        if path.is_symlink() or path.is_file():
            path.unlink()
        else:
            shutil.rmtree(path, onerror=writable)


def end_builds(root: Path, running: Collection[str]) -> None:
    """Remove the drafts of builds that no controller waits for, and end the programs that write there.

    Args:
        running: names of drafts in use. A live collection: builds begin and end meanwhile.
    """
    sessions.end_marked(f"{root}{os.sep}", running)
    for folder in (root / DRAFTS, root / CONDA):
        with contextlib.suppress(OSError):
            for draft in folder.iterdir():
                # In this order: one of conda is published before it is no longer a draft.
                if draft.name not in running and not _is_published(root, draft):
                    delete(draft)


def _is_published(root: Path, draft: Path) -> bool:
    return any(path.resolve() == draft.resolve() for path in environments(root))


def delete_logs(root: Path, kept: Collection[str]) -> None:
    """Delete logs of builds that nobody needs, a day after their end."""
    with contextlib.suppress(FileNotFoundError):
        for path in (root / LOGS).iterdir():
            with contextlib.suppress(OSError):
                old = path.stat().st_mtime + _LOG_KEPT < time.time()
                if path.name.partition(".")[0] not in kept and old:
                    path.unlink()
