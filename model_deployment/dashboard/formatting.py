"""Numbers and times as people read them."""

import math
from datetime import UTC, datetime

from model_deployment.degradation import verdict_words

NONE = "\u2013"


def number(value: float | None) -> str:
    """With three figures that count."""
    if value is None or math.isnan(value):
        return NONE
    if abs(value) < 1e15 and value == int(value):
        return f"{int(value):,}".replace(",", "\u202f")
    size = abs(value)
    if size >= 1e6 or size < 1e-3:
        return f"{value:.3g}"
    return f"{value:.{max(0, 2 - len(str(int(size))) + 1)}f}" if size >= 1 else f"{value:.3g}"


def count(value: int, what: str) -> str:
    """So many of something."""
    return f"{number(value)} {what}{'' if value == 1 else 's'}"


def milliseconds(value: float | None) -> str:
    """A latency."""
    if value is None:
        return NONE
    if value >= 1000:
        return f"{value / 1000:.1f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def rate(value: float) -> str:
    """Requests per second."""
    return "0" if value == 0 else f"{value:.1f}" if value < 10 else f"{value:.0f}"


def percent(part: float, whole: float) -> str:
    """A share; small ones are not called none."""
    if not whole:
        return NONE
    share = 100 * part / whole
    if not part:
        return "0 %"
    if share < 0.1:
        return "< 0.1 %"
    return f"{share:.1f} %" if share < 10 else f"{share:.0f} %"


def size(value: float | None) -> str:
    """Bytes."""
    if value is None:
        return NONE
    for unit in ("B", "KB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GB"


def duration(seconds: float) -> str:
    """In the largest two units."""
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


def verdict(value: str) -> str:
    """What a verdict is called."""
    return verdict_words.words(value).name


def beside(value: str, headline: str) -> str:
    """What the headline of a report says beyond the name of its verdict."""
    name = verdict(value)
    rest = headline.removeprefix(name).lstrip(":;, ") if headline.startswith(name) else headline
    return rest[:1].upper() + rest[1:]


def rank(value: str) -> int:
    """The place of a verdict among those that want attention, the most urgent first; none is the last."""
    return verdict_words.rank(value)


def tone(value: str) -> str:
    """How alarming a verdict is."""
    return verdict_words.words(value).tone
