"""Moments in a query: times in ISO 8601, or how long ago."""

import re
from datetime import UTC, datetime, timedelta

from model_deployment.core.errors import InvalidRequest

_AGO = re.compile(r"(\d{1,9})([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
#: A blank before the offset: a plus sign that was not encoded.
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)"
    r"(?:[Tt ](\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(?:([Zz])|([ +-])(\d\d):?(\d\d)?)?)?",
    re.ASCII,
)


def parse_moment(text: str, now: datetime) -> datetime:
    """The moment, in UTC.

    Args:
        text: such as ``2026-01-31``, ``2026-01-31T12:00``, ``2026-01-31T12:00:00+02:00``, which is in
            UTC where it names no offset, or ``24h``: so long before ``now``. The units are ``s``, ``m``,
            ``h``, ``d`` and ``w``.
        now: aware.

    Raises:
        InvalidRequest: it is neither.
    """
    try:
        if found := _AGO.fullmatch(text):
            return now.astimezone(UTC) - timedelta(**{_UNITS[found[2]]: int(found[1])})
        if found := _ISO.fullmatch(text):
            return _moment(found)
    except (ValueError, OverflowError):
        pass
    raise InvalidRequest(
        f"cannot use the time {text[:60]!r}: write it as 2026-01-31T12:00:00Z, or as a while before now, "
        "such as 24h or 7d"
    )


def _moment(found: re.Match[str]) -> datetime:
    day, minute, second, fraction, _, sign, hours, minutes = found.groups()
    micro = f"{fraction or '':0<6}"[:6]
    moment = datetime.fromisoformat(f"{day}T{minute or '00:00'}:{second or '00'}.{micro}+00:00")
    if not sign:
        return moment
    if int(hours) > 23 or int(minutes or 0) > 59:
        raise ValueError("no such offset")
    offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
    return moment + offset if sign == "-" else moment - offset
