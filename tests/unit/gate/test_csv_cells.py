"""The cells of a CSV body: each is validated as what MLflow makes of it, and MLflow itself is the judge."""

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas._libs.parsers import STR_NA_VALUES

from model_deployment.core.names import ModelKey
from model_deployment.gate import MalformedText
from model_deployment.gate.csv_text import MISSING
from model_deployment.proxy.headers import CSV
from model_deployment.proxy.validate import rejection, validate
from tests.support.cases import each
from tests.support.enforcement import enforced_csv, same
from tests.support.gates import column, gate, kinds


def text(names: list[str], *rows: list[str]) -> str:
    """As csv writes it, but for a lone empty value, which would be a blank line."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in ([*names], *rows):
        writer.writerow(row) if row != [""] else out.write('""\n')
    return out.getvalue()


def told(kind: str, *cells: str, required: bool = True, mode: str = "strict") -> list[str]:
    gated = gate(column(kind, required=required), column("long", "b"), mode=mode)
    return kinds(gated.check_csv(text(["a", "b"], *([cell, "1"] for cell in cells))))


def test_missing_values_are_those_of_pandas() -> None:
    assert MISSING == STR_NA_VALUES


GOOD = {
    "long": ["1", " 1", "1 ", "+1", "-1", "007", "-0", "1.0", "1e3", str(2**63 - 1), str(-(2**63))],
    "integer": ["1", "2147483647", "-2147483648", "3.0"],
    "double": [
        "1",
        "1.",
        ".5",
        "-.5",
        "1e3",
        "1E+3",
        " 1.5 ",
        "9007199254740992",
        "1e308",
        "0",
        "5e-324",
    ],
    "float": ["0.1", "16777216", "3.4028235e38", "1e-45"],
    "boolean": ["True", "true", "TRUE", "False"],
    "string": [
        "x",
        " ",
        "00501",
        "+49 89",
        "1.0",
        "True",
        "na",
        "none",
        " NA",
        'a"b',
        "a,b",
        "a\nb",
        "é",
    ],
}
BAD = {
    "long": [
        ("x", "type"), ("1.5", "lossy"), ("9223372036854775808", "range"), ("", "null"), ("NA", "null"),
        ("1_000", "type"), ("0x10", "type"), ("٣", "type"), ("1,5", "type"), ("True", "type"),
        ("inf", "type"), ("nan", "null"), ("9007199254740993.0", "lossy"), ("1e30", "lossy"),
        ("--1", "type"),
        ("- 1", "type"), ("1" * 500, "type"), ("0." + "0" * 20 + "1", "lossy"),
    ],
    "integer": [
        ("2147483648", "range"), ("-2147483649", "range"), ("4294967297", "range"), ("2.5", "lossy"),
    ],
    "double": [
        ("x", "type"), ("inf", "type"), ("-Infinity", "type"), ("1e999", "range"), ("", "null"),
        ("nan", "null"), ("9007199254740993", "lossy"), ("True", "type"), ("1,5", "type"), ("1d3", "type"),
        ("1" * 400, "range"), ("0" * 20 + "7", "lossy"), ("0." + "0" * 20 + "7", "lossy"), (".", "type"),
    ],
    "float": [("1e39", "range"), ("1e-46", "lossy"), ("16777217", "lossy")],
    "boolean": [("yes", "type"), ("", "null"), (" True", "type"), ("2", "type"), ("T", "type")],
    "string": [(word, "null") for word in sorted(STR_NA_VALUES)],
}  # fmt: skip


@each("kind, cell", [(kind, one) for kind, all in GOOD.items() for one in all])
def test_a_cell_that_mlflow_keeps_passes(kind: str, cell: str) -> None:
    assert told(kind, cell) == []
    meant = cell if kind == "string" else cell.strip()
    value: Any = meant
    if kind in ("long", "integer"):
        value = int(float(meant)) if set(meant) & set(".e") else int(meant)
    elif kind in ("double", "float"):
        value = float(meant)
    elif kind == "boolean":
        value = meant.lower() == "true"
    (got,) = enforced_csv(text(["a", "b"], [cell, "1"]), [column(kind), column("long", "b")])["a"]
    assert same(value, got, column(kind))


@each("kind, cell, what", [(kind, *one) for kind, all in BAD.items() for one in all])
@pytest.mark.parametrize("rows", [1, 5000])
def test_a_cell_that_mlflow_would_change_or_refuse_is_refused(
    kind: str, cell: str, what: str, rows: int
) -> None:
    good = {"boolean": "True", "string": "x"}.get(kind, "1")
    result = gate(column(kind), column("long", "b")).check_csv(
        text(["a", "b"], *([good, "1"] for _ in range(rows - 1)), [cell, "1"])
    )
    assert [(str(one.kind), one.column, one.row) for one in result.violations] == [
        (what, "a", rows - 1)
    ]
    assert (result.refused, result.count, result.rows) == (True, 1, rows)


@pytest.mark.parametrize("kind", ["double", "float", "string"])
def test_an_optional_column_may_have_gaps(kind: str) -> None:
    assert told(kind, "", "NA", "1", "null", required=False) == []
    assert told(kind, "", "", required=False) == []


@pytest.mark.parametrize("kind", ["long", "integer", "boolean"])
def test_pandas_has_no_gaps_among_whole_numbers_and_booleans(kind: str) -> None:
    assert told(kind, "", required=False) == ["null"]


@pytest.mark.parametrize("mode", ["strict", "coerce", "observe"])
def test_modes_differ_in_what_becomes_of_it(mode: str) -> None:
    body = b"a\n2147483648\n"
    validated = validate(gate(column("integer"), mode=mode), CSV, body)
    assert validated.result.refused is (mode != "observe")
    assert (validated.result.count, validated.content) == (1, body)
    more = validate(gate(column("integer"), mode=mode), CSV, b"a,x\n1,2\n").result
    assert more.refused is (mode == "strict")


def test_whole_numbers_beside_one_with_a_point_lose_digits() -> None:
    assert told("long", "9007199254740993", "2") == []
    assert told("long", "9007199254740993", "1.0") == ["lossy"]
    assert told("long", "1.0", "9007199254740993") == ["lossy"]
    got = enforced_csv(text(["a"], ["9007199254740993"], ["1.0"]), [column("long")])["a"]
    assert got[0] == 9007199254740992


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (["1", "0", "1"], []), (["1.0", "0"], []), (["True", "0"], ["type"]), (["0", "True"], ["type"]),
        (["true", "FALSE"], []),
    ],
)  # fmt: skip
def test_booleans_are_words_or_numbers(cells: list[str], found: list[str]) -> None:
    assert told("boolean", *cells) == found


def test_of_thousands_of_bad_cells_the_first_are_told_and_all_are_counted() -> None:
    rows = [["x" if place % 2 else "1", ""] for place in range(9000)]
    result = gate(column("long"), column("string", "b")).check_csv(text(["a", "b"], *rows))
    assert result.count == 4500 + 9000
    assert result.tally == {("a", "type"): 4500, ("b", "null"): 9000}
    assert [(one.row, one.column) for one in result.violations[:4]] == [
        (0, "b"), (1, "a"), (1, "b"), (2, "b"),
    ]  # fmt: skip
    assert len(result.violations) == 20
    detail = rejection(ModelKey("m", 1), result).detail
    assert (
        "13500 violations of its signature, the first 20 of them below; column 'b' row 0" in detail
    )
    assert len(detail) < 300


CELLS = st.sampled_from(
    [
        "", "1", "0", "2", "-1", "1.0", "1.5", "x", "NA", "nan", "inf", "True", "false", "2147483648", " 3",
        "4 ",
        "9007199254740993", "1e3", "1e400", "007", ".5", "None", "é", 'q"', "a,b", "9223372036854775808",
    ]
) | st.text("0123456789.eE+- naiNTf_", max_size=6)  # fmt: skip


@given(st.data())
def test_what_passes_mlflow_reads_as_it_was_meant(data: st.DataObject) -> None:
    kinds_ = st.sampled_from([*GOOD])
    specs = [
        column(data.draw(kinds_), name, required=data.draw(st.booleans()))
        for name in "abc"[: data.draw(st.integers(1, 3))]
    ]
    rows = data.draw(
        st.lists(st.lists(CELLS, min_size=len(specs), max_size=len(specs)), min_size=1, max_size=4)
    )
    body = text([spec["name"] for spec in specs], *rows)
    try:
        result = gate(*specs).check_csv(body)
    except MalformedText:
        return
    if result.refused:
        return
    got = enforced_csv(body, specs)
    assert len(got) == result.rows
    for spec, cells in zip(specs, zip(*rows, strict=True), strict=True):
        for cell, value in zip(cells, got[spec["name"]], strict=True):
            assert same(meant(cell, spec["type"]), value, spec), (spec, cell, value)


def meant(cell: str, kind: str) -> Any:
    """What a cell says, to anybody who knows the type of its column."""
    if cell in STR_NA_VALUES:
        return None
    if kind == "string":
        return cell
    if kind == "boolean":
        return {"true": True, "false": False}.get(cell.lower(), cell in ("1", "1.0"))
    number = float(cell) if set(cell) & set(".eE") else int(cell)
    return int(number) if kind in ("long", "integer") else number
