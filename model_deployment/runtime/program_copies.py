"""Our own programs for other interpreters: copies of the files that model servers run, in a folder.

The site-packages of the controller are of one Python, with packages of other versions than a model's. So no
other interpreter gets that folder on its path, but one that holds these files and nothing else.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_deployment.worker import program_files

#: Ends the name of a folder that is being made, or removed.
_UNFINISHED = ".unfinished"
#: Characters of a digest that name a folder.
_DIGITS = 16


def install(root: Path) -> Path:
    """The folder with the programs of this version, which is made where it is missing or damaged. Blocks.

    Folders of other versions are removed, unless a process uses them.

    Args:
        root: has a folder for each version.

    Raises:
        OSError: it cannot be written.
    """
    files = program_files.read()
    folder = root / program_files.digest(files)[:_DIGITS]
    root.mkdir(parents=True, exist_ok=True)
    with _alone(root):
        _tidy(root, folder)
        if not _is_complete(folder, files):
            made = Path(tempfile.mkdtemp(_UNFINISHED, f"{folder.name}.", root))
            try:
                _write(made, files)
                if folder.exists():
                    _remove(folder)
                made.rename(folder)
            finally:
                shutil.rmtree(made, ignore_errors=True)
    return folder


def _tidy(root: Path, own: Path) -> None:
    """Remove folders of other versions, unless a process uses them."""
    for folder in [*root.iterdir()]:
        if folder != own and folder.is_dir() and not _is_used(folder):
            _remove(folder)


def _is_complete(folder: Path, files: dict[str, bytes]) -> bool:
    try:
        return (folder / program_files.IN_USE).is_file() and all(
            (folder / name).read_bytes() == content for name, content in files.items()
        )
    except OSError:
        return False


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / program_files.IN_USE).touch()


def _remove(folder: Path) -> None:
    """Remove a folder; one that is there in part has another name."""
    if not folder.name.endswith(_UNFINISHED):
        folder = folder.rename(folder.with_name(f"{folder.name}.{os.getpid()}{_UNFINISHED}"))
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """One thread of one process at a time."""
    descriptor = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_used(folder: Path) -> bool:
    """Whether a parent or a fork that was started from a folder lives, see ``program_files.hold``."""
    try:
        descriptor = os.open(folder / program_files.IN_USE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # it was never complete
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
