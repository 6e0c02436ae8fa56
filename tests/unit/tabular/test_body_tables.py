"""Rows in bodies, as the model sees them."""

import csv
import io
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.gate import MalformedJson
from model_deployment.tabular.body_tables import read as table_of
from model_deployment.tabular.input_columns import ModelInputs

JSON, CSV = "application/json", "text/csv"

#: A column that is called 0 is one without a name.
NAMES = st.lists(
    st.text(min_size=1, max_size=5).map(lambda name: f"n{name}"),
    min_size=1,
    max_size=4,
    unique=True,
)
CELLS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5)


@st.composite
def tables(draw: Any) -> tuple[list[str], list[list[Any]]]:
    names = draw(NAMES)
    row = st.lists(CELLS, min_size=len(names), max_size=len(names))
    return names, draw(st.lists(row, min_size=1, max_size=4))


def table(media_type: str, body: bytes) -> tuple[list[str], list[list[Any]]] | None:
    """Names and rows, of a model without a signature."""
    found = table_of(media_type, body)
    if found is None:
        return None
    columns = ModelInputs().take(found)
    rows = map(list, zip(*(one.values for one in columns), strict=True))
    return [one.name for one in columns], list(rows)


def read(body: Any) -> tuple[list[str], list[list[Any]]] | None:
    return table(JSON, json.dumps(body).encode())


@given(tables())
def test_all_forms_of_one_table_are_the_same_table(made: tuple[list[str], list[list[Any]]]) -> None:
    names, rows = made
    records = [dict(zip(names, row, strict=True)) for row in rows]
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    assert read({"dataframe_split": {"columns": names, "data": rows}}) == made
    assert read({"dataframe_records": records}) == made
    assert read({"instances": records}) == made
    assert read({"inputs": columns}) == made


@given(st.recursive(CELLS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_body_is_a_table_or_none(body: Any) -> None:
    found = read(body)
    assert found is None or {len(row) for row in found[1]} <= {len(found[0])}


def test_json_body_malformed_raises() -> None:
    with pytest.raises(MalformedJson):
        table(JSON, b"{")


def test_columns_without_names_are_numbered() -> None:
    assert read({"inputs": [[1, 2], [3, 4]]}) == (["f0", "f1"], [[1, 2], [3, 4]])
    assert read({"dataframe_split": {"columns": [7, "a"], "data": [[1, 2]]}}) == (
        ["f7", "a"],
        [[1, 2]],
    )


def test_integers_beyond_64_bits_stay_what_they_are() -> None:
    assert read([{"x": 10**30}]) == (["x"], [[10**30]])


@pytest.mark.parametrize(
    "media_type", ["", "application/vnd.apache.parquet", "text/plain", "application/JSON"]
)
def test_other_media_types_are_not_read(media_type: str) -> None:
    assert table(media_type, b'{"x": 1}') is None


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1", 1),
        ("-7", -7),
        ("+7", "+7"),
        ("007", "007"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (" 2.5", " 2.5"),
        ("inf", math.inf),
        ("1_000", "1_000"),
        ("-", "-"),
        ("a", "a"),
        ("true", True),
        ("nan", None),
        ("9007199254740993", 9007199254740993),
        ("9" * 30, "9" * 30),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_a_cell_of_no_known_type_is_a_number_where_nothing_is_lost(cell: str, value: Any) -> None:
    found = table(CSV, f"x,y\n{cell},\n".encode())
    assert found == (["x", "y"], [[value, None]])
    assert type(found[1][0][0]) is type(value)


def test_a_column_of_no_known_type_has_one_type() -> None:
    assert table(CSV, b"x,y\n1,1\n2.5,9007199254740993\n,0.5\n") == (
        ["x", "y"],
        [[1.0, "1"], [2.5, "9007199254740993"], [None, "0.5"]],
    )


@given(tables())
def test_text_comes_back_from_csv(made: tuple[list[str], list[list[Any]]]) -> None:
    names, rows = made
    texts = [[f"a{cell}" for cell in row] for row in rows]
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([names, *texts])
    assert table(CSV, out.getvalue().encode()) == (names, texts)


def test_a_header_alone_is_a_table_without_rows() -> None:
    assert table(CSV, b"a,b\n") == (["a", "b"], [])


@pytest.mark.parametrize("body", [b"", b"\r\n", b"a,b\n1,2,3\n", b"a\n\xff\n", b'a\n"b" c\n'])
def test_csv_body_without_a_table_is_none(body: bytes) -> None:
    assert table(CSV, body) is None
