"""The rows of a request in any format, as the texts that a form shows."""

import io
from typing import Any

import orjson
import pyarrow as pa
import pytest
from pyarrow import parquet

from model_deployment.core.errors import InvalidRequest
from model_deployment.dashboard.predict_table import table

SIGNATURE = {
    "inputs": [
        {"name": "n", "type": "long", "required": True},
        {"name": "s", "type": "string", "required": True},
    ]
}
JSON = "application/json"


def parquet_body() -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pa.table({"n": [2**60 + 1, None], "s": ["x", "y"]}), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (JSON, {"dataframe_records": [{"n": 2**60 + 1, "s": "x"}, {"n": None, "s": "y"}]}),
        (JSON, {"dataframe_split": {"columns": ["n", "s"], "data": [[2**60 + 1, "x"], [None, "y"]]}}),
        (JSON, {"inputs": {"n": [2**60 + 1, None], "s": ["x", "y"]}}),
        (JSON, {"instances": [{"n": 2**60 + 1, "s": "x"}, {"s": "y"}]}),
        (JSON, [{"n": 2**60 + 1, "s": "x"}, {"s": "y"}]),
        (JSON, {"inputs": [[2**60 + 1, "x"], [None, "y"]]}),
        ("text/csv", f"n,s\n{2**60 + 1},x\n,y\n".encode()),
        ("application/vnd.apache.parquet", parquet_body()),
    ],
)  # fmt: skip
def test_every_format_gives_the_same_texts(media_type: str, body: Any) -> None:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    found = table(media_type, content, SIGNATURE)
    assert (found.names, found.total) == (("n", "s"), 2)
    assert found.rows == ((str(2**60 + 1), "x"), ("", "y"))


def test_values_and_params_are_texts_that_mean_the_same() -> None:
    body = {"inputs": [{"a": [1, 2.50], "b": True}], "params": {"k": 3, "s": "t"}}
    found = table(JSON, orjson.dumps(body), None)
    assert (found.rows, found.params) == ((("[1,2.5]", "true"),), {"k": "3", "s": "t"})


def test_large_tables_are_cut() -> None:
    found = table("text/csv", b"n\n" + b"1\n" * 900, SIGNATURE)
    assert (len(found.rows), found.total) == (500, 900)


@pytest.mark.parametrize("body", [b"", b"{", b"[1", b"{}", b"5"])
def test_what_is_no_table_says_so(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="cannot read"):
        table(JSON, body, None)
