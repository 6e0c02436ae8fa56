"""The header of a CSV body against a signature of columns; the rows are pandas' to read."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from model_deployment.gate.nested import COMPLEX
from model_deployment.gate.verdict import SHOWN, Findings, Kind, clip

#: With a column of one of these MLflow reads no CSV at all.
_HOPELESS = COMPLEX | {"any", "tensor"}
#: Columns of these may be in the signature, as long as they are not in the CSV: pandas refuses the
#: one, and MLflow leaves the other in base64.
_UNREADABLE = _HOPELESS | {"datetime", "binary"}


def check_header(line: str, specs: Sequence[Mapping[str, Any]], findings: Findings) -> None:
    """Compare the first line of a body with the columns of a signature."""
    names = _names(line, findings)
    if names is None:
        return
    unreadable = [
        spec
        for spec in specs
        if spec["type"] in _HOPELESS
        or (spec["type"] in _UNREADABLE and spec.get("name", names[0]) in names)
    ]
    for spec in unreadable[:SHOWN]:
        expected = f"JSON: MLflow reads no {spec['type']} from CSV"
        findings.add(Kind.FORM, expected, "CSV", column=spec.get("name"))
    if unreadable:
        return
    for name, count in Counter(names).items():
        if count > 1:
            findings.add(Kind.FORM, "each column once", "it twice", column=name, tally="")
    if any(spec.get("name") is None for spec in specs):
        _count(len(names), len(specs), findings)
    else:
        _compare(names, specs, findings)


def _count(found: int, wanted: int, findings: Findings) -> None:
    if found < wanted:
        findings.add(Kind.MISSING, f"{wanted} columns", str(found))
    if found > wanted:
        findings.add(Kind.UNKNOWN, f"{wanted} columns", str(found), forgivable=True)


def _compare(names: list[str], specs: Sequence[Mapping[str, Any]], findings: Findings) -> None:
    known = [str(spec["name"]) for spec in specs]
    for spec in specs:
        if spec.get("required", True) and spec["name"] not in names:
            expected = f"a column of type {spec['type']}"
            findings.add(Kind.MISSING, expected, "no such column", column=spec["name"])
    strangers = sorted(set(names) - set(known))
    for name in strangers[:SHOWN]:
        expected = f"one of {clip(', '.join(known))}"
        findings.add(
            Kind.UNKNOWN, expected, "another column", column=name, tally="", forgivable=True
        )
    findings.add_unseen(Kind.UNKNOWN, len(strangers) - SHOWN, forgivable=True)


def _names(line: str, findings: Findings) -> list[str] | None:
    try:
        rows = list(csv.reader([line.removeprefix("\ufeff")], strict=True))
    except csv.Error:
        rows = []
    if rows and rows[0]:
        return rows[0]
    findings.add(
        Kind.FORM, "CSV: a line of column names", "none" if not line.strip() else "another"
    )
    return None
