"""Checks the ``data`` of each kind of message, and makes of it what is stored. Pure.

Whatever a device sends is hostile until it was checked here: sizes, counts, lengths of texts, control
characters, numbers that are none, and clocks that nobody has set.
"""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from model_deployment.core.devices import MessageKind, UpdateState
from model_deployment.core.errors import InvalidName
from model_deployment.core.names import ModelKey

#: The largest whole number that every JSON parser reads exactly.
LARGEST = 2**53 - 1
#: Requests, rows or errors of a device in one minute, at most: more would spoil the sums of all devices.
_IN_A_MINUTE = 10**8
#: A clock may be ahead by so much, and a message may be so old. The time of arrival replaces any other.
_AHEAD, _OLDEST = timedelta(minutes=1), timedelta(days=400)

#: Characters of reasons, lines of logs, and details of answers; longer ones are cut.
_REASON, _LINE, _DETAIL = 500, 2000, 2000
#: Lines and captures in one message.
_LINES, _CAPTURES = 100, 100
#: Kinds of errors in one minute, and characters of their names.
_ERRORS, _ERROR = 20, 64
#: The place of the last bucket of latencies: see ``recording/histogram.py``.
_LAST_BUCKET = 86
#: Columns and rows of one capture, and characters of a column's name and of a capture's id.
_COLUMNS, _ROWS, _COLUMN, _ID = 10_000, 10_000, 256, 128
#: Milliseconds that a prediction may have taken: a day.
_LATENCY = 86_400_000.0

_LEVELS = frozenset({"debug", "info", "warning", "error", "critical"})
#: States that a device reports: it is offered a release by the controller.
_STATES = frozenset(UpdateState) - {UpdateState.OFFERED}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class RuleBroken(ValueError):
    """A message breaks a rule of its kind; the text says which."""


def read_data(kind: MessageKind, found: Any, now: datetime) -> dict[str, Any]:
    """The checked data of a message: the members of the protocol, and no others.

    Raises:
        RuleBroken: it breaks a rule.
    """
    if not isinstance(found, dict):
        raise RuleBroken("data is an object")
    return _READERS[kind](found, now)


def clock(milliseconds: int, now: datetime) -> tuple[datetime, bool]:
    """A moment by the clock of a device, and whether that clock can be right; if not, it is ``now``."""
    arrived = (now - _EPOCH) // _MILLISECOND
    if arrived - _OLDEST // _MILLISECOND <= milliseconds <= arrived + _AHEAD // _MILLISECOND:
        return _EPOCH + milliseconds * _MILLISECOND, True
    return _EPOCH + arrived * _MILLISECOND, False


def one_line(text: str, most: int) -> str:
    """A text as it can be shown anywhere: control characters and line breaks escaped, cut at ``most``."""
    cut = text[: most + 1]
    if not cut.isprintable():
        cut = "".join(
            one if one.isprintable() or one in "\t\u00a0" else one.encode("unicode_escape").decode()
            for one in cut
        )
    return cut if len(cut) <= most else f"{cut[: most - 1]}…"


def whole(value: Any, name: str, least: int = 0, most: int = LARGEST) -> int:
    """A whole number.

    Raises:
        RuleBroken: it is none, or out of range.
    """
    if type(value) is not int or not least <= value <= most:
        raise RuleBroken(f"{name} is a whole number from {least} to {most}")
    return value


def _progress(found: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    state = found.get("state")
    if not isinstance(state, str) or state not in _STATES:
        raise RuleBroken(f"state is one of {', '.join(sorted(_STATES))}")
    return {
        "release": whole(found.get("release"), "release", 1),
        "state": str(state),
        "reason": one_line(_text(found.get("reason", ""), "reason"), _REASON),
        "bytes": whole(found.get("bytes", 0), "bytes"),
        "of": whole(found.get("of", 0), "of"),
    }


def _metrics(found: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    errors = found.get("errors", {})
    if not isinstance(errors, dict) or len(errors) > _ERRORS:
        raise RuleBroken(f"errors is an object of at most {_ERRORS} counts")
    for name in errors:
        _name(name, "the kind of an error", _ERROR)
    minute = whole(found.get("minute"), "minute", -LARGEST // 60_000, LARGEST // 60_000)
    at, trusted = clock(minute * 60_000, now)
    return {
        **_whose(found),
        "minute": (at - _EPOCH) // timedelta(minutes=1),
        "requests": whole(found.get("requests"), "requests", most=_IN_A_MINUTE),
        "rows": whole(found.get("rows"), "rows", most=_IN_A_MINUTE),
        "errors": {
            name: whole(count, f"errors.{name}", most=_IN_A_MINUTE)
            for name, count in errors.items()
        },
        "latencies": _latencies(found.get("latencies", [])),
        **_off(trusted),
    }


def _latencies(found: Any) -> list[list[int]]:
    what = f"latencies is a list of [bucket, count], with each bucket from 0 to {_LAST_BUCKET} once"
    if not isinstance(found, list) or len(found) > _LAST_BUCKET + 1:
        raise RuleBroken(what)
    counts: dict[int, int] = {}
    for pair in found:
        if not isinstance(pair, list) or len(pair) != 2:
            raise RuleBroken(what)
        bucket = whole(pair[0], "a bucket of latencies", 0, _LAST_BUCKET)
        if bucket in counts:
            raise RuleBroken(what)
        counts[bucket] = whole(pair[1], "a count of latencies", most=_IN_A_MINUTE)
    return [[bucket, count] for bucket, count in sorted(counts.items())]


def _log(found: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    return {"lines": [_line(one, now) for one in _list(found.get("lines"), "lines", _LINES)]}


def _line(found: Any, now: datetime) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise RuleBroken("a line of a log is an object")
    at, trusted = _moment(found, now)
    level = found.get("level")
    known = isinstance(level, str) and level.lower() in _LEVELS
    return {
        "at": at,
        "level": str(level).lower() if known else "info",
        "text": one_line(_text(found.get("text"), "text"), _LINE),
        **_off(trusted),
    }


def _captures(found: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    given = _list(found.get("captures"), "captures", _CAPTURES)
    return {"captures": [_capture(one, now) for one in given]}


def _capture(found: Any, now: datetime) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise RuleBroken("a capture is an object")
    at, trusted = _moment(found, now)
    rows = _list(found.get("rows"), "rows", _ROWS)
    latency = found.get("latency_ms")
    numeric = isinstance(latency, int | float) and not isinstance(latency, bool)
    if latency is not None and not (numeric and 0 <= latency <= _LATENCY):
        raise RuleBroken("latency_ms is a number of milliseconds, or null")
    columns = _columns(found.get("columns"), rows)
    if any(not isinstance(row, list) or len(row) != len(columns) for row in rows):
        raise RuleBroken("each of rows is a list with one value for each of columns")
    return {
        "id": _name(found.get("id"), "id", _ID),
        "at": at,
        **_whose(found),
        "columns": columns,
        "rows": rows,
        "predictions": found.get("predictions"),
        "latency_ms": latency,
        **_off(trusted),
    }


def _columns(found: Any, rows: list[Any]) -> list[str]:
    """Names of columns; without names they are called as in the captures of servers."""
    if found is None:
        width = len(rows[0]) if rows and isinstance(rows[0], list) else 0
        return [f"f{place}" for place in range(width)]
    return [_text(one, "a name of columns", _COLUMN) for one in _list(found, "columns", _COLUMNS)]


def _answer(found: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    if not isinstance(found.get("ok"), bool):
        raise RuleBroken("ok is true or false")
    return {
        "id": whole(found.get("id"), "id", 1),
        "ok": found["ok"],
        "detail": one_line(_text(found.get("detail", ""), "detail"), _DETAIL),
    }


_READERS: Mapping[MessageKind, Callable[[Mapping[str, Any], datetime], dict[str, Any]]] = {
    MessageKind.PROGRESS: _progress,
    MessageKind.METRICS: _metrics,
    MessageKind.LOG: _log,
    MessageKind.CAPTURES: _captures,
    MessageKind.ANSWER: _answer,
}


def _whose(found: Mapping[str, Any]) -> dict[str, Any]:
    """The release and the version that something is about."""
    model = _text(found.get("model"), "model")
    version = whole(found.get("version"), "version", 1)
    try:
        key = ModelKey.addressed(model, version)
    except InvalidName as error:
        raise RuleBroken(error.detail) from None
    release = whole(found.get("release"), "release", 1)
    return {"release": release, "model": key.model, "version": key.version}


def _moment(found: Mapping[str, Any], now: datetime) -> tuple[int, bool]:
    """The ``at`` of a part of a message, in milliseconds, and whether the clock can be right."""
    at, trusted = clock(whole(found.get("at"), "at", -LARGEST, LARGEST), now)
    return (at - _EPOCH) // _MILLISECOND, trusted


def _off(trusted: bool) -> dict[str, Any]:
    return {} if trusted else {"clock_off": True}


def _list(found: Any, name: str, most: int) -> list[Any]:
    if not isinstance(found, list) or len(found) > most:
        raise RuleBroken(f"{name} is a list of at most {most}")
    return found


def _text(found: Any, name: str, most: float = math.inf) -> str:
    if not isinstance(found, str) or len(found) > most:
        limit = f" of at most {most} characters" if most < math.inf else ""
        raise RuleBroken(f"{name} is a text{limit}")
    return found


def _name(found: Any, name: str, most: int) -> str:
    if not found or not _text(found, name, most).isprintable():
        raise RuleBroken(f"{name} is a text of 1 to {most} characters without control characters")
    return str(found)
