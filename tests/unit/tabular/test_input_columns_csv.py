"""Cells of CSV: what is captured is what the model saw."""

import csv
import io
from typing import Any

import pandas as pd
import pytest

from model_deployment.tabular.input_columns import ModelInputs
from tests.support.bodies import CSV, spec, table, taken
from tests.support.cases import each
from tests.support.gates import gate

CELLS = [
    *("", "NA", "nan", "NaN", "NULL", "None", "<NA>", "n/a", "-nan", "nat", "NaT", " NA", "NA "),
    *("0", "1", "0.0", "1.0", "00", "1.00", "true", "True", "tRUE", "FALSE", " true", "yes", "t"),
    *(
        "7",
        "+7",
        "-7",
        " 7",
        "7 ",
        "\t7",
        "\n7",
        "007",
        "7.",
        "7.0",
        ".5",
        "7e0",
        "7E2",
        "7e-1",
        "1e3",
    ),
    *("2147483647", "2147483648", "9007199254740993", "9007199254740993.0", "9223372036854775807"),
    *("9223372036854775808", "1e15", "1e17", "1e38", "1e39", "1e308", "1e309", "5e-324", "1e-46"),
    *(
        "0.1",
        "0.30000000000000004",
        "inf",
        "-Infinity",
        "1_000",
        "1,5",
        "0x10",
        "\u0663",
        "x",
        "a\nb",
        "-",
    ),
]


@each("cell, type, value", [
        ("NA", "string", None), ("null", "string", None), ("None", "string", None),
        ("nan", "string", None), ("n/a", "string", None), ("NaN ", "string", "NaN "),
        ("N.A.", "string", "N.A."), ("00501", "string", "00501"), ("True", "string", "True"),
        ("-", "string", "-"), ("2024-01-01", "string", "2024-01-01"), ("1e400", "string", "1e400"),
        ("True", "boolean", True), ("FALSE", "boolean", False), ("1", "boolean", True),
        ("0", "boolean", False), ("1.0", "boolean", True), ("0.0", "boolean", False),
        ("tRue", "boolean", True), ("yes", "boolean", "yes"),
        ("00501", "long", 501), ("+49", "long", 49), ("1.0", "long", 1), (" 7 ", "long", 7),
        ("1e3", "long", 1000), ("true", "long", 1), ("9007199254740993", "long", 9007199254740993),
        ("1_000", "long", "1_000"), ("٣", "long", "٣"), ("x", "long", "x"),
        ("9" * 5000, "long", "9" * 5000),
        ("1e400", "double", float("inf")), ("-inf", "double", float("-inf")),
        ("NaN", "double", None), ("", "double", None), ("5", "double", 5.0), (".5", "double", 0.5),
        ("0x10", "double", "0x10"), ("1,5", "double", "1,5"), ("1_0", "double", "1_0"),
        ("0.1", "float", 0.1), ("0.3333333333333333", "float", 0.33333334),
        ("2024-01-31", "datetime", "2024-01-31T00:00:00"), ("aGk=", "binary", "aGk="),
        ("[1, 2]", "array", "[1, 2]"),
    ])  # fmt: skip
def test_a_cell_is_what_the_signature_says_and_what_pandas_makes_of_it(
    cell: str, type: str, value: Any
) -> None:
    columns = ModelInputs([spec(type, "x"), spec("string", "y")])
    body = f'x,y\n"{cell}",z\n'.encode()
    (found,) = taken(columns, CSV, body)["x"]
    assert found == value
    assert found.__class__ is value.__class__
    mixed = taken(columns, CSV, body + b"NA,z\n")["x"]
    assert mixed == [value, None]


def test_lines_of_csv_are_those_of_pandas() -> None:
    body = b'a,b\n1\n\n   \n2,"x\ny"\n3,\n'
    found = taken(ModelInputs([spec("long", "a"), spec("string", "b")]), CSV, body)
    assert found == {"a": [1, 2, 3], "b": [None, "x\ny", None]}


def test_columns_of_one_name_the_first_is_the_models() -> None:
    found = ModelInputs([spec("string", "a")]).take(table(CSV, b"a,a\n01,02\n"))
    assert [(one.name, list(one.values)) for one in found] == [("a", ["01"]), ("a", ["02"])]


@pytest.mark.parametrize("kind", ["integer", "long", "float", "double", "string", "boolean"])
@pytest.mark.parametrize("required", [True, False])
def test_cells_that_pass_the_gate_are_captured_as_pandas_reads_them(
    kind: str, required: bool
) -> None:
    specs = [spec(kind, "x", required=required), spec("string", "y")]
    read = {"integer": "int32", "long": "int64", "float": "float32", "double": "float64",
            "boolean": "bool", "string": "object"}  # fmt: skip
    passed = 0
    for cell in CELLS:
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([["x", "y"], [cell, "z"]])
        text = out.getvalue()
        if gate(*specs).check_csv(text).refused:
            continue
        passed += 1
        (seen,) = pd.read_csv(io.StringIO(text), dtype={"x": read[kind], "y": "object"})["x"]
        (kept,) = taken(ModelInputs(specs), CSV, text.encode())["x"]
        if pd.isna(seen):
            assert kept is None, cell
        elif kind in ("float", "double"):  # pandas' reader of floats is off by some last digits
            digits = 1e-6 if kind == "float" else 1e-15
            assert kept == pytest.approx(float(seen), rel=digits), cell
        else:
            assert kept == seen, cell
            assert type(kept) is type(seen.item() if hasattr(seen, "item") else seen), cell
    assert passed >= 4


def test_a_row_of_a_space_that_pandas_keeps_is_captured() -> None:
    specs = [spec("string", "x")]
    text = "x\na\n\u00a0\n\x0b\n"
    assert gate(*specs).check_csv(text).rows == len(pd.read_csv(io.StringIO(text))) == 3
    assert taken(ModelInputs(specs), CSV, text.encode()) == {"x": ["a", "\u00a0", "\x0b"]}
