"""Decides the verdict of a report.

Pure. The thresholds of single columns are in ``statistics.drift``, those of metrics in ``metric_verdict``.
``benchmarks/verdicts.py`` measures how often the verdict is right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from model_deployment.degradation.metric_verdict import MetricVerdict
from model_deployment.degradation.statistics.drift import MIN_ROWS, DriftScore
from model_deployment.degradation.wording.verdict_words import Verdict

#: Share of refused requests from which on the callers must have changed.
_MANY_REFUSED = 0.1


@dataclass(frozen=True, slots=True)
class Evidence:
    rows: int
    #: None without a reference.
    reference_rows: int | None
    columns: Sequence[DriftScore] = ()
    #: Each tested output of the model beside its earlier values.
    predictions: Sequence[DriftScore] = ()
    #: Predicted classes beside the classes of the target, where no earlier predictions are known.
    classes: Sequence[DriftScore] = ()
    #: The number of columns that are missing, empty or constant, or miss far more values.
    broken: int = 0
    metrics: Sequence[MetricVerdict] = ()
    #: Labels are known, but the baseline of their metrics could not be read.
    baseline_unread: bool = False
    requests: int = 0
    #: Requests refused for their content. The model never saw them, so they do not count.
    refused: int = 0
    drift_share: float = 0.5

    @property
    def comparable(self) -> bool:
        """Whether there is enough to decide about drift."""
        enough = self.reference_rows is not None and min(self.rows, self.reference_rows) >= MIN_ROWS
        return enough and bool(self.columns or self.predictions or self.classes or self.broken)

    @property
    def conclusive(self) -> bool:
        """Whether a metric of this window could be judged."""
        return any(metric.conclusive for metric in self.metrics)

    @property
    def share_drifted(self) -> float | None:
        """Share of the tested columns (0 to 1); None if no column was tested."""
        if not self.columns:
            return None
        return sum(column.drifted for column in self.columns) / len(self.columns)


def decide(evidence: Evidence) -> Verdict:
    """The verdict of the first line that holds:

    =====================================================================  =================
    a labelled metric has degraded                                         degraded
    inputs or predictions can be compared and have drifted, or a column
    is broken                                                              drift
    a labelled metric is worse, but in this window only                    insufficient_data
    labels are known, but the metrics of the run could not be read and
    there is no other baseline                                             insufficient_data
    nothing was captured, and no metric that was set can be judged         insufficient_data
    inputs can be compared, or a labelled metric can be judged             ok
    no reference, and no labelled metric with a baseline                   no_reference
    anything else: too few rows, labels, or columns that can be compared   insufficient_data
    =====================================================================  =================

    ``ok`` needs evidence that could have led to another verdict.
    """
    if any(metric.degraded for metric in evidence.metrics):
        return Verdict.DEGRADED
    if evidence.comparable and drifted(evidence):
        return Verdict.DRIFT
    if any(metric.worse for metric in evidence.metrics):
        return Verdict.INSUFFICIENT_DATA
    if not evidence.conclusive and (evidence.baseline_unread or not evidence.rows):
        return Verdict.INSUFFICIENT_DATA
    if evidence.comparable or evidence.conclusive:
        return Verdict.OK
    # A metric with a baseline has a change, even if it has too few labels to be judged.
    if evidence.reference_rows is None and all(one.change is None for one in evidence.metrics):
        return Verdict.NO_REFERENCE
    return Verdict.INSUFFICIENT_DATA


def drifted(evidence: Evidence) -> bool:
    """Whether the inputs or the predictions as a whole have drifted.

    A threshold on the share of drifted columns alone would miss a few columns that drift far, and one
    slightly drifted column is no reason for an alarm. So the rule is: many columns at the ordinary
    level, or one column at the strict level that moved by about half a standard deviation.
    A model predicts rare classes less often than its target has them even without drift, so predicted
    classes need the strict level too. Without drift, each part is wrong in at most 1 % of the reports
    (0.1 % at the strict level), since p-values are adjusted for the number of tests.
    """
    share = evidence.share_drifted
    return (
        bool(share and share >= evidence.drift_share)
        or any(column.alarming for column in evidence.columns)
        or any(output.drifted for output in evidence.predictions)
        or any(output.alarming for output in evidence.classes)
        or evidence.broken > 0
    )


def many_refused(evidence: Evidence) -> bool:
    """Whether so many requests were refused that callers must have changed: a tenth of 30 or more.

    The report says so beside the verdict, since the model never saw these requests.
    """
    return evidence.requests >= MIN_ROWS and evidence.refused >= _MANY_REFUSED * evidence.requests
