"""Whatever form rows come in, by the signature they are the same columns and the same values."""

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from model_deployment.tabular import body_tables
from model_deployment.tabular.body_tables import read
from model_deployment.tabular.input_columns import ModelInputs
from tests.support.bodies import CSV, JSON, PARQUET, csv, parquet, records, spec, taken

SPECS = [
    spec("string", "zip"),
    spec("boolean", "ok"),
    spec("long", "n"),
    spec("integer", "i"),
    spec("float", "f"),
    spec("double", "d", required=False),
    spec("string", "Straße, “x”", required=False),
]
ROWS: list[dict[str, Any]] = [
    {"zip": "00501", "ok": True, "n": 2**53 + 1, "i": -5, "f": 0.1, "d": 3.0, "Straße, “x”": "True"},
    {"zip": "+4915112", "ok": False, "n": -(2**63), "i": 2**31 - 1, "f": 1 / 3, "d": None,
     "Straße, “x”": 'a,"b"\r\nc'},
    {"zip": "1e400", "ok": True, "n": 2**63 - 1, "i": 0, "f": 16777217.0, "d": 5e-324, "Straße, “x”": None},
    {"zip": " 7 ", "ok": False, "n": 0, "i": 1, "f": -3e38, "d": 0.1 + 0.2, "Straße, “x”": "2024-01-31"},
]  # fmt: skip
FRAME = pd.DataFrame(ROWS).astype({"f": "float32", "i": "int32", "zip": "str"})
KEPT: dict[str, list[Any]] = {
    "zip": ["00501", "+4915112", "1e400", " 7 "],
    "ok": [True, False, True, False],
    "n": [2**53 + 1, -(2**63), 2**63 - 1, 0],
    "i": [-5, 2**31 - 1, 0, 1],
    "f": [0.1, 0.33333334, 16777216.0, -3e38],
    "d": [3.0, None, 5e-324, 0.1 + 0.2],
    "Straße, “x”": ["True", 'a,"b"\r\nc', None, "2024-01-31"],
}


def alike(found: dict[str, list[Any]], wanted: dict[str, list[Any]] = KEPT) -> None:
    assert found == wanted
    assert list(found) == list(wanted)
    assert [list(map(type, one)) for one in found.values()] == [
        list(map(type, one)) for one in wanted.values()
    ]


def frame_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{name: row[name] for name in frame} for row in ROWS]


def split(frame: pd.DataFrame) -> bytes:
    data = [[row[name] for name in frame] for row in ROWS]
    return json.dumps({"dataframe_split": {"columns": list(frame), "data": data}}).encode()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (JSON, lambda frame: records(frame_rows(frame))),
        (JSON, split),
        (CSV, csv),
        (CSV, lambda frame: b"\xef\xbb\xbf" + csv(frame, lineterminator="\r\n", quoting=1)),
        (PARQUET, parquet),
        (PARQUET, lambda frame: parquet(pa.Table.from_pandas(frame, preserve_index=True))),
        (PARQUET, lambda frame: parquet(frame, row_group_size=1, compression="zstd")),
    ],
)  # fmt: skip
def test_all_forms_are_the_same_columns_and_values(
    media_type: str, body: Any, reverse: bool
) -> None:
    frame = FRAME[list(FRAME)[::-1]] if reverse else FRAME
    alike(taken(ModelInputs(SPECS), media_type, body(frame)))


def test_optional_columns_that_some_callers_leave_away_are_not_there() -> None:
    for media_type, body in (
        (JSON, records([{"zip": "1", "n": 1}])),
        (CSV, b"n,zip\n1,1\n"),
        (PARQUET, parquet(pd.DataFrame({"n": [1], "zip": ["1"]}))),
    ):
        alike(taken(ModelInputs(SPECS), media_type, body), {"zip": ["1"], "n": [1]})


# Names


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (JSON, b'{"dataframe_split": {"columns": [0, 1], "data": [[1, "01"]]}}'),
        (JSON, b'{"dataframe_split": {"columns": ["1", "0"], "data": [["01", 1]]}}'),
        (JSON, b'{"dataframe_split": {"columns": [1.0, 0.0], "data": [["01", 1]]}}'),
        (JSON, b'{"dataframe_split": {"data": [[1, "01"]]}}'),
        (JSON, b'{"dataframe_records": [{"0": 1, "1": "01"}]}'),
        (JSON, b'{"inputs": [[1, "01"]]}'),
        (CSV, b"0,1\n1,01\n"),
        (CSV, b"1,0\n01,1\n"),
        (PARQUET, parquet(pd.DataFrame({0: [1.0], 1: ["01"]}))),
        (PARQUET, parquet(pd.DataFrame({"1": ["01"], "0": [1.0]}))),
    ],
)
def test_columns_whose_names_are_integers(media_type: str, body: bytes) -> None:
    columns = ModelInputs([spec("double", 0), spec("string", 1)])
    alike(taken(columns, media_type, body), {"0": [1.0], "1": ["01"]})


def test_a_number_and_the_text_of_it_are_two_columns() -> None:
    columns = ModelInputs([spec("long", 1), spec("string", "1")])
    for names, row in (('[1, "1"]', '[7, "07"]'), ('["1", 1.0]', '["07", 7]')):
        body = f'{{"dataframe_split": {{"columns": {names}, "data": [{row}]}}}}'.encode()
        alike(taken(columns, JSON, body), {"f1": [7], "1": ["07"]})


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (JSON, b'{"inputs": [[1, "01"]]}'),
        (JSON, b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1, "01"]]}}'),
        (CSV, b"a,b\n1,01\n"),
        (CSV, b"0,1\n1.0,01\n"),
        (PARQUET, parquet(pd.DataFrame({"x": [1.0], "y": ["01"]}))),
    ],
)
def test_columns_without_names_are_known_by_their_place(media_type: str, body: bytes) -> None:
    columns = ModelInputs([spec("double"), spec("string")])
    alike(taken(columns, media_type, body), {"f0": [1.0], "f1": ["01"]})


def test_a_list_of_values_is_one_column() -> None:
    assert taken(ModelInputs([spec("string")]), JSON, b'{"inputs": ["a", "b"]}') == {
        "f0": ["a", "b"]
    }
    assert taken(ModelInputs([spec("string", "text")]), JSON, b'{"inputs": ["a"]}') == {
        "text": ["a"]
    }
    assert taken(ModelInputs(), JSON, b'{"instances": [1, 2]}') == {"f0": [1, 2]}


PLAIN: dict[str, list[Any]] = {
    "a": [1, 2], "b": ["x", "y"], "c": [0.1, 2.5], "d": [True, False], "e": [None, None],
}  # fmt: skip


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (JSON, json.dumps({"inputs": PLAIN}).encode()),
        (CSV, b"a,b,c,d,e\n1,x,0.1,True,\n2,y,2.5,False,NA\n"),
        (PARQUET, parquet(pd.DataFrame(PLAIN).astype({"c": "float32"}))),
    ],
)
def test_formats_are_alike_without_a_signature(media_type: str, body: bytes) -> None:
    alike(taken(ModelInputs(), media_type, body), PLAIN)


# Values that only some forms have


def test_moments_have_one_spelling() -> None:
    inputs = ModelInputs([spec("datetime", "at")])
    early = "1677-09-22T00:12:43.145224193"
    wanted = {"at": ["2024-01-31T12:00:00", "2024-01-31T00:00:00", early, None, None]}
    sent = ["2024-01-31 12:00", "2024-01-31", early, None, "NaT"]
    body = json.dumps({"inputs": {"at": sent}}).encode()
    assert taken(inputs, JSON, body) == wanted
    moments = pd.to_datetime(wanted["at"], format="ISO8601").astype("datetime64[ns]")
    assert taken(inputs, PARQUET, parquet(pd.DataFrame({"at": moments}))) == wanted
    days = pa.table({"at": pa.array([dt.date(2024, 1, 31), None])})
    assert taken(inputs, PARQUET, parquet(days)) == {"at": ["2024-01-31T00:00:00", None]}


def test_text_without_a_time_stays() -> None:
    inputs = ModelInputs([spec("datetime", "at")])
    sent = ["soon", "2024-01-31T12:00:00+02:00", 7]
    assert taken(inputs, JSON, json.dumps({"inputs": {"at": sent}}).encode()) == {"at": sent}
    zoned = pd.DataFrame({"at": pd.to_datetime(["2024-01-31T12:00:00.5+02:00"])})
    assert taken(inputs, PARQUET, parquet(zoned)) == {"at": ["2024-01-31T10:00:00.5Z"]}


def test_bytes_are_base64_in_all_forms() -> None:
    inputs = ModelInputs([spec("binary", "b")])
    assert taken(inputs, JSON, b'{"inputs": {"b": ["AP\\n8="]}}') == {"b": ["AP8="]}
    assert taken(inputs, PARQUET, parquet(pd.DataFrame({"b": [b"\x00\xff"]}))) == {"b": ["AP8="]}


def test_nested_values_are_alike() -> None:
    inside = {
        "x": {"type": "double", "required": True},
        "tags": {"type": "array", "items": {"type": "string"}, "required": False},
    }
    inputs = ModelInputs([
        {**spec("array", "list"), "items": {"type": "double"}},
        {**spec("object", "one"), "properties": inside},
        {**spec("map", "by"), "values": {"type": "long"}},
    ])  # fmt: skip
    rows: list[dict[str, Any]] = [
        {"list": [1, 2.5], "one": {"x": 1, "tags": ["a"]}, "by": {"k": 1}},
        {"list": [], "one": {"x": 2}, "by": {"l": 2}},
    ]
    wanted: dict[str, list[Any]] = {
        "list": [[1.0, 2.5], []],
        "one": [{"x": 1.0, "tags": ["a"]}, {"x": 2.0}],
        "by": [{"k": 1}, {"l": 2}],
    }
    assert taken(inputs, JSON, records(rows)) == wanted
    one = {name: values[:1] for name, values in wanted.items()}
    assert taken(inputs, JSON, json.dumps({"inputs": rows[0]}).encode()) == one
    frame = pd.DataFrame(rows)
    assert taken(inputs, PARQUET, parquet(frame)) == wanted
    types = pa.schema([
        ("list", pa.list_(pa.float64())),
        ("one", pa.struct([("tags", pa.list_(pa.string())), ("x", pa.float64())])),
        ("by", pa.map_(pa.string(), pa.int64())),
    ])  # fmt: skip
    by = [list(row["by"].items()) for row in rows]
    arrow = pa.table([frame["list"], frame["one"], by], schema=types)
    assert taken(inputs, PARQUET, parquet(arrow)) == wanted


def test_types_of_arrow_that_json_has_not() -> None:
    columns = {
        "decimal": pa.array([Decimal("1.50"), None]),
        "time": pa.array([dt.time(1, 2, 3), None]),
        "category": pa.array(["a", "b"]).dictionary_encode(),
        "large": pa.array(["a", None], pa.large_string()),
        "uint": pa.array([2**64 - 1, 0], pa.uint64()),
        "none": pa.nulls(2),
        "half": pa.array(np.array([0.5, 2], "float16")),
        "nan": pa.array([float("nan"), 1.0]),
    }
    assert taken(ModelInputs(), PARQUET, parquet(pa.table(columns))) == {
        "decimal": ["1.50", None],
        "time": ["01:02:03", None],
        "category": ["a", "b"],
        "large": ["a", None],
        "uint": [2**64 - 1, 0],
        "none": [None, None],
        "half": [0.5, 2.0],
        "nan": [None, 1.0],
    }
    money = ModelInputs([spec("double", "decimal")])
    assert taken(money, PARQUET, parquet(pa.table(columns)))["decimal"] == [1.5, None]


def test_the_index_of_a_frame_is_no_column() -> None:
    frame = pd.DataFrame({"x": [1.0]}, index=pd.Index(["Ann"], name="name"))
    assert taken(ModelInputs(), PARQUET, parquet(frame)) == {"x": [1.0]}
    frame.index.name = None
    assert taken(ModelInputs(), PARQUET, parquet(frame)) == {"x": [1.0]}


# What is too much, or nothing


@pytest.mark.parametrize(
    "body", [b"", b"PAR1...PAR1", b"PAR1", parquet(pd.DataFrame({"x": [1]}))[:-9]]
)
def test_parquet_body_malformed_is_none(body: bytes) -> None:
    assert read(PARQUET, body) is None


@pytest.mark.slow
def test_parquet_bomb_is_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many = parquet(pa.table({"x": pa.nulls(body_tables.MOST_CELLS + 1)}))
    assert len(many) < 100_000
    assert read(PARQUET, many) is None
    long = parquet(pa.table({"x": ["y" * 1_000_000] * 300}))
    assert len(long) < 2_000_000
    assert read(PARQUET, long) is None


def test_records_that_have_a_column_each_are_no_table() -> None:
    odd = [{f"c{number}": 1} for number in range(5000)]
    assert read(JSON, json.dumps({"dataframe_records": odd}).encode()) is None


def test_signature_malformed_raises() -> None:
    with pytest.raises(AttributeError):
        ModelInputs([{"type": "array", "name": "x", "items": 7}])


# Rows of an earlier release, which guessed what cells are


def test_rows_that_were_captured_untyped_are_read_by_the_signature() -> None:
    guessed: list[list[Any]] = [[1.0, "True", 0.1, 3], [2, False, 1, None]]
    names, rows = ModelInputs(SPECS).retyped(["n", "ok", "f", "d"], guessed)
    assert (names, rows) == (["ok", "n", "f", "d"], [(True, 1, 0.1, 3.0), (False, 2, 1.0, None)])
    assert ModelInputs([spec("long", 0), spec("long", 1)]).retyped(["f0", "f1"], [[1, 2]]) == (
        ["0", "1"],
        [(1, 2)],
    )
    assert ModelInputs([spec("long", 1), spec("long", 0)]).retyped(["f0", "f1"], [[1, 2]]) == (
        ["1", "0"],
        [(2, 1)],
    )
    assert ModelInputs().retyped(["f1", "f0"], [[1, 2]]) == (["f1", "f0"], [(1, 2)])
    assert ModelInputs().retyped(["a"], [["01"]]) == (["a"], [("01",)])
    assert ModelInputs(SPECS).retyped([], [[], []]) == ([], [])
