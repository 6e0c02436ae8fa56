"""Puts into words what was found about columns, predictions, and whether anything could be told."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model_deployment.degradation.columns import NUMBER, Column
from model_deployment.degradation.comparison import Compared
from model_deployment.degradation.drift import FEWEST
from model_deployment.degradation.findings import Finding, Severity, quoted
from model_deployment.degradation.job import Job
from model_deployment.degradation.verdict import Evidence
from model_deployment.rendering.numbers import number, percent

if TYPE_CHECKING:
    from model_deployment.degradation.engine import Answers, Outcome

_BREAKS = frozenset({"column_missing", "column_empty", "column_constant", "missing_rose"})
#: Columns told one by one; all of them are in the table.
_TOLD = 20


def broken(findings: Iterable[Finding]) -> int:
    """Columns that something happened to that chance does not do."""
    bad = (one for one in findings if one.severity == Severity.ERROR and one.code in _BREAKS)
    return len({one.column for one in bad})


def drift(features: "Sequence[Outcome]", evidence: Evidence) -> list[Finding]:
    """Which columns have moved, and how."""
    moved = [one for one in features if one.tested and one.tested.drifted]
    found = [_moved(one, evidence) for one in moved[:_TOLD]]
    share = evidence.share_drifted or 0
    if len(moved) > 1 and share >= evidence.drift_share:
        furthest = ", ".join(quoted(one.column.name) for one in moved[:3])
        text = (
            f"{len(moved)} of {len(evidence.columns)} columns ({percent(share)}) have moved, "
            f"the furthest {furthest}."
        )
        found.append(Finding(Severity.ERROR, "many_drifted", text, None, 5))
    return found


def _moved(outcome: "Outcome", evidence: Evidence) -> Finding:
    tested = outcome.tested
    many = (evidence.share_drifted or 0) >= evidence.drift_share
    severe = tested is not None and (tested.alarming or many)
    weight = outcome.badness / 1e4
    text = f"Column {quoted(outcome.column.name)} has moved: {how(outcome.column)}"
    severity, code = (Severity.ERROR, "drift") if severe else (Severity.WARNING, "moved")
    return Finding(severity, code, text, outcome.column.name, weight)


def how(column: Column) -> str:
    """The largest difference of the two sides in words."""
    before, now = column.reference.present, column.current.present
    if column.kind != NUMBER:
        size = len(column.categories)
        shares = [np.bincount(side, minlength=size) / len(side) for side in (before, now)]
        place = int(np.abs(shares[1] - shares[0]).argmax())
        name = quoted(column.categories[place])
        return f"{name} was {percent(shares[0][place])} of the values and is {percent(shares[1][place])}."
    means, spread = (float(before.mean()), float(now.mean())), float(before.std())
    steps = (means[1] - means[0]) / spread if spread else 0.0
    if not abs(steps) >= 0.1:
        wider = float(now.std()) > spread
        return f"its values spread {'wider' if wider else 'less'} than in the reference."
    side = "above" if steps > 0 else "below"
    return (
        f"its mean was {number(means[0])} and is {number(means[1])}, "
        f"{abs(steps):.1f} standard deviations {side}."
    )


def outputs(answers: "Answers", target: "Outcome | None") -> list[Finding]:
    """What the model answers, and what the truth is, beside what they were."""
    found = []
    of_target = answers.against == "target"
    for one in answers.outcomes:
        if one.tested and one.tested.drifted and not of_target:
            text = f"The prediction has moved: {how(one.column)}"
            found.append(Finding(Severity.ERROR, "prediction_drift", text, None, 4))
        elif one.tested and one.tested.drifted:
            text = (
                f"Classes are predicted otherwise than they were in the target: {how(one.column)}"
            )
            severe = Severity.ERROR if one.tested.alarming else Severity.WARNING
            found.append(Finding(severe, "classes_moved", text, None, 4))
    if answers.wanted and answers.against in (None, "target"):
        text = "Predictions could not be compared yet: no earlier ones are known"
        text += ", only the classes of the target." if of_target else "."
        found.append(Finding(Severity.INFO, "predictions_not_compared", text))
    if target and target.tested and target.tested.drifted:
        text = f"The truth has moved: {how(target.column)}"
        found.append(Finding(Severity.WARNING, "target_drift", text, None, 4))
    return found


def surroundings(
    job: Job, evidence: Evidence, metrics: Sequence[Compared], truth: "Truth"
) -> list[Finding]:
    """What could not be told, and why."""
    return [
        *_tables(job, evidence),
        *_baseline(job),
        *_labels(job, evidence, metrics, truth),
    ]


def ambiguous(labels: int) -> list[Finding]:
    """Labels that nobody knows the row of."""
    if not labels:
        return []
    text = f"{labels:,} true values were left out: their request id is that of several requests."
    return [Finding(Severity.INFO, "ambiguous_labels", text, None, 3)]


def _baseline(job: Job) -> Iterable[Finding]:
    if job.baseline_error is None:
        return
    why = quoted(job.baseline_error, 300)
    text = f"The metrics of the run could not be read: {why}."
    yield Finding(Severity.WARNING, "baseline_unreadable", text, None, 4)


def _tables(job: Job, evidence: Evidence) -> Iterable[Finding]:
    if evidence.reference_rows is None:
        text = "There is no reference data, so inputs cannot be compared with anything."
        yield Finding(Severity.WARNING, "no_reference", text, None, 2)
    elif evidence.reference_rows < FEWEST:
        text = f"The reference has {evidence.reference_rows} rows; {FEWEST} are needed."
        yield Finding(Severity.WARNING, "small_reference", text, None, 2)
    elif not evidence.columns and not evidence.predictions and evidence.rows >= FEWEST:
        text = "No column of the reference can be compared with what was captured."
        yield Finding(Severity.WARNING, "no_comparable_columns", text, None, 2)
    if evidence.reference_rows is not None and job.reference_source == "captured":
        text = "The reference is the first rows that were captured, not the training data."
        yield Finding(Severity.INFO, "captured_reference", text)
    if evidence.rows < FEWEST:
        text = f"{evidence.rows} rows were captured; {FEWEST} are needed to tell anything."
        yield Finding(Severity.WARNING, "few_rows", text, None, 3)


@dataclass(frozen=True, slots=True)
class Truth:
    """Rows whose truth is known, and what became of them."""

    known: int
    #: Of these, rows with a prediction to measure.
    measured: int
    #: What the model answers for each row.
    outputs: Sequence[str]


def _why(truth: Truth) -> str:
    """Why nothing is measured."""
    match len(truth.outputs):
        case 0:
            return "the model's answers have no value for each row"
        case 1:
            return (
                "the predictions of their rows are missing, or nothing that a label can be held to"
            )
        case many:
            return f"the model answers with {many} values for each row, and a label is one"


def _labels(
    job: Job, evidence: Evidence, metrics: Sequence[Compared], truth: Truth
) -> Iterable[Finding]:
    left = truth.known - truth.measured
    if left and not truth.measured:
        text = f"{truth.known:,} true values are known, but nothing is measured with them: {_why(truth)}."
        yield Finding(Severity.WARNING, "not_measured", text, None, 4)
        return
    if left:
        text = f"{left:,} of {truth.known:,} true values have no prediction that can be measured."
        yield Finding(Severity.INFO, "unpaired", text, None, 3)
    if evidence.told:
        return
    known = max((one.now.n for one in metrics if one.now), default=0)
    if known >= FEWEST and job.baseline_error is not None:
        return
    if known >= FEWEST:
        text = f"{known:,} true values are known, but no metric of the run to compare them with."
        code = "training_baseline"
    else:
        count = "No" if not known else f"Only {known}"
        text = (
            f"{count} true values are known; {FEWEST} are needed to say whether the model is right."
        )
        code = "few_labels"
    yield Finding(Severity.INFO, code, text, None, 3)
