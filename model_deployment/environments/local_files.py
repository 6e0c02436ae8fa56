"""Files and folders of a model that are installed: wheels, archives, sources."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from model_deployment.environments.environment_files import UnreadableFile

_CHUNK = 1024 * 1024
#: Files of one folder, at most.
_MOST = 20_000
#: Not part of a package.
_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", ".git")


def digest(model: Path, path: str) -> str:
    """A digest of names and contents.

    Raises:
        UnreadableFile: there is no such file in the model, or it cannot be read.
    """
    place = _inside(model, path)
    found = hashlib.sha256()
    try:
        for number, file in enumerate(_files(place)):
            if number >= _MOST:
                raise UnreadableFile(f"cannot install {path} of the model: more than {_MOST} files")
            found.update(f"{file.relative_to(place.parent)}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as content:
                while part := content.read(_CHUNK):
                    found.update(part)
    except UnreadableFile:
        raise
    except OSError as error:
        raise UnreadableFile(f"cannot read {path} of the model: {error.strerror}") from error
    return found.hexdigest()[:32]


def copy(model: Path, path: str, to: Path) -> None:
    """Copy it to the same path below a folder: what builds a package writes beside its sources.

    Raises:
        OSError: it cannot be read or written.
    """
    place, copied = _inside(model, path), to / path
    copied.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir():
        shutil.copytree(place, copied, ignore=_IGNORED, dirs_exist_ok=True)
    elif not copied.exists():
        try:
            # The file itself: wheels of a model may have gigabytes, and no installer writes to them.
            os.link(place.resolve(), copied)
        except OSError:
            shutil.copyfile(place, copied)


def _inside(model: Path, path: str) -> Path:
    place = model / path
    if not place.exists():
        raise UnreadableFile(f"the model requires {path}, which is not in its folder")
    if not place.resolve().is_relative_to(model.resolve()):
        raise UnreadableFile(f"the model requires {path}, which leads out of its folder")
    return place


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    for folder, folders, names in os.walk(place):
        folders[:] = sorted(one for one in folders if one not in ("__pycache__", ".git"))
        for name in sorted(names):
            file = Path(folder, name)
            if not name.endswith(".pyc") and file.is_file():
                yield file
