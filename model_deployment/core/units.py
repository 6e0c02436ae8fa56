"""Durations and sizes as people write them: ``1h30m``, ``512MiB``. A bare number has its place's unit."""

import math
import re
from itertools import pairwise

_SECOND, _MINUTE, _HOUR, _DAY = 1.0, 60.0, 3600.0, 86400.0
#: Seconds of each unit, by all the names it has.
_DURATIONS = {
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), _SECOND),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), _MINUTE),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), _HOUR),
    **dict.fromkeys(("d", "day", "days"), _DAY),
    **dict.fromkeys(("w", "week", "weeks"), 7 * _DAY),
}
#: Bytes of each unit. The short ones mean what they mean to Kubernetes: ``M`` is 10^6, ``Mi`` is 2^20.
_SIZES: dict[str, int] = {"": 1, "b": 1, "byte": 1, "bytes": 1} | {
    f"{letter}{rest}": base**power
    for power, letter in enumerate("kmgt", 1)
    for base, endings in ((1000, ("", "b")), (1024, ("i", "ib")))
    for rest in endings
}
_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_PIECE = re.compile(rf"({_NUMBER})\s*([a-z]+)", re.ASCII)
_DURATION = re.compile(rf"(?:{_NUMBER}\s*[a-z]+\s*)+", re.ASCII)
_SIZE = re.compile(rf"({_NUMBER})\s*([a-z]*)", re.ASCII)
#: No text that means a duration or a size is longer.
_LONGEST = 100

#: What is written, for messages and documents.
DURATIONS = "a duration like 30s, 5m, 12h, 1d or 1h30m"
SIZES = "a size like 10MB (a million bytes each) or 512MiB (1024 * 1024 bytes each)"


def duration(text: str, unit: str = "s") -> float:
    """Read a duration.

    Args:
        text: ``90``, ``0.5``, ``500ms``, ``1h30m``, ``7 days``; upper case means the same.
        unit: ``s``, ``m``, ``h`` or ``d``: that of a bare number, and of what is returned.

    Raises:
        ValueError: it is none; the message says what to write.
    """
    of = _DURATIONS[unit]
    text = text.strip().lower()
    try:
        return float(text)
    except ValueError:
        pass
    if len(text) <= _LONGEST and _DURATION.fullmatch(text):
        pieces = _PIECE.findall(text)
        sizes = [_DURATIONS.get(name) for _, name in pieces]
        known = [size for size in sizes if size is not None]
        # From large to small, each once: 30m1h and 1h1h are slips.
        if len(known) == len(sizes) and all(a > b for a, b in pairwise(known)):
            total = math.fsum(
                float(number) * size for (number, _), size in zip(pieces, known, strict=True)
            )
            return total / of
    name = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[unit]
    raise ValueError(f"write a number of {name}, or {DURATIONS}")


def size(text: str) -> int:
    """Read a number of bytes.

    Args:
        text: ``4096``, ``10MB``, ``1.5 GiB``; upper case means the same.

    Raises:
        ValueError: it is none, or no whole number of bytes; the message says what to write.
    """
    found = _SIZE.fullmatch(text.strip().lower()) if len(text) <= _LONGEST else None
    of = _SIZES.get(found[2]) if found else None
    if found and of:
        whole, _, part = found[1].partition(".")
        scaled: int = int(whole + part) * of
        parts: int = 10 ** len(part)
        # 0.1KiB is 102: nobody counts parts of a byte, but 0.5 bytes are a slip.
        if of > 1 or scaled % parts == 0:
            return scaled // parts
    raise ValueError(f"write a whole number of bytes, or {SIZES}")
