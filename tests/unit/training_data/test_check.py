"""What a file of new data is told: each column that does not fit, with its first rows."""

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model_deployment.training_data.check import check
from tests.support.waiting import until_sync

MIB = 1024 * 1024
ORIGINAL = (
    "age,name,day,ok,income\n"
    "39,Ann,2026-01-01,true,>50K\n"
    "?,Bob,2026-01-02 10:00:00,false,<=50K\n"
)  # fmt: skip
HEADER = "age,name,day,ok,income\n"


@pytest.fixture
def look(tmp_path: Path) -> Any:
    """Checks a file; what comes of it."""

    def check_file(content: str | bytes | pa.Table, **more: Any) -> dict[str, Any]:
        path = tmp_path / "received"
        if isinstance(content, pa.Table):
            pq.write_table(content, path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        original = tmp_path / "original.csv"
        original.write_text(ORIGINAL)
        task = {
            "path": str(path), "declared": None, "original": str(original), "missing": ["?"],
            "most_bytes": 64 * MIB,
        }  # fmt: skip
        return check(task | more)

    return check_file


def table(**columns: Any) -> pa.Table:
    fitting = {
        "age": [1, 2], "name": ["=cmd()", "b"], "day": [datetime(2026, 1, 1), None],
        "ok": [True, None], "income": pa.array(["x", "y"]).dictionary_encode(),
    }  # fmt: skip
    return pa.table(fitting | columns)


@pytest.mark.parametrize(
    "content",
    [
        HEADER + '1.5,=HYPERLINK("http://x"),2026-01-01,true,\n+3," two\nlines",?,,"a,b"\n',
        "\ufeff" + HEADER.replace("\n", "\r\n") + "1e3,x,2026-01-01T10:00:00Z,TRUE,x\r\n",
        "extra,income,ok,day,name,age\n,x,true,2026-01-01,n,nan\n",  # another order, and more columns
        table(),
        table(age=[1.5, None], extra=["?", "2"]),
        table(age=["?", " 3 "]),
    ],
)
def test_what_fits_is_described(look: Any, content: Any) -> None:
    found = look(content)
    assert "refusal" not in found, found
    assert found["rows"] in (1, 2)
    names = {column["name"]: column["type"] for column in found["columns"]}
    assert {*HEADER.strip().split(",")} <= {*names}


def test_every_column_that_does_not_fit_is_told_with_its_first_rows(look: Any) -> None:
    rows = "".join(f"{age},x,1.1.2026,maybe,y\n" for age in ("1", "old", "2", "?", "x" * 99))
    found = look(HEADER + rows)
    assert found["refusal"] == "misfit"
    by_column = {one["column"]: one for one in found["errors"]}
    assert by_column.keys() == {"age", "day", "ok"}
    assert [one["row"] for one in by_column["age"]["rows"]] == [2, 5]
    assert by_column["age"]["rows"][1]["value"] == "x" * 60 + "…"
    assert "5 values" in by_column["day"]["message"]
    assert "row 2 has 'old'" in found["message"]
    gone = look("age,name,ok\n1,x,true\n")
    assert [one["column"] for one in gone["errors"]] == ["day", "income"]
    typed = look(table(day=[1, 2], age=["x", "2"]))
    assert {one["column"] for one in typed["errors"]} == {"age", "day"}


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"", "unreadable", "empty"),
        (HEADER, "unreadable", "no rows"),
        (HEADER + "1,2\n1,2,,,\n1,2,3,4,5,6\n", "unreadable", "row 1 has 2 values"),
        (HEADER.replace(",", ";") + "1;x;;;\n", "unreadable", "with commas"),
        ("age," + HEADER + "1,1,x,,,\n", "unreadable", "the same name: 'age'"),
        (
            HEADER.encode() + b"1,\xff\xfe,,,\n",
            "unreadable",
            "row 1 of column 2, 'name', is not UTF-8",
        ),
        (
            HEADER.encode() + b"1,x,,,\n" * 300_000 + b"1,,,,\xe4\n",
            "unreadable",
            "row 300001 of column 5, 'income', is not UTF-8",
        ),
        ("größe,".encode("latin-1") + HEADER.encode(), "unreadable", "header is not UTF-8"),
        (f"{'x' * 501},{HEADER}", "unreadable", "longer than 500 characters"),
        (HEADER + '1,"x,,,\n' * 3, "unreadable", "rows have another length"),
        (b"x" * 3 * MIB, "unreadable", "longer than"),
        (",".join(f"c{n}" for n in range(10_001)) + "\n", "too_large", "10001 columns"),
        (b"\x1f\x8b\x08rest", "unreadable", "gzip"),
        (b"PK\x03\x04rest", "unreadable", "zip"),
        (b"text\0text", "unreadable", "neither Parquet nor text"),
        (b"PAR1" + b"\xff" * 99 + b"\xff\xff\xff\x7fPAR1", "unreadable", "footer"),
        (table(more=[[1], [2]]), "unreadable", "type list"),
        (table(more=[b"1", b"2"]), "unreadable", "type binary"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(
    look: Any, content: Any, kind: str, words: str
) -> None:
    found = look(content)
    assert found["refusal"] == kind, found
    assert words in found["message"]


def test_the_declared_format_and_the_original_data_have_to_be_right(
    look: Any, tmp_path: Path
) -> None:
    assert look(table(), declared="csv")["refusal"] == "media"
    assert look(table(), original=str(tmp_path / "none.csv"))["refusal"] == "original"


def test_a_parquet_file_that_unpacks_to_far_more_is_stopped(look: Any, tmp_path: Path) -> None:
    rows = 300_000
    bomb = pa.table({
        "age": pa.repeat(1, rows), "name": pa.repeat("a" * 100, rows),
        "day": pa.nulls(rows, pa.timestamp("us")), "ok": pa.repeat(True, rows),
        "income": pa.repeat("x", rows),
    })  # fmt: skip
    assert look(bomb, most_bytes=8 * MIB)["refusal"] == "too_large"
    assert (tmp_path / "received").stat().st_size < MIB


def test_the_process_ends_at_its_limit_of_memory(tmp_path: Path) -> None:
    path = tmp_path / "page.parquet"
    value = pa.array(["x" * 16 * MIB])
    huge = pa.table({"age": value.take(pa.array([0] * 5))})
    pq.write_table(huge, path, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < MIB
    (tmp_path / "o.csv").write_text("age\nx\n")
    task: dict[str, Any] = {
        "path": str(path), "declared": None, "original": str(tmp_path / "o.csv"), "missing": [],
        "most_bytes": 1 << 40, "memory": 80 * MIB, "seconds": 60,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "model_deployment.training_data.check"],
        input=json.dumps(task), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    answer = json.loads(done.stdout) if done.stdout else {"refusal": "too_large"}
    assert answer["refusal"] == "too_large", done.stderr


def test_a_check_ends_with_the_process_that_wants_its_answer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never")  # opening it blocks
    program = f"""
import json, os, subprocess, sys
check = subprocess.Popen(
    [sys.executable, "-m", "model_deployment.training_data.check"], stdin=subprocess.PIPE
)
task = {{"original": {str(tmp_path / "never")!r}, "missing": [], "most_bytes": 1}}
limits = {{"memory": 1 << 30, "seconds": 60, "parent": os.getpid()}}
check.stdin.write(json.dumps(task | limits).encode())
check.stdin.close()
print(check.pid, flush=True)
check.wait()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        check = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    until_sync(lambda: not check.is_running())
