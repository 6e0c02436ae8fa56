"""Times in a query: ISO 8601, or a duration before now."""

import re
from datetime import UTC, datetime, timedelta

from model_deployment.core.errors import InvalidRequest

_AGO = re.compile(r"(\d{1,9})([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
#: The extended format with a day and minutes; :meth:`datetime.fromisoformat` also reads others.
_ISO = re.compile(
    r"\d{4}-\d\d-\d\d"
    r"([Tt ]\d\d:[0-5]\d(:[0-5]\d(\.\d{1,9})?)?([Zz]|[ +-]\d\d(:?[0-5]\d)?)?)?",
    re.ASCII,
)


def parse_moment(text: str, now: datetime) -> datetime:
    """The time in UTC.

    Args:
        text: such as ``2026-01-31``, ``2026-01-31T12:00``, ``2026-01-31T12:00:00+02:00`` (in UTC if it has
            no offset), or ``24h``: that long before ``now``. Units: ``s``, ``m``, ``h``, ``d``, ``w``.
        now: aware.

    Raises:
        InvalidRequest: the text has none of these forms.
    """
    try:
        if found := _AGO.fullmatch(text):
            return now.astimezone(UTC) - timedelta(**{_UNITS[found[2]]: int(found[1])})
        if _ISO.fullmatch(text):
            # A blank before the offset is a plus sign that the caller did not encode.
            moment = datetime.fromisoformat(text[:11].upper() + text[11:].upper().replace(" ", "+"))
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidRequest(
        f"cannot use the time {text[:60]!r}: write it as 2026-01-31T12:00:00Z, or as a duration before now "
        "such as 24h or 7d"
    )
