"""Answers of models as JSON, and whether two of them are the same."""

import math
from typing import Any


def plain(value: Any) -> Any:
    """A value of Python as JSON has it: what is not finite is null, what is unknown is its text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return str(value)


def difference(found: Any, expected: Any, tolerance: float) -> str:
    """Where two answers differ; empty if they do not.

    Numbers may differ by ``tolerance``, and by that share of the expected number where it is larger than 1.
    """
    found, expected = _unwrapped(found), _unwrapped(expected)
    if isinstance(expected, list) and isinstance(found, list):
        if len(found) != len(expected):
            return f"{len(found)} values instead of {len(expected)}"
        parts = (difference(one, two, tolerance) for one, two in zip(found, expected, strict=True))
        return next((part for part in parts if part), "")
    if isinstance(expected, dict) and isinstance(found, dict):
        if found.keys() != expected.keys():
            return "other names of outputs"
        parts = (difference(found[name], expected[name], tolerance) for name in expected)
        return next((part for part in parts if part), "")
    if isinstance(expected, int | float) and isinstance(found, int | float):
        same = abs(found - expected) <= tolerance * max(1.0, abs(expected))
    else:
        same = found == expected
    return "" if same else f"{found!a:.60} instead of {expected!a:.60}"


def _unwrapped(value: Any) -> Any:
    """A list of one value is that value: models answer (rows, 1) and (rows) for the same."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value
