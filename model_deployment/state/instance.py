"""The instance id of a data directory, in a file of its own beside the database.

Model processes carry the id. Without it the models of an earlier controller would be foreign processes that
hold ports, so the id has to outlive the database.
"""

import os
import re
from contextlib import suppress
from pathlib import Path

#: In the data directory.
FILE = "instance-id"
_SHAPE = re.compile(r"[0-9a-f]{12}\n?")


def read(path: Path) -> str | None:
    """The id; None if the file is missing or incomplete."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return None
    return text.strip() if _SHAPE.fullmatch(text) else None


def write(path: Path, name: str) -> None:
    """Write the id atomically and durably.

    Raises:
        OSError: the folder cannot be written.
    """
    draft = path.with_name(f".{path.name}.new")
    # A draft that was left may be readable for others.
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{name}\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
