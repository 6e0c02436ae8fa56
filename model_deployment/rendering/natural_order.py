"""The order in which people expect names that hold numbers."""

import re

_NUMBERS = re.compile(r"(\d+)", re.ASCII)


def natural(name: str) -> list[tuple[str, int]]:
    """A key that sorts numbers within names by their values: ``m2`` before ``m10``."""
    parts = _NUMBERS.split(name.lower())
    numbers = [*map(int, parts[1::2]), -1]
    return [*zip(parts[::2], numbers, strict=True)]
