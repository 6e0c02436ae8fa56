"""The columns of the two tables that are compared, side by side."""

from collections.abc import Collection, Sequence

from model_deployment.degradation import not_captured
from model_deployment.degradation.columns import (
    SKIPPED,
    Column,
    as_guessed,
    harmonise,
    types,
)
from model_deployment.degradation.job import Job
from model_deployment.degradation.tables import Table, renamed
from model_deployment.registry.values import INDEX

#: Types whose values all releases have read alike.
_ALIKE = frozenset({"integer", "long"})


def matched(reference: Table | None, current: Table, job: Job) -> tuple[Table | None, Table]:
    """Name the columns of an unnamed tensor as the reference does, if they are as many."""
    if reference is None or types(job.inputs):
        return reference, current
    theirs = [name for name in reference.features if name != job.target]
    ours = current.features
    if set(theirs) & set(ours) or len(theirs) != len(ours) or current.nested:
        return reference, current
    frame = current.frame.rename(columns=dict(zip(ours, theirs, strict=True)))
    return reference, Table(frame, current.rows, current.nested)


def columns(
    job: Job,
    reference: Table | None,
    current: Table,
    guessed: Collection[str] = (),
    *,
    two_digests: bool = False,
) -> list[Column]:
    """The inputs of the model: those of the signature, else what the two tables have.

    Args:
        guessed: columns of text that an earlier release captured as numbers where they looked like some.
        two_digests: some digests are of values as an earlier release read them.
    """
    new = renamed(job.input_names)
    known = {new[name]: type for name, type in types(job.inputs).items()}
    unknown = not current.frame.empty and current.seen.frame.empty
    reference, current = reference and reference.seen, current.seen
    found = []
    for name in list(known) or _found(job, reference, current):
        sides = [None if table is None else table.column(name) for table in (reference, current)]
        differ = two_digests and known.get(name) not in _ALIKE
        if why := not_captured.why_not(job, name, unknown, differ):
            found.append(Column(name, SKIPPED, known.get(name, "any"), skipped=why))
            continue
        if name in guessed:
            sides = [None if side is None else as_guessed(side) for side in sides]
        type = "string" if not_captured.hashed(job, name) else known.get(name)
        column = harmonise(name, sides[0], sides[1], type)
        nested = [
            table.nested[name] for table in (reference, current) if table and name in table.nested
        ]
        found.append(_nested(column, nested, reference, current) if nested else column)
    return found


def _nested(
    column: Column, types: Sequence[str], reference: Table | None, current: Table
) -> Column:
    """A column that was not read, since its values are no single ones."""
    return Column(
        column.name,
        SKIPPED,
        types[0],
        skipped="nested values are not compared",
        in_reference=column.in_reference
        or (reference is not None and column.name in reference.nested),
        in_current=column.in_current or column.name in current.nested,
    )


def _found(job: Job, reference: Table | None, current: Table) -> list[str]:
    ours = current.features
    theirs = [
        name
        for name in (reference.features if reference else ())
        if name != job.target and (name in ours or not INDEX.fullmatch(name))
    ]
    missing = set(theirs) - set(ours)
    captured = job.reference_source == "captured"
    if job.target is None and not captured and len(missing) <= len(set(theirs) - missing):
        # Training data without a signature: what nobody sends is what is to be predicted, or a name.
        theirs = [name for name in theirs if name not in missing]
    return list(dict.fromkeys([*theirs, *ours]))
