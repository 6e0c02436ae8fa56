"""The lines of a launch's log: their times, their levels, and which of them belong together. Pure."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

_TIMED = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) ?(.*)", re.DOTALL)
_TRACEBACK = re.compile(
    r"(?:[A-Z]+: +|\S.*[:;] )?(?:Exception Group )?Traceback \(most recent call last\):$"
)
#: Between the tracebacks of a chain of exceptions.
_LINK = re.compile(r"(The above exception was the direct|During handling of the above exception)")
_NAMES = "DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL"
_LEVEL = re.compile(
    rf"(?:\[?(?P<first>{_NAMES})\]?[:\s]"  # uvicorn, Python's logging
    rf"|\d{{4}}[-/]\d\d[-/]\d\d[ T]\S+\s+\[?(?P<timed>{_NAMES})\b"  # MLflow, common formats
    r"|(?P<glog>[IWEF])\d{4} \d\d:\d\d:"  # absl, TensorFlow
    r"|(?P<warning>\S+:\d+: \w*Warning: )"  # Python's warnings
    r"|(?P<fatal>Fatal Python error: |terminate called |Segmentation fault)"
    r"|(?:copy of )?request \S+: (?P<status>answered 5\d\d|the model server answered) )"  # as below
)
#: The proxy's note of a failed prediction, or of the failed copy of a request.
_NOTE = re.compile(r"(?:copy of )?request \S+: (?:answered 5\d\d|the model server answered) ")
#: Two lines written at the same moment are one message at most if they are so close.
_CLOSE = 0.01


class LogLevel(StrEnum):
    """How serious a line is."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


_ORDER = list(LogLevel)
_BY_NAME = {
    "WARN": LogLevel.WARNING, "W": LogLevel.WARNING, "I": LogLevel.INFO, "E": LogLevel.ERROR,
    "F": LogLevel.ERROR, "CRITICAL": LogLevel.ERROR, "FATAL": LogLevel.ERROR,
    **{str(level).upper(): level for level in LogLevel},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class LogLine:
    #: ISO 8601 in UTC, with milliseconds; that of the line before, if the line has none. None if no line
    #: before has one: a launch that an earlier release started writes none.
    at: str | None
    text: str
    #: Of the message that the line belongs to; None if the message does not tell.
    level: LogLevel | None = None

    def __str__(self) -> str:
        return f"{self.at} {self.text}" if self.at else self.text


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Which messages are wanted; a member that is None, or empty, restricts nothing."""

    #: In any of the lines of a message; upper and lower case are the same.
    search: str = ""
    #: At least so serious. A message whose level is unknown is not.
    level: LogLevel | None = None
    since: datetime | None = None
    #: Before this moment.
    until: datetime | None = None

    @property
    def everything(self) -> bool:
        return self == MessageFilter()

    def __call__(self, message: Sequence[LogLine]) -> bool:
        first = message[0]
        if self.level is not None and (
            first.level is None or _ORDER.index(first.level) < _ORDER.index(self.level)
        ):
            return False
        if self.since is not None and (first.at is None or first.at < _text(self.since)):
            return False
        if self.until is not None and (first.at is None or first.at >= _text(self.until)):
            return False
        search = self.search.casefold()
        return not search or any(search in line.text.casefold() for line in message)


def untimed(line: str) -> str:
    """A line without its time."""
    found = _TIMED.match(line)
    return found[2] if found else line


def read(lines: Iterable[str]) -> Iterator[LogLine]:
    """The lines, each with its time."""
    at = None
    for line in lines:
        if found := _TIMED.match(line):
            at = found[1]
            yield LogLine(at, found[2])
        else:
            yield LogLine(at, line)


def messages(lines: Iterable[LogLine]) -> Iterator[list[LogLine]]:
    """Lines that belong together: a message with its traceback, and tracebacks of one chain."""
    held: list[LogLine] = []
    trace = False
    for line in lines:
        if held and not (_goes_on(held[-1], line, trace) or _of_note(held[0], line)):
            yield _levelled(held)
            held, trace = [], False
        held.append(line)
        trace = _within(line.text, trace)
    if held:
        yield _levelled(held)


def _within(text: str, trace: bool) -> bool:
    """Whether the line behind this one belongs to a traceback."""
    if _TRACEBACK.match(text) or _LINK.match(text):
        return True
    # The line without indentation is the exception.
    return trace and (text == "" or text[0] in " \t")


def _of_note(first: LogLine, line: LogLine) -> bool:
    """Whether a line belongs to the proxy's note of a failed prediction, which it writes at once."""
    noted = _NOTE.match(first.text) and not _NOTE.match(line.text)
    return bool(noted) and line.at == first.at


def _goes_on(before: LogLine, line: LogLine, trace: bool) -> bool:
    text = line.text
    if trace or (text[:1] in (" ", "\t") and text.strip()) or _LINK.match(text):
        return True
    if text == "":
        return True
    # A traceback directly behind the line that announces it, or the second of a chain.
    starts = text.startswith("Traceback (most recent")
    return starts and (before.text == "" or _same_moment(before, line))


def _same_moment(before: LogLine, line: LogLine) -> bool:
    if before.at is None or line.at is None:
        return True
    apart = datetime.fromisoformat(line.at) - datetime.fromisoformat(before.at)
    return abs(apart.total_seconds()) <= _CLOSE


def _levelled(message: list[LogLine]) -> list[LogLine]:
    level = _level(message)
    return message if level is None else [replace(line, level=level) for line in message]


def _level(message: Sequence[LogLine]) -> LogLevel | None:
    if any(_TRACEBACK.match(line.text) for line in message):
        return LogLevel.ERROR
    found = _LEVEL.match(message[0].text)
    if found is None:
        return None
    if found["fatal"] or found["status"]:
        return LogLevel.ERROR
    if found["warning"]:
        return LogLevel.WARNING
    return _BY_NAME[found["first"] or found["timed"] or found["glog"]]


def _text(moment: datetime) -> str:
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='milliseconds')}Z"
