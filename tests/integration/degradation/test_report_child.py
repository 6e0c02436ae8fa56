"""The child process: whatever is in its folder, it leaves a report, and never anybody's markup."""

import gzip
import json
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from model_deployment.degradation import report_files
from model_deployment.degradation.page import shared_parts
from tests.support.report_forks import ReportForks
from tests.support.report_jobs import HOSTILE, frame, with_labels

N = 60
CHANCE = np.random.default_rng(0)


@pytest.fixture(scope="module")
def forks() -> Iterator[ReportForks]:
    it = ReportForks()
    yield it
    it.close()


def child(
    folder: Path,
    current: pd.DataFrame | bytes,
    reference: pd.DataFrame | None = None,
    *,
    forks: ReportForks | None = None,
    **job: Any,
) -> tuple[int, dict[str, Any], str]:
    """Run it: how it ended, the report, the page."""
    write(folder, current, reference, **job)
    return run(folder, forks)


def write(
    folder: Path, current: pd.DataFrame | bytes, reference: pd.DataFrame | None = None, **job: Any
) -> None:
    if isinstance(current, bytes):
        (folder / "current.parquet").write_bytes(current)
    else:
        current.to_parquet(folder / "current.parquet")
    if reference is not None:
        reference.to_parquet(folder / "reference.parquet")
    (folder / "job.json").write_text(json.dumps({"deep": False, "cpu_seconds": 60, **job}))


def run(folder: Path, forks: ReportForks | None = None) -> tuple[int, dict[str, Any], str]:
    """As the program itself, or as a fork, which saves the imports."""
    if forks is not None:
        code = forks.run(folder)
    else:
        command = [sys.executable, "-m", "model_deployment.degradation", str(folder)]
        code = subprocess.run(command, capture_output=True, timeout=120, check=False).returncode
    page = folder / "report.html.gz"
    html = gzip.decompress(page.read_bytes()).decode() if page.exists() else ""
    return code, json.loads((folder / "report.json").read_text()), html


def odd() -> dict[str, Any]:
    """Columns that break tools, by what they are."""
    return {
        "nulls": [None] * N,
        "nan": [np.nan] * N,
        "infinite": [np.inf, -np.inf] * (N // 2),
        "constant": [7] * N,
        "text numbers": [str(i / 7) for i in range(N)],
        "mostly numbers": ["?", "1.5", "NA"] * (N // 3),
        "nullable": pd.array([1, None, 3] * (N // 3), dtype="Int64"),
        "small": np.arange(N, dtype=np.uint8),
        "huge": [1e308, -1e308] * (N // 2),
        "truth": [True, False] * (N // 2),
        "categorical": pd.Categorical([HOSTILE, "b"] * (N // 2)),
        "time": pd.date_range("2026-01-01", periods=N, tz="UTC"),
        "dicts": [{"a": i} for i in range(N)],
        "lists": [[i, i] for i in range(N)],
        "bytes": [b"\xff\x00"] * N,
        "text": [f"{HOSTILE} {i}" for i in range(N)],
        "quote\"'\n\\<u>": range(N),
        HOSTILE: [HOSTILE, "x", None] * (N // 3),
        "a.b": range(N),
        "": range(N),
        "__prediction": CHANCE.normal(0, 1, N),
        "__label": [1.0, None] * (N // 2),
    }


def safe(html: str) -> bool:
    """Whether nothing of the data is markup."""
    return bool(html) and not re.search(r"<(script|u|img)[ >]", html)


def test_hostile_columns(tmp_path: Path) -> None:
    table = pd.DataFrame(odd())
    code, found, html = child(tmp_path, table, table, baseline={"rmse": 9.0})
    assert (code, found["verdict"]) == (0, "ok")
    assert safe(html)


def test_hostile_columns_against_other_ones(tmp_path: Path, forks: ReportForks) -> None:
    now = odd()
    shifted = dict(zip(now, [*list(now.values())[1:], now["nan"]], strict=True))
    code, found, html = child(tmp_path, pd.DataFrame(now), pd.DataFrame(shifted), forks=forks)
    assert (code, found["verdict"]) == (0, "drift")
    assert safe(html)


@pytest.mark.parametrize("type", ["double", "string", "datetime", "boolean", "array", "long"])
def test_signature_that_lies(tmp_path: Path, type: str, forks: ReportForks) -> None:
    table = pd.DataFrame(odd())
    inputs = [{"name": name, "type": type} for name in [*table.columns, "nowhere"]]
    code, found, html = child(tmp_path, table, table, signature={"inputs": inputs}, forks=forks)
    assert code == 0
    assert found["verdict"] in ("ok", "insufficient_data")
    assert safe(html)


@pytest.mark.parametrize("rows", [0, 1, 29, 30])
def test_few_rows(tmp_path: Path, rows: int, forks: ReportForks) -> None:
    code, found, html = child(
        tmp_path, with_labels(frame(rows, 1), 0.1), frame(1000, 2), forks=forks
    )
    assert (code, found["verdict"]) == (0, "ok" if rows == 30 else "insufficient_data")
    assert safe(html)


def test_hundreds_of_columns(tmp_path: Path, forks: ReportForks) -> None:
    tables = [
        pd.DataFrame(np.random.default_rng(seed).normal(0, 1, (300, 400))).rename(columns=str)
        for seed in (1, 2)
    ]
    code, found, html = child(tmp_path, *tables, forks=forks)
    assert (code, found["verdict"], len(found["columns"])) == (0, "ok", 400)
    assert len(html) < 3_200_000


def test_no_columns_at_all(tmp_path: Path, forks: ReportForks) -> None:
    code, found, _ = child(
        tmp_path, pd.DataFrame({"__prediction": CHANCE.normal(0, 1, 50)}), forks=forks
    )
    assert (code, found["verdict"]) == (0, "no_reference")


BROKEN: list[Callable[[Path], object]] = [
    lambda folder: (folder / "current.parquet").write_bytes(b"no parquet"),
    lambda folder: (folder / "current.parquet").unlink(),
    lambda folder: (folder / "reference.parquet").write_bytes(b""),
    lambda folder: (folder / "job.json").unlink(),
    lambda folder: (folder / "job.json").write_text("[]"),
    lambda folder: (folder / "job.json").write_text('{"history": 3}'),
]


@pytest.mark.parametrize("damage", BROKEN)
def test_unreadable_input_is_an_error_with_a_reason(
    tmp_path: Path, forks: ReportForks, damage: Callable[[Path], object]
) -> None:
    write(tmp_path, frame(50), frame(50))
    for name in ("report.json", "report.html.gz"):
        (tmp_path / name).write_bytes(gzip.compress(b"of an earlier run"))
    damage(tmp_path)
    code, found, html = run(tmp_path, forks)
    assert (code, found["verdict"], html) == (1, "error", "")
    assert found["reason"]


def test_too_little_memory_or_time_is_an_error_with_a_reason(
    tmp_path: Path, forks: ReportForks
) -> None:
    table = pd.DataFrame(CHANCE.normal(0, 1, (10_000, 100))).rename(columns=str)
    code, found, _ = child(tmp_path, table, table, forks=forks, memory_bytes=100_000_000)
    assert (code, found["verdict"]) == (1, "error")
    texts = table.iloc[:2000].astype(str)
    # As a program, whose imports take most of that time already.
    code, found, _ = child(tmp_path, texts, texts, cpu_seconds=1)
    assert (code, found["verdict"]) == (1, "error")
    assert "processor time" in found["reason"]


def test_report_files_are_readable_by_the_owner_only(tmp_path: Path, forks: ReportForks) -> None:
    child(tmp_path, frame(50), forks=forks)
    for name in ("report.json", "report.html.gz"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_evidently_with_hostile_columns(tmp_path: Path, forks: ReportForks) -> None:
    table = pd.DataFrame(odd())
    code, found, html = child(tmp_path, table, table, forks=forks, deep=True, id="made")
    assert (code, found["verdict"]) == (0, "ok")
    assert safe(html)
    assert len(html) < 100_000
    page = gzip.decompress((tmp_path / "evidently.html.gz").read_bytes()).decode()
    files = report_files.shared(tmp_path)
    assert files.keys() == {*shared_parts.names(page)}
    parts = {name: gzip.decompress(file.read_bytes()).decode() for name, file in files.items()}
    whole = shared_parts.join(page, parts)
    assert "plotly" in whole.lower()
    assert "alert(1)" in page
    assert not re.search(r"<[^>]*>\s*alert\(1\)", whole)
    assert not any("alert(1)" in part for part in parts.values())
    assert len(page) < len(whole) / 2


def test_evidently_out_of_memory_does_not_lose_the_report(tmp_path: Path) -> None:
    # How it ends is not ours to say: OpenBLAS ends a process that has no memory for it by itself.
    _, found, html = child(
        tmp_path, frame(300, 1), frame(1000, 2), deep=True, memory_bytes=300_000_000
    )
    assert found["verdict"] == "ok"
    assert "Missing:" in html


def test_captures_that_break_encoders_still_make_a_report(
    tmp_path: Path, forks: ReportForks
) -> None:
    row = [10**400, "\ud800", {"\udfff": [10**400]}, 1.0, 2.0]
    columns = ["huge", "half", "nested", "__label", "__prediction_9"]
    common = {"ts": "2026-01-01T00:00:00+00:00", "columns": columns, "data": [row] * 40}
    captures = [
        {**common, "request_id": id, "predictions": [1.0, 2.0] * 20} for id in ("one", "one", "two")
    ]
    labels = [{"request_id": id, "row": 0, "label": 1.0} for id in ("one", "two")]
    files: dict[str, list[dict[str, Any]]] = {
        "captures": captures,
        "predictions": captures[:1],
        "labels": labels,
    }
    for name, documents in files.items():
        text = "".join(json.dumps(one) + "\n" for one in documents)
        (tmp_path / f"{name}.jsonl").write_text(text)
    training = pd.DataFrame({name: [1.0] * 50 for name in columns} | {"y": [1.0] * 50})
    training.to_csv(tmp_path / "training.csv", index=False)
    inputs = [{"name": name, "type": "double"} for name in columns]
    job = {
        "deep": False,
        "signature": {"inputs": inputs},
        "target": "y",
        "baseline_error": "\ud800",
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    code, found, html = run(tmp_path, forks)
    assert (code, found["rows"]["ambiguous"], found["rows"]["labelled"]) == (0, 1, 1)
    assert found["prediction_against"] == "captured"
    assert [one["name"] for one in found["columns"]].count("___label") == 1
    assert safe(html)
