"""Writes the files of a report, each whole or not at all. Standard library only."""

import gzip
import json
import math
from pathlib import Path
from typing import Any

REPORT, PAGE = "report.json", "report.html.gz"


def report(folder: Path, content: dict[str, Any]) -> None:
    """The machine-readable report."""
    text = json.dumps(_plain(content), ensure_ascii=True, allow_nan=False)
    _whole(folder / REPORT, text.encode("ascii"))


def page(folder: Path, html: str) -> None:
    """The page for people."""
    _whole(folder / PAGE, gzip.compress(html.encode("utf-8", "replace"), 6, mtime=0))


def failure(folder: Path, error: BaseException) -> None:
    """Say that there is no verdict, and why."""
    reason = f"{type(error).__name__}: {error}"[:500] or "unknown"
    finding = {
        "severity": "error",
        "code": "error",
        "column": None,
        "message": f"The report could not be made: {reason}",
        "advice": "See the log of the report; it can be made again.",
    }
    content: dict[str, Any] = {
        "verdict": "error",
        "reason": reason,
        "worse": False,
        "worse_metrics": [],
    }
    content["reasons"] = [finding]
    report(folder, content)


def clear(folder: Path) -> None:
    """Take away what an earlier run left."""
    for name in (REPORT, PAGE):
        (folder / name).unlink(missing_ok=True)


def exists(folder: Path) -> bool:
    """Whether there is a verdict."""
    return (folder / REPORT).exists()


def _whole(path: Path, content: bytes) -> None:
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def _plain(value: Any) -> Any:
    """What JSON has: no NaN, and no numbers of NumPy."""
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, bool) or value is None or isinstance(value, str | int):
        return value
    if hasattr(value, "item"):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
