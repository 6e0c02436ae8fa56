"""JSON that callers choose themselves, such as the value of a command: what of it is refused."""

import json
from typing import Any

#: Bytes of a value, as JSON.
MAX_BYTES = 4096
#: The largest whole number that every parser of JSON reads exactly.
_LARGEST = 2**53 - 1
#: Arrays and objects within each other. Devices read frames of 64 levels; some parsers stop at 250.
_LEVELS = 32


def plain_json(value: Any) -> Any:
    """Return a value, unless it is too large, or cannot be written as JSON in UTF-8 that everybody reads.

    Raises:
        ValueError: it is; the message says what.
    """
    try:
        size = len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        raise ValueError("it contains half of a surrogate pair") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        raise ValueError("it contains NaN or infinity, which JSON has not") from None
    if size > MAX_BYTES:
        raise ValueError(f"it has {size} bytes as JSON; the limit is {MAX_BYTES}")
    _check_portable(value)
    return value


def _check_portable(value: Any) -> None:
    left = [(value, 0)]
    while left:
        one, level = left.pop()
        if level > _LEVELS:
            raise ValueError(f"it is nested too deeply; the limit is {_LEVELS} levels")
        if isinstance(one, int) and abs(one) > _LARGEST:
            raise ValueError(
                f"it contains a whole number beyond {_LARGEST} (2**53 - 1), which not every parser of JSON "
                "reads exactly; send it as a text"
            )
        if isinstance(one, dict | list):
            members = one.values() if isinstance(one, dict) else one
            left.extend((member, level + 1) for member in members)
