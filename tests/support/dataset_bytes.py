"""Datasets as bytes, for tests."""

import csv
import io
from collections.abc import AsyncIterator

#: Cells that a spreadsheet would run, or take for something else.
DANGEROUS = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "=cmd|' /C calc'!A0",
    "\uff1d1",
    "-",
    "+49 30 1",
)


async def whole(parts: AsyncIterator[bytes]) -> bytes:
    """A dataset that is written in parts."""
    return b"".join([part async for part in parts])


def read_csv(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
