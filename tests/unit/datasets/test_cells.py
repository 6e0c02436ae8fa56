"""Cells of datasets: nothing lost, and nothing that a spreadsheet would run."""

import io
import json
from typing import Any

import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.datasets.captured import Format
from model_deployment.datasets.formats import encoder
from model_deployment.tabular.text_cells import ColumnKind
from tests.support.dataset_bytes import DANGEROUS, read_csv

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
