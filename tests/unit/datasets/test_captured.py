"""Datasets of captured requests: one row for each row, whatever the requests were."""

import csv
import io
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from model_deployment.datasets import captured as captured_module
from model_deployment.datasets.captured import Format, captured
from model_deployment.documents.base import Collection, Query
from tests.support.dataset_bytes import DANGEROUS, whole
from tests.support.memory_documents import START, MemoryDocuments

CAPTURES = Query(Collection.CAPTURES, model="m", version=1)


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
