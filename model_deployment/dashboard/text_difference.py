"""Which lines of two texts differ, for a page."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import unified_diff
from typing import Literal

_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@")
#: Equal lines that are shown around what differs.
_AROUND = 3
_KINDS: dict[str, Literal["removed", "added", "same"]] = {"-": "removed", "+": "added", " ": "same"}


@dataclass(frozen=True, slots=True)
class DiffLine:
    """A line of one text or of both; or a gap between parts that differ."""

    kind: Literal["removed", "added", "same", "gap"]
    #: Numbers of the line in the two texts, from 1.
    old: int | None
    new: int | None
    text: str


def difference(old: str, new: str) -> Sequence[DiffLine]:
    """The lines that differ, with a few around them; empty if the texts are equal."""
    found: list[DiffLine] = []
    before = after = 0
    lines = unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=_AROUND)
    for line in [*lines][2:]:  # behind the names of two files
        if hunk := _HUNK.match(line):
            if found or int(hunk[1]) > 1:
                found.append(DiffLine("gap", None, None, ""))
            before, after = int(hunk[1]), int(hunk[2])
            continue
        kind = _KINDS[line[0]]
        found.append(
            DiffLine(
                kind,
                before if kind != "added" else None,
                after if kind != "removed" else None,
                line[1:],
            )
        )
        before += kind != "added"
        after += kind != "removed"
    return found
