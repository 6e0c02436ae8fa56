"""Members of backup archives, read and written one by one."""

import io
import tarfile
from pathlib import Path
from typing import Any

#: Headers and contents of an archive's members.
Members = list[tuple[tarfile.TarInfo, bytes]]


def members(path: Path) -> Members:
    """All of an archive."""
    with tarfile.open(path) as tar:
        return [(one, tar.extractfile(one).read()) for one in tar]  # type: ignore[union-attr]


def pack(path: Path, members: Members, kind: int = tarfile.GNU_FORMAT) -> None:
    """An archive of them, in a form of tar."""
    with tarfile.open(path, "w:gz", format=kind) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))


def info(name: str, content: bytes = b"", **more: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A member, with other attributes of its header."""
    made = tarfile.TarInfo(name)
    made.size = len(content)
    for attribute, value in more.items():
        setattr(made, attribute, value)
    return made, content
