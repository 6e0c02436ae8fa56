"""Exports keep exact values: those of the model's signature, whoever wrote them and in which form."""

import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model_deployment.datasets.captured import Format, captured, training
from model_deployment.documents.base import Collection, Query
from model_deployment.tabular.input_columns import ModelInputs
from tests.support.bodies import spec
from tests.support.memory_documents import MemoryDocuments

CAPTURES = Query(Collection.CAPTURES, model="m", version=1)
INPUTS = ModelInputs(
    [spec("string", "zip"), spec("boolean", "ok"), spec("long", "n"), spec("double", "d"),
     spec("datetime", "at"), spec("binary", "b"), spec("integer", "none")]
)  # fmt: skip
KEPT: dict[str, list[Any]] = {
    "zip": ["00501", None], "ok": [True, False], "n": [2**53 + 1, -(2**63)], "d": [1.0, None],
    "at": ["2026-01-31T00:00:00", None], "b": ["AP8=", ""], "none": [None, None],
}  # fmt: skip
TYPES = {
    "zip": pa.string(), "ok": pa.bool_(), "n": pa.int64(), "d": pa.float64(), "at": pa.string(),
    "b": pa.string(), "none": pa.int64(),
}  # fmt: skip


async def whole(parts: AsyncIterator[bytes]) -> bytes:
    return b"".join([part async for part in parts])


def documents(*rows: list[Any], names: list[str] | None = None, **more: Any) -> MemoryDocuments:
    found = MemoryDocuments()
    for number, row in enumerate(rows):
        found.capture(str(number), names or list(KEPT), [row], [1], **more)
    return found


def rows() -> list[list[Any]]:
    return [list(row) for row in zip(*KEPT.values(), strict=True)]


async def test_captured_values_are_exact_in_all_formats() -> None:
    store = documents(*rows(), typed=True)
    made = {
        format: await whole(captured(store.store, CAPTURES, None, False, format, INPUTS))
        for format in Format
    }
    table = pq.read_table(io.BytesIO(made[Format.PARQUET])).select(list(KEPT))
    assert table.to_pydict() == KEPT
    assert dict(zip(table.column_names, table.schema.types, strict=True)) == TYPES
    lines = [json.loads(line) for line in made[Format.JSONL].splitlines()]
    assert {name: [line[name] for line in lines] for name in KEPT} == KEPT
    cells = list(csv.DictReader(io.StringIO(made[Format.CSV].decode(), newline="")))
    assert [cells[0][name] for name in KEPT] == [
        "00501", "true", "9007199254740993", "1.0", "2026-01-31T00:00:00", "AP8=", "",
    ]  # fmt: skip


async def test_captures_of_an_earlier_release_do_not_round_newer_ones() -> None:
    store = documents([1.0, "True", 3], names=["n", "ok", "d"])
    exact = {"n": 2**53 + 1, "ok": False, "d": 0.5}
    store.capture("new", list(exact), [list(exact.values())], [1], typed=True)
    made = await whole(captured(store.store, CAPTURES, None, False, Format.PARQUET, INPUTS))
    table = pq.read_table(io.BytesIO(made)).select(["ok", "n", "d"])
    assert table.to_pydict() == {"ok": [True, False], "n": [1, 2**53 + 1], "d": [3.0, 0.5]}


async def test_columns_of_old_and_new_names_are_one() -> None:
    inputs = ModelInputs([spec("long", 0), spec("long", 1)])
    store = documents([1, 2], names=["f0", "f1"])
    store.capture("new", ["0", "1"], [[3, 4]], [1], typed=True)
    made = await whole(captured(store.store, CAPTURES, None, False, Format.JSONL, inputs))
    lines = list(map(json.loads, made.splitlines()))
    assert [(line["0"], line["1"]) for line in lines] == [(1, 2), (3, 4)]


async def test_numbers_are_not_rounded_without_a_signature() -> None:
    store = documents([2**53 + 1], [0.5], names=["n"], typed=True)
    made = await whole(captured(store.store, CAPTURES, None, False, Format.PARQUET))
    assert pq.read_table(io.BytesIO(made))["n"].to_pylist() == ["9007199254740993", "0.5"]


TRAINING = (
    "zip,ok,n,d,at,b,none,other,y\r\n"
    "00501,True,9007199254740993,1,2026-01-31,AP8=,,007,1\r\n"
    '"",false,-9223372036854775808,NA,,"",NA,8,2\r\n'
)


@pytest.mark.parametrize("format", [Format.PARQUET, Format.JSONL])
async def test_training_data_in_csv_are_read_by_the_signature(
    tmp_path: Path, format: Format
) -> None:
    (path := tmp_path / "training.csv").write_text(TRAINING)
    made = await whole(training(path, format, None, INPUTS))
    wanted = KEPT | {"other": ["007", "8"], "y": [1, 2]}
    # What is text stays as it was written.
    wanted |= {"at": ["2026-01-31", None], "b": ["AP8=", None]}
    if format is Format.PARQUET:
        table = pq.read_table(io.BytesIO(made))
        assert table.to_pydict() == wanted
        assert [table.schema.field(name).type for name in TYPES] == list(TYPES.values())
    else:
        lines = list(map(json.loads, made.splitlines()))
        assert {name: [line[name] for line in lines] for name in wanted} == wanted


async def test_column_with_values_of_other_types_stays_text(tmp_path: Path) -> None:
    (path := tmp_path / "training.csv").write_text("n,ok\n01,yes\nx,true\n9223372036854775808,1\n")
    made = await whole(training(path, Format.PARQUET, None, INPUTS))
    assert pq.read_table(io.BytesIO(made)).to_pydict() == {
        "n": ["01", "x", "9223372036854775808"],
        "ok": ["yes", "true", "1"],
    }


async def test_training_data_of_no_signature_lose_nothing(tmp_path: Path) -> None:
    text = "a,b,c\n9007199254740993,9223372036854775807,1\n0.5,2,9223372036854775808\n"
    (path := tmp_path / "training.csv").write_text(text)
    made = await whole(training(path, Format.PARQUET))
    assert pq.read_table(io.BytesIO(made)).to_pydict() == {
        "a": ["9007199254740993", "0.5"],
        "b": [2**63 - 1, 2],
        "c": ["1", "9223372036854775808"],
    }
