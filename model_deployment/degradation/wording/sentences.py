"""Findings about drift, and about what a report could not decide, in sentences for people."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from model_deployment.degradation.column_results import TARGET, ColumnResult, PredictionResults
from model_deployment.degradation.comparison import ComparedMetric
from model_deployment.degradation.data.columns import NUMBER, ColumnPair
from model_deployment.degradation.findings import Finding, Severity, quoted
from model_deployment.degradation.job import ReportJob
from model_deployment.degradation.statistics.drift import MIN_ROWS
from model_deployment.degradation.verdict import Evidence
from model_deployment.rendering.numbers import number, percent

_BREAKS = frozenset({"column_missing", "column_empty", "column_constant", "missing_rose"})
#: Columns with a finding of their own; all columns are in the table.
_MAX_COLUMNS = 20


def broken_columns(findings: Iterable[Finding]) -> int:
    """The number of columns with a fault that is no sampling noise."""
    bad = (one for one in findings if one.severity == Severity.ERROR and one.code in _BREAKS)
    return len({one.column for one in bad})


def drift(features: Sequence[ColumnResult], evidence: Evidence) -> Iterable[Finding]:
    """Which columns have drifted, and how."""
    drifted = [one for one in features if one.drifted]
    share = evidence.share_drifted or 0
    many = share >= evidence.drift_share
    for one in drifted[:_MAX_COLUMNS]:
        severe = many or (one.drift is not None and one.drift.alarming)
        severity, code = (Severity.ERROR, "drift") if severe else (Severity.WARNING, "moved")
        text = f"Column {quoted(one.column.name)} has drifted: {difference(one.column)}"
        yield Finding(severity, code, text, one.column.name, one.rank / 1e4)
    if many and len(drifted) > 1:
        most = ", ".join(quoted(one.column.name) for one in drifted[:3])
        count = f"{len(drifted)} of {len(evidence.columns)} columns ({percent(share)})"
        text = f"{count} have drifted, most of all {most}."
        yield Finding(Severity.ERROR, "many_drifted", text, None, 5)


def difference(column: ColumnPair, reference: str = "the reference") -> str:
    """The largest difference between reference and current values.

    Args:
        reference: what the sentence calls the reference.
    """
    if column.kind != NUMBER:
        shares = [counts / counts.sum() for counts in column.counts]
        place = int(np.abs(shares[1] - shares[0]).argmax())
        name = quoted(column.categories[place])
        before_share, now_share = percent(shares[0][place]), percent(shares[1][place])
        return f"{name} was {before_share} of the values and is now {now_share}."
    before, now = column.reference.present, column.current.present
    means, spread = (float(before.mean()), float(now.mean())), float(before.std())
    steps = (means[1] - means[0]) / spread if spread else 0.0
    if not abs(steps) >= 0.1:
        wider = float(now.std()) > spread
        return f"its values vary {'more' if wider else 'less'} than in {reference}."
    return (
        f"its mean {'rose' if steps > 0 else 'fell'} from {number(means[0])} to {number(means[1])}, "
        f"by {abs(steps):.1f} standard deviations."
    )


def predictions(found: PredictionResults) -> Iterable[Finding]:
    """Whether the predictions have drifted, or why that is unknown."""
    of_target = found.against == TARGET
    for one in found.results:
        if not one.drifted or one.drift is None:
            continue
        if of_target:
            text = f"The predicted classes differ from the target: {difference(one.column)}"
            severity = Severity.ERROR if one.drift.alarming else Severity.WARNING
            yield Finding(severity, "classes_moved", text, None, 4)
        else:
            text = f"The predictions have drifted: {difference(one.column)}"
            yield Finding(Severity.ERROR, "prediction_drift", text, None, 4)
    if found.expected and found.against in (None, TARGET):
        text = "There are no earlier predictions yet to compare with"
        text += "; predicted classes were compared with the target instead." if of_target else "."
        yield Finding(Severity.INFO, "predictions_not_compared", text)


def target(found: ColumnResult | None) -> Iterable[Finding]:
    """Whether the labels have drifted from the target column of the reference."""
    if found and found.drifted:
        text = f"The labels have drifted: {difference(found.column)}"
        yield Finding(Severity.WARNING, "target_drift", text, None, 4)


@dataclass(frozen=True, slots=True)
class LabelCounts:
    known: int
    #: Labels whose prediction can be measured.
    measured: int
    #: Values that the model predicts for each row.
    outputs: int
    #: Labels left out because several requests have their id.
    ambiguous: int = 0


def limits(
    job: ReportJob, evidence: Evidence, metrics: Sequence[ComparedMetric], labels: LabelCounts
) -> Iterable[Finding]:
    """What could not be decided, and why."""
    yield from _limits_of_tables(job, evidence)
    if job.baseline_error is not None:
        why = quoted(job.baseline_error, 300)
        text = f"The metrics of the MLflow run could not be read: {why}."
        yield Finding(Severity.WARNING, "baseline_unreadable", text, None, 4)
    yield from _limits_of_labels(job, evidence, metrics, labels)
    if labels.ambiguous:
        text = (
            f"{labels.ambiguous:,} labels were left out: several requests have the same request id."
        )
        yield Finding(Severity.INFO, "ambiguous_labels", text, None, 3)


def _limits_of_tables(job: ReportJob, evidence: Evidence) -> Iterable[Finding]:
    reference_rows = evidence.reference_rows
    if reference_rows is None:
        text = "There is no reference data, so drift of the inputs cannot be tested."
        yield Finding(Severity.WARNING, "no_reference", text, None, 2)
    elif reference_rows < MIN_ROWS:
        text = f"The reference has {reference_rows} rows; at least {MIN_ROWS} are needed."
        yield Finding(Severity.WARNING, "small_reference", text, None, 2)
    elif not evidence.columns and not evidence.predictions and evidence.rows >= MIN_ROWS:
        text = "The reference and the captured requests have no column that can be compared."
        yield Finding(Severity.WARNING, "no_comparable_columns", text, None, 2)
    if reference_rows is not None and job.reference_source == "captured":
        text = "The reference is the first captured rows, not the training data."
        yield Finding(Severity.INFO, "captured_reference", text)
    if evidence.rows < MIN_ROWS:
        text = (
            f"{evidence.rows} rows were captured; at least {MIN_ROWS} are needed to test for drift."
        )
        yield Finding(Severity.WARNING, "few_rows", text, None, 3)


def _limits_of_labels(
    job: ReportJob, evidence: Evidence, metrics: Sequence[ComparedMetric], labels: LabelCounts
) -> Iterable[Finding]:
    left = labels.known - labels.measured
    if left and not labels.measured:
        why = _why_unmeasured(labels)
        text = f"{labels.known:,} labels are known, but no metric could be measured: {why}."
        yield Finding(Severity.WARNING, "not_measured", text, None, 4)
        return
    if left:
        text = f"{left:,} of {labels.known:,} labels belong to rows without a usable prediction."
        yield Finding(Severity.INFO, "unpaired", text, None, 3)
    if evidence.conclusive:
        return
    known = max((one.now.n for one in metrics if one.now), default=0)
    if known < MIN_ROWS:
        count = f"Only {known}" if known else "No"
        verb = "label is" if known == 1 else "labels are"
        text = f"{count} {verb} known; at least {MIN_ROWS} are needed to judge the model's metrics."
        yield Finding(Severity.INFO, "few_labels", text, None, 3)
    elif job.baseline_error is None:
        text = f"{known:,} labels are known, but the MLflow run has no metric to compare them with."
        yield Finding(Severity.INFO, "training_baseline", text, None, 3)


def _why_unmeasured(labels: LabelCounts) -> str:
    if labels.outputs == 0:
        return "the model does not answer with one value for each row"
    if labels.outputs == 1:
        return "the predictions of these rows are missing, or are of another type than the labels"
    return f"the model predicts {labels.outputs} values for each row, but a label is one value"
