"""The name of a data directory, in a file of its own beside the database.

Model processes carry it. Without it the models of an earlier controller are strangers that hold ports,
so it must outlive the database: one that was lost or moved away is a reason to end those models, not to
forget them.
"""

import os
import re
from contextlib import suppress
from pathlib import Path

_SHAPE = re.compile(r"[0-9a-f]{12}\n?")


def read(path: Path) -> str | None:
    """The name, or None where there is none, or only a part of one."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return None
    return text.strip() if _SHAPE.fullmatch(text) else None


def write(path: Path, name: str) -> None:
    """Note the name: whole or not at all, and for good.

    Raises:
        OSError: the folder cannot be written to.
    """
    draft = path.with_name(f".{path.name}.new")
    # Anew, since one that was left over may be another's to read.
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
