"""Splits Evidently's page into what is of one report and the library that all reports share.

The library is four fifths of a page, and the same in each: it is stored once. Standard library only.
"""

import hashlib
import re
from collections.abc import Mapping

#: Characters from which on a script or style is worth storing apart.
_LARGE = 50_000
_ELEMENT = re.compile(r"<(script|style)\b[^>]*>.*?</\1>", re.DOTALL)
#: Evidently gives what belongs to one report a name of its own.
_OF_ONE_REPORT = re.compile(r"metric_[0-9a-f]{32}")
_MARK = re.compile(r"<!--shared ([0-9a-f]{40})-->")


def split(html: str) -> tuple[str, dict[str, str]]:
    """The page with a mark in the place of each shared part, and the parts by the names in the marks."""
    parts: dict[str, str] = {}

    def replace(found: re.Match[str]) -> str:
        text = found[0]
        if len(text) < _LARGE or _OF_ONE_REPORT.search(text):
            return text
        name = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:40]
        parts[name] = text
        return f"<!--shared {name}-->"

    return _ELEMENT.sub(replace, html), parts


def names(html: str) -> list[str]:
    """The names of the parts that a page needs."""
    return [*dict.fromkeys(_MARK.findall(html))]


def join(html: str, parts: Mapping[str, str]) -> str:
    """The page with its parts.

    Raises:
        KeyError: a part is missing.
    """
    return _MARK.sub(lambda found: parts[found[1]], html)
