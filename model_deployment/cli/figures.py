"""Times and numbers as tables show them: short, and readable for programs. Pure."""

import math
from datetime import UTC, datetime
from typing import Any

#: Whole numbers from here on are written with an exponent.
_LARGE = 1e15
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))


def since(moment: str | None, now: datetime | None = None) -> str:
    """How long ago a time of the API was, in its largest unit: ``3d``, ``7h``, ``5s``; empty for None."""
    if not moment:
        return ""
    seconds = ((now or datetime.now(UTC)) - datetime.fromisoformat(moment)).total_seconds()
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds // size:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"


def at(moment: str | None) -> str:
    """A time of the API in UTC, to the second; empty for None."""
    if not moment:
        return ""
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def number(value: Any) -> str:
    """Four digits of a fraction, whole numbers in full; empty for None."""
    if value is None:
        return ""
    if not isinstance(value, float) or not math.isfinite(value):
        return str(value)
    return str(int(value)) if value.is_integer() and abs(value) < _LARGE else f"{value:.4g}"


def options(in_force: dict[str, Any], usual: dict[str, Any]) -> str:
    """The options that differ from the usual ones: ``workers=2 idle_timeout=60``."""
    return " ".join(
        f"{name}={_option(value)}"
        for name, value in in_force.items()
        if value is not None and value != usual.get(name)
    )


def _option(value: Any) -> str:
    if isinstance(value, dict):  # replicas that follow the requests
        return f"{value['min']}-{value['max']}"
    return ",".join(value) if isinstance(value, list) else number(value)
