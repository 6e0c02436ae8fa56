"""The log of one build: commands, output and times, without passwords."""

import contextlib
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote

from model_deployment.log.masking import mask

_USERINFO = re.compile(r"://([^\s/?#\"'<>]+)@")
_SECRET_NAME = re.compile(r"PASSWORD|TOKEN|SECRET|_KEY$", re.IGNORECASE)
#: Shorter values would mask parts of words.
_SHORTEST = 4
#: How the name of a file ends that says why a build failed.
_FAILED = ".failed"
#: Bytes of a log; the rest is left out.
_LONGEST = 16 * 1024 * 1024


def secrets(environment: Mapping[str, str], lines: Iterable[str] = ()) -> tuple[str, ...]:
    """Passwords in the variables of a build and in requirements; the longest first."""
    found = {value for name, value in environment.items() if _SECRET_NAME.search(name)}
    for text in [*environment.values(), *lines]:
        for userinfo in _USERINFO.findall(text):
            user, colon, password = userinfo.partition(":")
            found |= {password, unquote(password)} if colon else {user, unquote(user)}
    return tuple(sorted((one for one in found if len(one) >= _SHORTEST), key=len, reverse=True))


def keep_failure(log: Path, why: str) -> None:
    """Keep beside a log why its build failed, for a controller that starts later. A full disk costs it."""
    with contextlib.suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
        draft = log.with_suffix(f"{_FAILED}.new")
        draft.write_text(why, encoding="utf-8")
        draft.replace(log.with_suffix(_FAILED))


def read_failure(log: Path) -> str:
    """Why the build of a log failed; empty if it did not fail, or has not ended."""
    try:
        return log.with_suffix(_FAILED).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def forget_failure(log: Path) -> None:
    """Before another build."""
    with contextlib.suppress(OSError):
        log.with_suffix(_FAILED).unlink(missing_ok=True)


class BuildLog:
    """A file that is begun anew with each build. A full disk costs the log, not the build."""

    def __init__(self, path: Path, hidden: Iterable[str] = ()) -> None:
        self.path = path
        self._hidden = tuple(hidden)
        self._left = _LONGEST
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._file = path.open("x", encoding="utf-8", errors="replace")

    def masked(self, text: str) -> str:
        """A text without passwords."""
        for one in self._hidden:
            text = text.replace(one, "***")
        return mask(text)

    def write(self, text: str) -> str:
        """Write a line, and return it as it was written, without its time."""
        line = self.masked(text)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._left -= len(line)
        if self._left > 0:
            try:
                self._file.write(f"{stamp} {line}\n")
                self._file.flush()
            except OSError:
                self._left = 0
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._file.close()
        except OSError:
            self._left = 0
