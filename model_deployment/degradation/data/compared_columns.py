"""The pairs of columns that are compared: each input of the model in the reference and now."""

from model_deployment.degradation.data.collect import Collected
from model_deployment.degradation.data.columns import (
    SKIPPED,
    ColumnPair,
    as_guessed,
    harmonise,
    types,
)
from model_deployment.degradation.data.not_captured import hashed, reason_not_captured
from model_deployment.degradation.data.tables import SampledTable, renamed
from model_deployment.degradation.job import ReportJob
from model_deployment.registry.values import INDEX

#: Types whose values all releases have read alike.
_ALIKE = frozenset({"integer", "long"})


def with_reference_names(
    current: SampledTable, reference: SampledTable | None, job: ReportJob
) -> SampledTable:
    """Name the columns of an unnamed tensor as in a reference with as many columns."""
    if reference is None or types(job.inputs):
        return current
    theirs = [name for name in reference.features if name != job.target]
    ours = current.features
    if set(theirs) & set(ours) or len(theirs) != len(ours) or current.nested:
        return current
    frame = current.frame.rename(columns=dict(zip(ours, theirs, strict=True)))
    return SampledTable(frame, current.rows, current.nested)


def input_columns(
    job: ReportJob, reference: SampledTable | None, current: SampledTable, collected: Collected
) -> list[ColumnPair]:
    """The inputs of the model: the columns of the signature, else the columns of the two tables."""
    new = renamed(str(one["name"]) for one in job.inputs if one.get("name") is not None)
    known = {new[name]: type for name, type in types(job.inputs).items()}
    unknown = not current.frame.empty and current.seen.frame.empty
    reference, current = reference and reference.seen, current.seen
    pairs = []
    for name in list(known) or _names(job, reference, current):
        sides = [None if table is None else table.column(name) for table in (reference, current)]
        differ = collected.two_digests and known.get(name) not in _ALIKE
        if reason := reason_not_captured(job, name, unknown, differ):
            pairs.append(ColumnPair(name, SKIPPED, known.get(name, "any"), skipped=reason))
            continue
        if name in collected.guessed:
            sides = [None if side is None else as_guessed(side) for side in sides]
        type = "string" if hashed(job, name) else known.get(name)
        there, now = (table is not None and name in table.nested for table in (reference, current))
        if there or now:
            table = reference if reference and there else current
            pairs.append(
                ColumnPair(
                    name,
                    SKIPPED,
                    table.nested[name],
                    skipped="nested values are not compared",
                    in_reference=there or sides[0] is not None,
                    in_current=now or sides[1] is not None,
                )
            )
        else:
            pairs.append(harmonise(name, sides[0], sides[1], type))
    return pairs


def _names(job: ReportJob, reference: SampledTable | None, current: SampledTable) -> list[str]:
    ours = current.features
    theirs = [
        name
        for name in (reference.features if reference else ())
        if name != job.target and (name in ours or not INDEX.fullmatch(name))
    ]
    missing = set(theirs) - set(ours)
    captured = job.reference_source == "captured"
    if job.target is None and not captured and len(missing) <= len(set(theirs) - missing):
        # Training data without a signature: a column that no caller sends is the target or an id.
        theirs = [name for name in theirs if name not in missing]
    return list(dict.fromkeys([*theirs, *ours]))
