"""Pairs the columns of two tables, and finds columns that are gone, new, or hold something else now."""

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from model_deployment.degradation.analysis.cells import (
    NESTED,
    NOTHING,
    NUMBERS,
    TEXTS,
    TRUTHS,
    TYPES,
    Cells,
    is_binary,
    read_cells,
    unreadable,
)
from model_deployment.degradation.analysis.table import Table
from model_deployment.degradation.data.columns import SKIPPED, ColumnPair, harmonise
from model_deployment.degradation.findings import Finding, Severity, quoted
from model_deployment.rendering.numbers import number, percent

#: What findings call the reference.
ORIGINAL = "the original data"
#: Pairs of what a column held and holds that a training reads alike.
_ALIKE = frozenset({(TRUTHS, TEXTS), (TEXTS, TRUTHS)})
#: Names that a finding lists.
_MAX_NAMED = 5
#: Missing columns for which a similar name is looked for.
_MAX_SIMILAR = 50


@dataclass(frozen=True, slots=True)
class Compared:
    """One column in both tables."""

    pair: ColumnPair
    #: None if the new data lack the column.
    new: Cells | None
    #: None if the original data lack it.
    original: Cells | None
    findings: list[Finding] = field(default_factory=list)


def compare(
    name: str, new: Table, original: Table, missing_values: Collection[str], type: str | None = None
) -> Compared:
    """Harmonise one column of two tables.

    Args:
        name: of a column that at least one table has.
        type: MLflow's type by which values are compared; None to find it in the original data.
    """
    cells = [
        read_cells(table.frame[name], missing_values) if name in table.frame.columns else None
        for table in (new, original)
    ]
    now, before = cells
    if name in new.nested or name in original.nested:
        return Compared(
            _not_compared(name, new, original, "nested values are not compared"), now, before
        )
    if now is None or before is None:
        known = now or before
        why = f"the {'original' if before is None else 'new'} data do not have this column"
        pair = _not_compared(name, new, original, why, known.holds if known else NESTED)
        return Compared(pair, now, before)
    found = _type_findings(name, now, before)
    if any(one.severity is Severity.ERROR and one.code == "type_changed" for one in found):
        pair = _not_compared(name, new, original, "the column holds something else now", now.holds)
        return Compared(pair, now, before, found)
    holds = before.holds if before.holds != NOTHING else now.holds
    if {now.holds, before.holds} == {TRUTHS, NUMBERS}:
        holds = TRUTHS
    pair = harmonise(name, before.values, now.values, type or TYPES.get(holds))
    return Compared(pair, now, before, found)


def _not_compared(
    name: str, new: Table, original: Table, why: str, holds: str = NESTED
) -> ColumnPair:
    return ColumnPair(
        name,
        SKIPPED,
        holds,
        skipped=why,
        in_reference=name in original.names,
        in_current=name in new.names,
    )


def _type_findings(name: str, now: Cells, before: Cells) -> list[Finding]:
    held, holds = before.holds, now.holds
    if held == holds or NOTHING in (held, holds) or (held, holds) in _ALIKE:
        return []
    if {held, holds} == {TRUTHS, NUMBERS} and is_binary(before) and is_binary(now):
        return []
    if held == NUMBERS and holds == TEXTS:
        return [_not_numbers(name, now)]
    text = f"Column {quoted(name)} held {held} and now holds {holds}, such as {_example(now)}."
    # Texts that are numbers now may be the same categories.
    severity = Severity.WARNING if (held, holds) == (TEXTS, NUMBERS) else Severity.ERROR
    return [Finding(severity, "type_changed", text, name, 3)]


def _not_numbers(name: str, now: Cells) -> Finding:
    """One text is enough to make a training read the whole column as text."""
    wrong = unreadable(now)
    share = len(wrong) / max(len(now.values) - now.missing, 1)
    shown = ", ".join(quoted(str(one), 30) for one in wrong.drop_duplicates().head(_MAX_NAMED))
    if share >= 0.5:
        text = f"Column {quoted(name)} held numbers and now holds texts, such as {shown}."
        return Finding(Severity.ERROR, "type_changed", text, name, 3)
    few = f"{number(len(wrong))} of the values of {quoted(name)} ({percent(share)})"
    text = f"{few} are not numbers: {shown}."
    return Finding(Severity.ERROR, "not_numbers", text, name, 2 + share)


def _example(cells: Cells) -> str:
    return quoted(str(cells.values.dropna().iloc[0]), 30)


def presence(new: Table, original: Table, target: str, needed: str | None) -> Iterable[Finding]:
    """Columns that are gone or new. Target and column of times have findings of their own."""
    own = {target, needed}
    gone = [one for one in original.names if one not in new.names and one not in own]
    added = [one for one in new.names if one not in original.names and one not in own]
    for name in gone[:_MAX_SIMILAR]:
        similar = difflib.get_close_matches(
            name.lower(), [one.lower() for one in added[:_MAX_SIMILAR]], 1, 0.8
        )
        text = f"Column {quoted(name)} of the original data is not in the new data"
        if similar:
            same = next(one for one in added if one.lower() == similar[0])
            text += f"; the new column {quoted(same)} has a similar name"
        yield Finding(Severity.ERROR, "column_gone", f"{text}.", name, 4)
    if len(gone) > _MAX_SIMILAR:
        rest = f"{number(len(gone) - _MAX_SIMILAR)} more columns of the original data are gone."
        yield Finding(Severity.ERROR, "column_gone", rest, None, 4)
    if added:
        shown = ", ".join(quoted(one) for one in added[:_MAX_NAMED])
        more = f" and {number(len(added) - _MAX_NAMED)} more" if len(added) > _MAX_NAMED else ""
        text = f"New columns that the original data do not have: {shown}{more}."
        only = added[0] if len(added) == 1 else None
        yield Finding(Severity.INFO, "column_new", text, only, 1)
