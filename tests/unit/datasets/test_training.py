"""Training data as datasets: from any file, in any format, without holding it in memory."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model_deployment.datasets import training as training_module
from model_deployment.datasets.captured import Format, UnreadableData, training
from tests.support.dataset_bytes import read_csv, whole


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "i": [1, -2, 3],
            "f": [0.1, float("nan"), -1e-300],
            "b": [True, False, True],
            "s": ["=x", None, 'a "quoted", line\nbreak'],
            "t": pd.to_datetime(
                ["2026-01-01", None, "2026-01-02T03:04:05.000006"], format="ISO8601"
            ),
            "c": pd.Categorical(["u", "v", "u"]),
            "code": ["007", "008", "009"],
        }
    )


@pytest.fixture(params=["parquet", "csv"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"training.{request.param}"
    if request.param == "parquet":
        frame().to_parquet(path)
    else:
        frame().to_csv(path, index=False)
    return path


async def test_training_data_as_csv(file: Path) -> None:
    content = await whole(training(file, Format.CSV))
    found = pd.read_csv(io.BytesIO(content), dtype={"code": str}, float_precision="round_trip")
    expected = frame()
    for name in ("i", "f", "b", "code"):
        pd.testing.assert_series_equal(found[name], expected[name], check_dtype=name != "code")
    assert found["s"].tolist()[0] == "'=x"
    assert found["s"].tolist()[2] == expected["s"].tolist()[2]
    assert pd.to_datetime(found["t"], format="ISO8601").tolist()[2] == expected["t"].tolist()[2]


async def test_training_data_as_jsonl(file: Path) -> None:
    lines = [json.loads(line) for line in (await whole(training(file, Format.JSONL))).splitlines()]
    assert [line["i"] for line in lines] == [1, -2, 3]
    assert [line["f"] for line in lines] == [0.1, None, -1e-300]
    assert [line["b"] for line in lines] == [True, False, True]
    texts = [text if isinstance(text, str) else None for text in frame()["s"]]
    assert [line["s"] for line in lines] == texts
    assert [line["code"] for line in lines] == ["007", "008", "009"]
    assert lines[1]["t"] is None


async def test_training_data_as_parquet(file: Path) -> None:
    content = await whole(training(file, Format.PARQUET))
    found = pq.read_table(io.BytesIO(content)).to_pandas()
    for name in ("i", "f", "b"):
        pd.testing.assert_series_equal(found[name], frame()[name])
    assert found["code"].tolist() == ["007", "008", "009"]
    if file.suffix == ".parquet":
        assert content == file.read_bytes()  # noqa: ASYNC240


@pytest.mark.parametrize("format", list(Format))
async def test_a_limit_counts_rows(
    file: Path, format: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_module, "_ROWS", 2)
    for limit in (1, 2, 3, 4):
        content = await whole(training(file, format, limit))
        match format:
            case Format.CSV:
                found = len(read_csv(content)) - 1
            case Format.JSONL:
                found = len(content.splitlines())
            case Format.PARQUET:
                found = pq.read_table(io.BytesIO(content)).num_rows
        assert found == min(limit, 3)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("x\n1\n\n2\n", [1, 2]),
        ("x,y\n1,\nNA,1\n", [1, None]),
        ("x,y\n1.5,\n2\n", [1.5, 2.0]),
        ("x,y\ntrue,1\nFalse,1\n", [True, False]),
        ("x,y\n1,1\nTrue,1\n", ["1", "True"]),
        ("x,y\n+1,1\n2,1\n", ["+1", "2"]),
        ("x,y\n01,1\n2,1\n", ["01", "2"]),
        ("x,y\n1,1\nNA,1\nb,1\n", ["1", "NA", "b"]),
        ("x,y\n9999999999999999999,1\n", ["9999999999999999999"]),
        ("x,y\ninf,1\n1,1\n", [None, 1.0]),
        ("\ufeffx,y\n1e5,1\n", [1e5]),
        ("x,y\n.,1\n", ["."]),
        ("x,y\n1_0,1\n", ["1_0"]),
        ("x,y\n\u0661,1\n", ["\u0661"]),
    ],
)
async def test_csv_cells_are_numbers_where_all_of_a_column_are(
    tmp_path: Path, text: str, values: list[Any]
) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    content = await whole(training(tmp_path / "t.csv", Format.JSONL))
    assert [json.loads(line)["x"] for line in content.splitlines()] == values


async def test_csv_headers_that_are_alike_or_formulas(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("=a,=a,-1\n-1,-2,=3\n")
    content = await whole(training(tmp_path / "t.csv", Format.CSV))
    assert read_csv(content) == [["'=a", "'=a_1", "'-1"], ["-1", "-2", "'=3"]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b""),
        ("t.csv", b"\n\n"),
        ("t.csv", b"x\n1,2\n"),
        ("t.csv", b"x\n\xff\xfe\n"),
        ("t.parquet", b""),
        ("t.parquet", b"PAR1" + b"\0" * 40 + b"PAR1"),
        ("t.parquet", b"x,y\n1,2\n"),
    ],
)
async def test_training_data_unreadable_raises(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableData, match=r"^cannot read the training data"):
        await whole(training(tmp_path / name, Format.JSONL))


async def test_parquet_of_all_kinds(tmp_path: Path) -> None:
    table = pa.table(
        {
            "ns": pa.array([1, None], pa.timestamp("ns", "UTC")),
            "far": pa.array([2**52, 0], pa.timestamp("ms")),
            "day": pa.array([0, 1], pa.date32()),
            "clock": pa.array([1, 2], pa.time64("us")),
            "while": pa.array([-1, 2], pa.duration("s")),
            "dec": pa.array(["-1.50", "2.00"]).cast(pa.decimal128(10, 2)),
            "bin": pa.array([b"\xff", b""]),
            "list": pa.array([[1, None], []]),
            "struct": pa.array([{"a": float("nan")}, None]),
            "half": pa.array([1.5, 2.5], pa.float16()),
            "u64": pa.array([2**64 - 1, 0], pa.uint64()),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    header, first, _ = read_csv(await whole(training(tmp_path / "t.parquet", Format.CSV)))
    cells = dict(zip(header, first, strict=True))
    assert cells["ns"] == "1970-01-01T00:00:00.000000001Z"
    assert (cells["day"], cells["dec"], cells["bin"]) == ("1970-01-01", "-1.50", "/w==")
    assert (cells["list"], cells["struct"], cells["half"]) == ("[1,null]", '{"a":null}', "1.5")
    assert cells["u64"] == str(2**64 - 1)
    lines = (await whole(training(tmp_path / "t.parquet", Format.JSONL))).splitlines()
    assert json.loads(lines[0])["u64"] == 2**64 - 1


async def test_training_stream_closed_early_ends_its_thread(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x\n" + "1\n" * 50_000)
    stream = training(path, Format.CSV)
    assert await anext(stream) == b"x\r\n"
    await stream.aclose()
    task = asyncio.create_task(whole(training(path, Format.JSONL)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.slow
async def test_memory_stays_flat(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    schema = pa.schema([(f"c{number}", pa.float64()) for number in range(10)])
    with pq.ParquetWriter(path, schema) as writer:
        column = pa.array([0.1 * number for number in range(100_000)])
        writer.write_batch(pa.record_batch([column] * 10, schema))
    most = 0
    async for part in training(path, Format.CSV):
        most = max(most, len(part))
    assert most < 2_000_000
