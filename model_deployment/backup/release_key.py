"""The key that signs releases, in a backup: devices trust it, so it goes with the state that knows them."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from model_deployment.backup.archive import Manifest, Member, measure

#: Names in the data directory: the key, and its public half, which is made again where it is missing.
KEY, _PUBLIC = "release.key", "release.pub"
#: Bytes of a key at most.
_MOST_BYTES = 4096


def is_sound(name: str, member: Member) -> bool:
    """Whether a member of an archive is a key that may be restored."""
    return name == KEY and member.size <= _MOST_BYTES


def copy(data_dir: Path, folder: Path) -> dict[str, Member]:
    """Put the key into a folder, if there is one, and describe it.

    Raises:
        OSError: it cannot be read, or the disk is full.
    """
    target = folder / KEY
    with contextlib.suppress(FileNotFoundError):
        target.touch(mode=0o600, exist_ok=False)
        shutil.copyfile(data_dir / KEY, target)
        member = measure(target)
        # What is no key would keep the archive from being restored.
        return {KEY: member} if is_sound(KEY, member) else {}
    return {}


def replaced(data_dir: Path, manifest: Manifest) -> list[str]:
    """The files in a data directory that are of another key than the one of a backup."""
    member = manifest.members.get(KEY)
    if member is None:
        return []
    path = data_dir / KEY
    if path.is_file() and not path.is_symlink() and measure(path).sha256 == member.sha256:
        return []
    return [name for name in (KEY, _PUBLIC) if os.path.lexists(data_dir / name)]


def set_aside(data_dir: Path, manifest: Manifest, moment: str) -> Iterator[Path]:
    """Move the files of another key aside; yields each new path."""
    for name in replaced(data_dir, manifest):
        path = data_dir / name
        yield path.rename(path.with_name(f"{name}.{moment}.replaced"))


def place(folder: Path, data_dir: Path) -> None:
    """Put the key of an archive, if it has one, into a data directory."""
    with contextlib.suppress(FileNotFoundError):
        (folder / KEY).rename(data_dir / KEY)
