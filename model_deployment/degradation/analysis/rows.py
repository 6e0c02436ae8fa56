"""Findings about the rows of a table: how many, repeated ones, and those that are known already."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from model_deployment.degradation.analysis.table import Table
from model_deployment.degradation.findings import Finding, Severity
from model_deployment.degradation.statistics.drift import MIN_ROWS
from model_deployment.rendering.numbers import count, number, percent

#: Shares of repeated rows that are worth a line, and a warning.
_SOME, _MANY = 0.01, 0.2
#: Share of known rows from which on the new data hold little new.
_MOSTLY_KNOWN = 0.9


@dataclass(frozen=True, slots=True)
class RowCounts:
    new: int
    original: int
    #: Rows whose values are analysed.
    analysed_new: int
    analysed_original: int
    #: Share of rows that repeat another row (0 to 1).
    repeated_new: float
    repeated_original: float
    #: Share of the new rows that the original data have too; None if that cannot be compared.
    known: float | None


def row_counts(new: Table, original: Table) -> RowCounts:
    comparable = new is not original and new.form == original.form and new.names == original.names
    known = None
    if comparable and len(new.hashes):
        known = float(np.isin(new.hashes, original.hashes).mean())
    return RowCounts(
        new.rows,
        original.rows,
        len(new.frame),
        len(original.frame),
        _repeated(new),
        _repeated(original),
        known,
    )


def _repeated(table: Table) -> float:
    hashes = table.hashes
    return 1 - len(np.unique(hashes)) / len(hashes) if len(hashes) else 0.0


def findings(rows: RowCounts, least: int = MIN_ROWS) -> Iterable[Finding]:
    """Findings about the number and the repetition of rows.

    Args:
        least: rows that a training needs.
    """
    if not rows.new:
        yield Finding(Severity.ERROR, "no_rows", "The new data have no rows.", None, 9)
        return
    if rows.new < least:
        text = f"The new data have {count(rows.new, 'row')}; at least {least} are needed."
        yield Finding(Severity.ERROR, "few_rows", text, None, 9)
    if rows.known == 1 and rows.new >= rows.original:
        text = "Every row of the new data is in the original data too."
        yield Finding(Severity.WARNING, "same_data", text, None, 2)
    elif rows.known is not None and rows.known >= _MOSTLY_KNOWN and rows.new <= rows.original:
        text = f"{percent(rows.known)} of the new rows are in the original data too."
        yield Finding(Severity.WARNING, "few_new_rows", text, None, 2)
    if rows.repeated_new >= _SOME:
        rose = rows.repeated_new - rows.repeated_original
        severity = Severity.WARNING if rose >= _MANY else Severity.INFO
        text = (
            f"{percent(rows.repeated_new)} of the rows repeat another row; in the original data "
            f"{percent(rows.repeated_original)} do."
        )
        yield Finding(severity, "duplicates", text, None, rose)
    for what, whole, part in (
        ("new", rows.new, rows.analysed_new),
        ("original", rows.original, rows.analysed_original),
    ):
        if part < whole:
            text = (
                f"Of the {number(whole)} rows of the {what} data, a random sample of {number(part)} "
                "was analysed."
            )
            yield Finding(Severity.INFO, "sampled", text)
