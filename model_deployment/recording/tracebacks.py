"""What the text of a Python traceback says: the exception, its message, and the innermost frames. Pure."""

import re
from dataclasses import dataclass
from itertools import islice

_FRAME = re.compile(r'^\s+File "([^"]*)", line (\d+), in (.*)$')
_RAISED = re.compile(r"^([A-Za-z_][\w.<>]*)(?::\s?(.*))?$", re.DOTALL)
#: What differs between two occurrences of the same failure: texts in quotes, numbers, ids.
_VARIABLE = re.compile(r"'[^']*'|\"[^\"]*\"|0x[0-9a-fA-F]+|\b[0-9a-fA-F]{8,}\b|\d+")
#: Innermost frames that tell failures apart.
_FRAMES = 3
_LONGEST_NAME, _LONGEST_MESSAGE = 200, 1000


@dataclass(frozen=True, slots=True)
class Raised:
    """The exception that ended a call."""

    exception: str
    message: str
    #: ``file:line:function``, the innermost last.
    frames: tuple[str, ...] = ()


def raised(traceback: str) -> Raised | None:
    """The last exception of a traceback; None if the text is no traceback."""
    lines = traceback.rstrip().splitlines()
    found = _end_of_frames(lines)
    if found is None:
        return None
    match = _RAISED.match("\n".join(lines[found:]))
    if match is None:
        return None
    frames = (frame for line in reversed(lines[:found]) if (frame := _FRAME.match(line)))
    names = [f"{one[1]}:{one[2]}:{one[3]}" for one in islice(frames, _FRAMES)]
    return Raised(match[1][:_LONGEST_NAME], one_line(match[2] or ""), tuple(reversed(names)))


def without_messages(traceback: str) -> str:
    """A traceback without the messages of its exceptions, which may repeat what callers sent."""
    kept: list[str] = []
    lines = traceback.splitlines()
    framed = False
    for line in lines:
        if _FRAME.match(line):
            framed = True
        elif framed and line.startswith("    "):
            pass  # the source of the frame
        elif framed:
            framed = False
            if found := _RAISED.match(line):
                kept.append(found[1])
            continue
        elif not line.startswith("Traceback (most recent call last)"):
            continue
        kept.append(line)
    return "\n".join(kept)


def pattern(message: str) -> str:
    """A message without what differs from one occurrence to the next."""
    return _VARIABLE.sub("#", message)


def one_line(text: str) -> str:
    """The text on one line, cut to a length, as UTF-8 can encode it."""
    plain = text[: 4 * _LONGEST_MESSAGE].encode(errors="replace").decode()
    return " ".join(plain.split())[:_LONGEST_MESSAGE]


def _end_of_frames(lines: list[str]) -> int | None:
    """The place of the line with the last exception: the first one behind the source of the last frame."""
    last = next((n for n in range(len(lines) - 1, -1, -1) if _FRAME.match(lines[n])), None)
    if last is None:
        return None
    after = last + 1
    while after < len(lines) and lines[after].startswith("    "):
        after += 1
    return after if after < len(lines) else None
