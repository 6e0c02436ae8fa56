"""Text that devices send, as pages show it: cut, and without tricks. Templates escape it. Pure."""

import json
from typing import Any

#: Characters of a text of a device that are shown unless a page says otherwise.
_SHOWN = 300


def plain(text: Any, most: int = _SHOWN) -> str:
    """A text on one line, without characters that steer the page's direction or cannot be seen, and cut.

    Args:
        most: characters that are left.
    """
    seen = str(text)[: most + 1]
    whole = "".join(
        char if char.isprintable() else " " if char.isspace() else "\ufffd" for char in seen
    )
    return whole if len(whole) <= most else f"{whole[: most - 1]}…"


def value(found: Any, most: int = _SHOWN) -> str:
    """A JSON value on one line: texts as they are, everything else as JSON."""
    if isinstance(found, str):
        return plain(found, most)
    return plain(json.dumps(found, ensure_ascii=False, default=str), most)
