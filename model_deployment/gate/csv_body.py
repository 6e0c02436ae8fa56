"""Checks a CSV body against a signature of columns: its header, the width of its rows, and its cells."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from model_deployment.core.errors import ModelDeploymentError
from model_deployment.gate import csv_text
from model_deployment.gate.check_result import SHOWN, Fault, Findings, ViolationKind, clip, describe
from model_deployment.gate.csv_cells import CellRule, cell_rule
from model_deployment.gate.csv_text import Row
from model_deployment.gate.nested_rules import COMPLEX
from model_deployment.gate.scalar_rules import Rule

#: MLflow reads no CSV if the signature has a column of one of these types.
_HOPELESS = COMPLEX | {"any", "tensor"}
#: Columns of these types may be in the signature, but not in the CSV: pandas refuses datetime, and MLflow
#: leaves binary in base64.
_UNREADABLE = _HOPELESS | {"datetime", "binary"}
_HEADER = "CSV: a line of column names"
#: Where pandas finds other rows than Python's csv: at a lone carriage return that ends an empty line, or is
#: followed by an empty value or spaces; and at a line of nothing but quoted spaces.
_LOST = re.compile(r'(?:^|[\r\n])\r(?!\n)|\r[, \t\r]|(?:^|[\r\n])"[ \t]+"(?:[\r\n]|$)')
#: Rows that are checked together.
_BLOCK = 2000


class MalformedText(ModelDeploymentError):
    """A CSV body that is not text, or not a table."""

    status = 400
    title = "Malformed CSV"


def check_csv(
    text: str,
    specs: Sequence[Mapping[str, Any]],
    rules: Sequence[Rule],
    findings: Findings,
    *,
    single: bool = False,
) -> int | None:
    """Check a body against the columns of a signature.

    Args:
        specs: the columns; without any only the width of rows is checked.
        rules: for the values of each column; none if MLflow reads none of them from CSV.
        single: MLflow gives the model one column only, and drops the others.

    Returns:
        The number of rows below the header; None if there is no header.

    Raises:
        MalformedText: it cannot be parsed, or its rows are not as wide as its header.
    """
    if "\0" in text:
        raise MalformedText(
            "cannot read the body as CSV: it contains NUL characters, at which pandas ends a value; "
            "remove them"
        )
    if _LOST.search(text):
        raise MalformedText(
            "cannot read the body as CSV: it has a lone carriage return or a line of only quoted "
            "spaces, which pandas and other programs split into different rows"
        )
    lines, header = csv_text.lines(text), list[str]()
    try:
        header = next((line for line in lines if not _is_blank(line)), header)
    except csv.Error as error:
        findings.add_form(_HEADER, str(error))
        return None
    columns = _columns(header, specs, rules, findings) if specs else {}
    if single and header:
        _count(len(header), 1, findings)
    if specs and not columns and not findings.fatal:
        # pandas would make no rows of it, and the caller would get no predictions.
        findings.add_form("at least one column of the signature", "none")
    rows = 0
    for block in _blocks(lines, len(header)):
        if set(map(len, block)) != {len(header)}:
            _refuse_width(text, len(header))
        values = list(zip(*block, strict=True)) if columns else []
        for place, column in columns.items():
            if not column.accepts(values[place]):
                faults = map(column.fault, values[place])
                row_of = rows.__add__
                findings.add_faults(header[place], faults, values[place], row_of, _describe_cell)
        rows += len(block)
    return rows


def _blocks(lines: Iterator[Row], width: int) -> Iterator[list[Row]]:
    """The rows below the header without the lines that pandas skips."""
    try:
        while block := list(islice(lines, _BLOCK)):
            if width == 1 or min(map(len, block)) < 2:
                block = [line for line in block if not _is_blank(line, width)]
            if block:
                yield block
    except csv.Error as error:
        raise MalformedText(f"cannot read the body as CSV: {error}") from None


def _is_blank(line: Row, width: int = 0) -> bool:
    """Whether pandas skips a line of a table with this many columns.

    In a single column the parser has lost whether spaces were quoted, and so are a value.
    """
    blank = csv_text.is_blank(line)
    if blank and line and width == 1:
        raise MalformedText(
            "cannot read the body as CSV: it has a line of only spaces, which pandas skips; remove the "
            "line"
        )
    return blank


def _refuse_width(text: str, width: int) -> None:
    """Raise for the row that is not as wide as the header: pandas makes an index of one more value."""
    lines = csv_text.lines(text)
    begin = 1
    for line in lines:
        if len(line) != width and not _is_blank(line, width):
            raise MalformedText(
                f"cannot read the body as CSV: line {begin} has {len(line)} values, but the header has "
                f"{width}"
            )
        begin = lines.line_num + 1


def _describe_cell(fault: Fault, cell: str) -> str:
    missing = fault.kind is ViolationKind.NULL and cell
    return f"{describe(cell)}, a missing value to pandas" if missing else describe(cell or None)


def _columns(
    header: Row, specs: Sequence[Mapping[str, Any]], rules: Sequence[Rule], findings: Findings
) -> dict[int, CellRule]:
    """The rules for the cells by their place in a row; violations of the header are collected."""
    if not header:
        findings.add_form(_HEADER, "none")
        return {}
    unreadable = [
        spec
        for spec in specs
        if spec["type"] in _HOPELESS
        or (spec["type"] in _UNREADABLE and spec.get("name", header[0]) in header)
    ]
    for spec in unreadable[:SHOWN]:
        expected = f"JSON: MLflow reads no {spec['type']} from CSV"
        findings.add_form(expected, "CSV", column=_text(spec.get("name")))
    if unreadable:
        return {}
    for name, count in Counter(header).items():
        if count > 1:
            findings.add_form("each column once", "it twice", column=name, tally="")
    if any(spec.get("name") is None for spec in specs):
        _count(len(header), len(specs), findings)
        places = dict(enumerate(range(len(specs))))
    else:
        _compare(header, specs, findings)
        places = {place: header.index(one) for place, spec in enumerate(specs)
                  if (one := spec["name"]) in header}  # fmt: skip
    made = {at: cell_rule(str(specs[place]["type"]), rules[place]) for place, at in places.items()}
    return {at: one for at, one in made.items() if one is not None and at < len(header)}


def _count(found: int, wanted: int, findings: Findings) -> None:
    if found < wanted:
        findings.add(ViolationKind.MISSING, _columns_of(wanted), str(found))
    if found > wanted:
        findings.add(ViolationKind.UNKNOWN, _columns_of(wanted), str(found), forgivable=True)


def _columns_of(count: int) -> str:
    return "1 column" if count == 1 else f"{count} columns"


def _compare(header: Row, specs: Sequence[Mapping[str, Any]], findings: Findings) -> None:
    known = [str(spec["name"]) for spec in specs]
    for spec in specs:
        name = spec["name"]
        if spec.get("required", True) and name not in header:
            expected = f"a column of type {spec['type']}"
            if type(name) is not str:
                expected = (
                    "JSON: a CSV header has only text, and the name of this column is a number"
                )
            findings.add(ViolationKind.MISSING, expected, "no such column", column=_text(name))
    expected = f"one of {clip(', '.join(known))}"
    findings.add_unknown(set(header) - set(known), lambda name: expected, "another column")


def _text(name: Any) -> str | None:
    return name if name is None else str(name)
