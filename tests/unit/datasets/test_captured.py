"""Datasets as they are written, and sent: nothing lost, nothing run, nothing half."""

import asyncio
import csv
import io
import json
import math
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uvicorn
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.api import datasets, problems
from model_deployment.api.names import Names
from model_deployment.core.errors import NotDeployed, RegistryUnavailable
from model_deployment.datasets import captured as captured_module
from model_deployment.datasets import training as training_module
from model_deployment.datasets.captured import Format, UnreadableData, captured, training
from model_deployment.datasets.formats import encoder
from model_deployment.documents.base import Collection, Query
from model_deployment.tabular.text_cells import ColumnKind
from tests.support.memory_documents import START, MemoryDocuments
from tests.support.memory_endpoints import MemoryEndpoints

CAPTURES = Query(Collection.CAPTURES, model="m", version=1)
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
    return b"".join([part async for part in parts])


async def rows(
    documents: MemoryDocuments,
    format: Format = Format.JSONL,
    *,
    query: Query = CAPTURES,
    columns: Sequence[str] | None = None,
    labels: bool = True,
) -> Any:
    content = await whole(captured(documents.store, query, columns, labels, format))
    assert documents.open_streams == 0
    match format:
        case Format.JSONL:
            return [json.loads(line) for line in content.splitlines()]
        case Format.CSV:
            return list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
        case Format.PARQUET:
            return pq.read_table(io.BytesIO(content))


@pytest.fixture
def documents() -> MemoryDocuments:
    it = MemoryDocuments()
    it.capture("a", ["x", "s"], [[1, "u"], [2, None]], [0.5, 1.5])
    it.capture("b", ["s", "y"], [["v", True]], [2])
    it.label("a", 1, 7)
    it.label("b", 0, 9)
    it.label("c", 0, 11)
    return it


# -- captured --------------------------------------------------------------------------------------------


async def test_one_row_for_each_captured_row(documents: MemoryDocuments) -> None:
    assert await rows(documents) == [
        {"request_id": "a", "ts": "2026-01-31T12:00:00Z", "row": 0, "x": 1, "s": "u", "y": None,
         "prediction": 0.5, "label": None},
        {"request_id": "a", "ts": "2026-01-31T12:00:00Z", "row": 1, "x": 2, "s": None, "y": None,
         "prediction": 1.5, "label": 7},
        {"request_id": "b", "ts": "2026-01-31T12:00:01Z", "row": 0, "x": None, "s": "v", "y": True,
         "prediction": 2, "label": 9},
    ]  # fmt: skip


async def test_dataset_as_csv(documents: MemoryDocuments) -> None:
    content = await whole(captured(documents.store, CAPTURES, None, True, Format.CSV))
    assert content == (
        b"request_id,ts,row,x,s,y,prediction,label\r\n"
        b"a,2026-01-31T12:00:00Z,0,1,u,,0.5,\r\n"
        b"a,2026-01-31T12:00:00Z,1,2,,,1.5,7\r\n"
        b"b,2026-01-31T12:00:01Z,0,,v,true,2,9\r\n"
    )


async def test_dataset_as_parquet(documents: MemoryDocuments) -> None:
    table = await rows(documents, Format.PARQUET)
    assert [str(field.type) for field in table.schema] == [
        "string", "timestamp[ms, tz=UTC]", "int64", "int64", "string", "bool", "double", "int64",
    ]  # fmt: skip
    assert table.to_pydict()["prediction"] == [0.5, 1.5, 2.0]
    assert table.to_pydict()["y"] == [None, None, True]
    assert table.to_pandas()["ts"][0] == pd.Timestamp(START)


async def test_columns_labels_and_limits_are_chosen(documents: MemoryDocuments) -> None:
    found = await rows(documents, columns=["y", "nowhere", "y"], labels=False)
    assert list(found[0]) == ["request_id", "ts", "row", "y", "nowhere", "prediction"]
    for limit in (1, 2, 3, 4):
        query = Query(Collection.CAPTURES, model="m", version=1, limit=limit)
        for format in Format:
            header = format is Format.CSV
            assert len(await rows(documents, format, query=query)) == min(limit, 3) + header
    query = Query(Collection.CAPTURES, newest_first=True, limit=1)
    assert [row["request_id"] for row in await rows(documents, query=query)] == ["b"]


async def test_names_that_collide_get_a_suffix() -> None:
    documents = MemoryDocuments()
    documents.capture("a", ["label", "label_1", "ts", "x", "x", "x_1"], [[1, 2, 3, 4, 5, 6]], [7])
    documents.capture("b", ["x_1", "x", "label"], [[6, 4, 1]], [7])
    first, second = await rows(documents)
    assert list(first) == [
        "request_id", "ts", "row", "label_2", "label_1", "ts_1", "x", "x_2", "x_1", "prediction", "label",
    ]  # fmt: skip
    assert [first[name] for name in ("label_2", "label_1", "ts_1", "x", "x_2", "x_1")] == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]
    assert [second[name] for name in ("label_2", "x", "x_2", "x_1")] == [1, 4, None, 6]


@pytest.mark.parametrize("predictions", [None, 3, "text", {"labels": [1, 2]}, [1], [1, 2, 3], []])
async def test_predictions_that_are_not_of_the_rows_are_left_out(predictions: Any) -> None:
    documents = MemoryDocuments()
    documents.capture("a", ["x"], [[1], [2]], predictions)
    assert [row["prediction"] for row in await rows(documents)] == [None, None]


async def test_predictions_of_any_shape() -> None:
    documents = MemoryDocuments()
    values = [[0.1, 0.9], {"class": "a", "p": math.nan}, "=1", -3, None]
    documents.capture("a", ["x"], [[None]] * 5, values)
    found = [row["prediction"] for row in await rows(documents)]
    assert found == [[0.1, 0.9], {"class": "a", "p": None}, "=1", -3, None]
    found = [row[4] for row in (await rows(documents, Format.CSV))[1:]]
    assert found == ["[0.1,0.9]", '{"class":"a","p":null}', "'=1", "-3", ""]
    table = await rows(documents, Format.PARQUET)
    assert table["prediction"].to_pylist() == [
        "[0.1,0.9]",
        '{"class":"a","p":null}',
        "=1",
        "-3",
        None,
    ]


async def test_requests_without_a_table_have_no_rows() -> None:
    documents = MemoryDocuments()
    documents.capture("a", [], [], [1, 2], note="no table", rows=0)
    assert await rows(documents) == []
    assert await rows(documents, Format.CSV) == [["request_id", "ts", "row", "prediction", "label"]]
    table = await rows(documents, Format.PARQUET)
    assert table.num_rows == 0
    assert table.column_names == ["request_id", "ts", "row", "prediction", "label"]


@pytest.mark.parametrize(
    ("values", "type", "read"),
    [
        ([1, 2], "int64", [1, 2]),
        ([1, None, 2.5], "double", [1.0, None, 2.5]),
        ([True, None], "bool", [True, None]),
        ([True, 1], "string", ["true", "1"]),
        (["a", 1, [1, {"b": None}]], "string", ["a", "1", '[1,{"b":null}]']),
        ([2**63, -1], "string", [str(2**63), "-1"]),
        ([2**80], "string", [str(2**80)]),
        ([-(2**63)], "int64", [-(2**63)]),
        ([None, None], "string", [None, None]),
        (["\ud800x\0"], "string", ["?x\0"]),
    ],
)
async def test_parquet_has_one_type_for_a_column(
    values: list[Any], type: str, read: list[Any]
) -> None:
    documents = MemoryDocuments()
    # What a column is shows late.
    for number, value in enumerate(values):
        documents.capture(str(number), ["x"], [[value]], [0])
    table = await rows(documents, Format.PARQUET)
    assert str(table.schema.field("x").type) == type
    assert table["x"].to_pylist() == read


async def test_not_a_number_is_empty_or_null() -> None:
    documents = MemoryDocuments()
    documents.capture("a", ["x"], [[math.nan], [math.inf], [-math.inf], [1e300]], [0] * 4)
    assert [row["x"] for row in await rows(documents)] == [None, None, None, 1e300]
    assert [row[3] for row in await rows(documents, Format.CSV)] == ["x", "", "", "", "1e+300"]


async def test_labels_of_other_rows_and_large_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured_module, "_ROWS", 7)
    documents = MemoryDocuments()
    for number in range(9):
        documents.capture(
            str(number), ["x"], [[row] for row in range(number * 3)], [*range(number * 3)]
        )
        for row in range(0, number * 3, 2):
            documents.label(str(number), row, f"{number}/{row}")
    for format in (Format.JSONL, Format.PARQUET):
        found = await rows(documents, format)
        found = found if isinstance(found, list) else found.to_pylist()
        assert len(found) == sum(number * 3 for number in range(9))
        for row in found:
            assert row["x"] == row["row"] == row["prediction"]
            even = row["row"] % 2 == 0
            assert row["label"] == (f"{row['request_id']}/{row['row']}" if even else None)


async def test_captures_that_arrive_meanwhile_are_left_out() -> None:
    documents = MemoryDocuments()
    documents.capture("a", ["x"], [[1]], [0], ts=datetime.now(UTC))
    stream = captured(documents.store, CAPTURES, None, True, Format.PARQUET)
    parts = [await anext(stream)]
    documents.capture("b", ["x"], [["text"]], [0], ts=datetime.now(UTC))
    parts += [part async for part in stream]
    assert pq.read_table(io.BytesIO(b"".join(parts)))["x"].to_pylist() == [1]


async def test_dataset_fails_when_the_store_goes_away(documents: MemoryDocuments) -> None:
    documents.breaks_after = 1
    for format in Format:
        with pytest.raises(Exception, match="it went away"):
            await rows(documents, format)
        assert documents.open_streams == 0


async def test_dataset_stream_left_early_closes_its_cursor(documents: MemoryDocuments) -> None:
    stream = captured(documents.store, CAPTURES, None, True, Format.CSV)
    async for _ in stream:
        break
    await stream.aclose()
    assert documents.open_streams == 0


# -- CSV -------------------------------------------------------------------------------------------------


def read_csv(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))


@pytest.mark.parametrize("text", DANGEROUS)
async def test_no_cell_is_a_formula(text: str) -> None:
    documents = MemoryDocuments()
    documents.capture(text, [text, "n"], [[text, -1], [[text], -0.5]], [text, {text: 1}])
    documents.label(text, 0, text)
    header, first, second = await rows(documents, Format.CSV)
    assert header == ["request_id", "ts", "row", f"'{text}", "n", "prediction", "label"]
    assert [first[0], first[3], first[5], first[6]] == [f"'{text}"] * 4
    # Numbers stay numbers.
    assert (first[4], second[4]) == ("-1", "-0.5")
    assert json.loads(second[3]) == [text]
    assert json.loads(second[5]) == {text: 1}


TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(DANGEROUS)


@given(st.lists(st.lists(TEXT, min_size=2, max_size=2), min_size=1, max_size=20))
def test_any_text_comes_back(lines: list[list[str]]) -> None:
    it = encoder(Format.CSV, ["a", "b"], [])
    found = read_csv(it.head() + it.rows(lines))
    for line, cells in zip([["a", "b"], *lines], found, strict=True):
        for text, cell in zip(line, cells, strict=True):
            assert cell in (text, f"'{text}")
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1)


@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_any_number_comes_back(numbers: list[float]) -> None:
    it = encoder(Format.CSV, ["n"], [])
    found = [cell for (cell,) in read_csv(it.rows([[number] for number in numbers]))]
    assert [type(number)(cell) for number, cell in zip(numbers, found, strict=True)] == numbers


JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(JSON, min_size=1, max_size=5))
def test_any_value_is_a_line_of_json_and_a_cell(values: list[Any]) -> None:
    lines = encoder(Format.JSONL, ["v"], []).rows([[value] for value in values])
    assert [json.loads(line)["v"] for line in lines.splitlines()] == values
    assert len(read_csv(encoder(Format.CSV, ["v"], []).rows([[value] for value in values]))) == len(
        values
    )
    it = encoder(Format.PARQUET, ["v"], [ColumnKind.TEXT])
    content = it.head() + it.rows([[value] for value in values]) + it.tail()
    assert pq.read_table(io.BytesIO(content)).num_rows == len(values)


# -- training --------------------------------------------------------------------------------------------


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


# -- the call --------------------------------------------------------------------------------------------


class DatasetApi:
    """A router with what it needs."""

    def __init__(self, tmp_path: Path) -> None:
        self.documents = MemoryDocuments()
        self.file: Path | None = None
        self.registry_away = False
        self._folder = tmp_path
        self.app = FastAPI()
        problems.install(self.app)
        self.app.include_router(
            datasets.router(
                datasets.DatasetCalls(
                    names=Names(self._get, MemoryEndpoints(), self.documents.store),
                    find_training=self._find,
                    documents=self.documents.store,
                )
            )
        )

    def train(self) -> None:
        self.file = self._folder / "training.csv"
        self.file.write_text("x\n1\n2\n")

    async def _get(self, key: Any) -> Any:
        if key.model not in ("m", "m x"):
            raise NotDeployed("cannot find it")

    async def _find(self, key: Any) -> Any:
        if self.registry_away:
            raise RegistryUnavailable("cannot ask", retry_after=10)
        return SimpleNamespace(path=self.file) if self.file else None

    async def get(self, path: str) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            return await client.get(path)


@pytest.fixture
def api(tmp_path: Path) -> DatasetApi:
    return DatasetApi(tmp_path)


async def test_training_data_come_before_captures(api: DatasetApi) -> None:
    api.train()
    api.documents.capture("a", ["x"], [[5]], [0])
    answer = await api.get("/model/m-1/dataset")
    assert answer.content == b"x\r\n1\r\n2\r\n"
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="m-1-training.csv"'
    answer = await api.get("/model/m-1/dataset?source=captured&format=jsonl")
    assert answer.json()["x"] == 5
    assert answer.headers["content-disposition"] == 'attachment; filename="m-1-captured.jsonl"'
    answer = await api.get("/model/m-1/dataset?since=2026-01-01")
    assert answer.headers["x-dataset-source"] == "captured"
    api.file = None
    answer = await api.get("/model/m-1/dataset?format=parquet")
    assert pq.read_table(io.BytesIO(answer.content))["x"].to_pylist() == [5]


async def test_captures_of_devices_are_a_dataset_of_their_own(api: DatasetApi) -> None:
    api.train()
    api.documents.capture("a", ["x"], [[5]], [0])
    answer = await api.get("/model/m-1/dataset?source=devices")
    assert answer.status_code == 404
    assert "devices have sent no captures of it" in answer.json()["detail"]
    api.documents.capture("b", ["x"], [[6]], [1])
    of_device = api.documents.kept[Collection.CAPTURES].pop()
    # The second version is on devices only.
    api.documents.kept[Collection.DEVICE_CAPTURES] += [of_device, of_device | {"model": "edge"}]
    api.documents.label("b", 0, 7)
    for path in ("m-1", "edge-1"):
        answer = await api.get(f"/model/{path}/dataset?source=devices&format=jsonl")
        found = answer.json()
        assert (found["request_id"], found["x"], found["prediction"]) == ("b", 6, 1)
        assert answer.headers["x-dataset-source"] == "devices"
    assert (await api.get("/model/edge-1/dataset")).status_code == 404
    assert (await api.get("/model/other-1/dataset?source=devices")).status_code == 404
    answer = await api.get("/model/m-1/dataset?source=captured&format=jsonl")
    assert answer.json()["request_id"] == "a"


async def test_a_name_with_a_blank_is_a_safe_file_name(api: DatasetApi) -> None:
    api.train()
    answer = await api.get("/model/m%20x-1/dataset?limit=1")
    assert answer.headers["content-disposition"] == 'attachment; filename="m_x-1-training.csv"'
    assert answer.content == b"x\r\n1\r\n"


async def test_windows(api: DatasetApi) -> None:
    for number in range(3):
        api.documents.capture(str(number), ["x"], [[number]], [0])
    answer = await api.get(
        "/model/m-1/dataset?format=jsonl&since=2026-01-31T12:00:01Z&until=2026-01-31T13:00:02+01:00"
    )
    assert [json.loads(line)["x"] for line in answer.content.splitlines()] == [1]
    # Nothing in it: a file all the same.
    answer = await api.get("/model/m-1/dataset?since=1s")
    assert answer.status_code == 200
    assert answer.content.count(b"\r\n") == 1


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 404),
        ("?source=training", 404),
        ("?source=captured", 404),
        ("?since=24h", 404),
        ("?source=else", 422),
        ("?format=xlsx", 422),
        ("?limit=0", 422),
        ("?limit=x", 422),
        ("?since=yesterday", 422),
        ("?until=", 422),
        ("?since=1h&until=2h", 422),
        ("?source=training&since=1h", 422),
    ],
)
async def test_dataset_that_cannot_be_made_is_a_problem_document(
    api: DatasetApi, query: str, status: int
) -> None:
    answer = await api.get(f"/model/m-1/dataset{query}")
    assert answer.status_code == answer.json()["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].startswith("cannot ")


async def test_dataset_of_an_unknown_deployment_is_a_problem_document(api: DatasetApi) -> None:
    assert (await api.get("/model/other-1/dataset")).status_code == 404


async def test_registry_or_store_away_is_a_problem_document(api: DatasetApi) -> None:
    api.documents.capture("a", ["x"], [[5]], [0])
    api.registry_away = True
    # Whether there are training data is not known: the captures are not what was asked for.
    assert (await api.get("/model/m-1/dataset")).status_code == 503
    assert (await api.get("/model/m-1/dataset?source=captured")).status_code == 200
    api.documents.breaks_after = 0
    answer = await api.get("/model/m-1/dataset?source=captured")
    assert answer.status_code == 503
    assert "document store" in answer.json()["detail"]


async def test_training_data_that_cannot_be_read_are_a_problem(api: DatasetApi) -> None:
    api.train()
    assert api.file is not None
    api.file.write_text("x\n1,2\n")
    answer = await api.get("/model/m-1/dataset")
    assert answer.status_code == 404
    assert "more cells" in answer.json()["detail"]


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
        )
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_dataset_stream_that_fails_is_aborted(
    api: DatasetApi, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captured_module, "_COLUMNS_FROM", 2)
    monkeypatch.setattr(captured_module, "_CAPTURES", 1)
    for number in range(5):
        api.documents.capture(str(number), ["x"], [[number]], [0])
    api.documents.breaks_after = 3
    with served(api.app) as url:
        had: list[bytes] = []
        with httpx.stream("GET", f"{url}/model/m-1/dataset?format={format}") as answer:
            assert answer.status_code == 200
            with pytest.raises(httpx.RemoteProtocolError):
                had.extend(answer.iter_raw())
        assert b"2026-01-31" in b"".join(had)
    assert api.documents.open_streams == 0


def test_dataset_stream_is_closed_when_the_caller_leaves(
    api: DatasetApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captured_module, "_CAPTURES", 1)
    for number in range(2000):
        api.documents.capture(str(number), ["x"], [["x" * 100_000]], [0])
    with served(api.app) as url:
        with httpx.stream("GET", f"{url}/model/m-1/dataset?source=captured") as answer:
            next(answer.iter_raw())
        end = time.monotonic() + 20
        while api.documents.open_streams and time.monotonic() < end:
            time.sleep(0.02)
    assert api.documents.open_streams == 0
