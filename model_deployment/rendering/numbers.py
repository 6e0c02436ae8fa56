"""Numbers, units and times as people read them."""

import math
from datetime import UTC, datetime

#: Stands where there is no value.
NONE = "\u2013"


def number(value: float | None) -> str:
    """Integers in full; floats with three significant digits, or without decimals from 1000 on."""
    if value is None or math.isnan(value):
        return NONE
    if isinstance(value, int):
        return f"{value:,}"
    size = abs(value)
    if 999.5 <= size < 1e6:
        return f"{value:,.0f}"
    return f"{value or 0:.3g}"


def count(value: int, noun: str) -> str:
    """``1 row``, ``2 rows``."""
    return f"{number(value)} {noun}{'' if value == 1 else 's'}"


def milliseconds(value: float | None) -> str:
    if value is None:
        return NONE
    if value >= 1000:
        return f"{value / 1000:.1f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def percent(part: float, whole: float = 1) -> str:
    """A share of a whole. A share above zero is never shown as 0 %."""
    if not whole:
        return NONE
    share = 100 * part / whole
    if not part:
        return "0 %"
    if share < 0.1:
        return "< 0.1 %"
    return f"{share:.1f} %" if share < 10 else f"{share:.0f} %"


def size(value: float | None) -> str:
    """Bytes, in binary units."""
    if value is None:
        return NONE
    for unit in ("B", "KB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GB"


def duration(seconds: float) -> str:
    """The two largest units."""
    if seconds < 60:
        return "< 1 min"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if minutes < 60:
        return f"{minutes} min"
    if hours < 24:
        return f"{hours} h {minutes % 60} min"
    return f"{days} d {hours % 24} h"


def moment(value: datetime | str | None) -> str:
    """A time in UTC, to the second."""
    if value is None:
        return NONE
    when = datetime.fromisoformat(value) if isinstance(value, str) else value
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
