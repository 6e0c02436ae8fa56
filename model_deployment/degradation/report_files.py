"""Writes the files of a report, each completely or not at all. Standard library only."""

import gzip
import json
import math
from pathlib import Path
from typing import Any

from model_deployment.degradation.findings import Finding, Severity
from model_deployment.degradation.page import shared_parts

REPORT, PAGE, EVIDENTLY = "report.json", "report.html.gz", "evidently.html.gz"
#: Begins the names of the files with parts that the pages of all reports share.
SHARED = "shared-"
_PACKED = ".gz"


def write_report(folder: Path, content: dict[str, Any]) -> None:
    text = json.dumps(_plain(content), ensure_ascii=True, allow_nan=False)
    _write(folder / REPORT, text.encode("ascii"))


def write_page(folder: Path, html: str) -> None:
    """Write the page for people, compressed."""
    _write(folder / PAGE, _packed(html))


def write_evidently(folder: Path, html: str) -> None:
    """Write Evidently's page, compressed, and the parts of it that all reports share."""
    page, parts = shared_parts.split(html)
    for name, text in parts.items():
        _write(folder / f"{SHARED}{name}{_PACKED}", _packed(text))
    _write(folder / EVIDENTLY, _packed(page))


def shared(folder: Path) -> dict[str, Path]:
    """The files of shared parts, by the names of the parts."""
    found = folder.glob(f"{SHARED}*{_PACKED}")
    return {one.name.removeprefix(SHARED).removesuffix(_PACKED): one for one in found}


def _packed(html: str) -> bytes:
    return gzip.compress(html.encode("utf-8", "replace"), 6, mtime=0)


def write_failure(folder: Path, error: BaseException) -> None:
    """Write a report that says that there is no verdict, and why."""
    reason = f"{type(error).__name__}: {error}"[:500]
    finding = Finding(Severity.ERROR, "error", f"The report could not be made: {reason}")
    content = {"verdict": "error", "reason": reason, "worse": False, "worse_metrics": []}
    write_report(folder, content | {"reasons": [finding.as_dict()]})


def clear(folder: Path) -> None:
    for name in (REPORT, PAGE, EVIDENTLY):
        (folder / name).unlink(missing_ok=True)


def exists(folder: Path) -> bool:
    """Whether the folder holds a verdict."""
    return (folder / REPORT).exists()


def _write(path: Path, content: bytes) -> None:
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def _plain(value: Any) -> Any:
    """A value as JSON has it: without NaN and without NumPy types."""
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
