"""The decision: what a report says in one word.

Pure. Thresholds of inputs and predictions are here, those of labelled metrics in ``judge``.
``benchmarks/verdicts.py`` measures how often it is right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from model_deployment.degradation.drift import FEWEST, Score
from model_deployment.degradation.metric_verdict import Judged
from model_deployment.degradation.verdict_words import Verdict

#: Chance, after correction over all columns, below which a column has drifted.
LEVEL = 0.01
#: The same for a column that raises the alarm alone.
STRICT = 0.001
#: Share of the requests that were refused, from which on callers must have changed.
_REFUSED = 0.1


@dataclass(frozen=True, slots=True)
class Tested:
    """A column that was tested, with its chance after correction."""

    score: Score
    adjusted: float

    @property
    def drifted(self) -> bool:
        """Not by chance, and by so much that it is worth a look."""
        return self.adjusted < LEVEL and self.score.notable

    @property
    def alarming(self) -> bool:
        """Worth an alarm though no other column moved."""
        return self.adjusted < STRICT and self.score.large


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known when the verdict is made."""

    rows: int
    #: None without a reference.
    reference_rows: int | None
    columns: Sequence[Tested] = ()
    #: Each output of the model that was tested.
    predictions: Sequence[Tested] = ()
    #: The classes that it says beside those of the target, where no earlier predictions are known.
    classes: Sequence[Tested] = ()
    #: Columns that broke: gone, empty, stuck.
    broken: int = 0
    metrics: Sequence[Judged] = ()
    #: Truth is known, but the baseline of its metrics could not be read.
    baseline_unread: bool = False
    requests: int = 0
    #: Of these, refused for what they are. The model never saw them, so they are no part of the verdict.
    refused: int = 0
    drift_share: float = 0.5

    @property
    def comparable(self) -> bool:
        """Whether inputs can be told to have moved, or not to have."""
        enough = self.reference_rows is not None and min(self.rows, self.reference_rows) >= FEWEST
        return enough and bool(self.columns or self.predictions or self.classes or self.broken)

    @property
    def told(self) -> bool:
        """Whether a metric of this window was held to its baseline."""
        return any(metric.told for metric in self.metrics)

    @property
    def share_drifted(self) -> float | None:
        """Of the columns that were tested."""
        if not self.columns:
            return None
        return sum(column.drifted for column in self.columns) / len(self.columns)


def decide(evidence: Evidence) -> Verdict:
    """The first line that holds:

    =====================================================================  =================
    a labelled metric has degraded                                         degraded
    inputs or predictions can be compared and have drifted, or a column
    broke                                                                  drift
    a labelled metric is worse, but in this window only                    insufficient_data
    labels are known, but the metrics of the run could not be read and
    nothing else is known to hold them to                                  insufficient_data
    nothing was captured, and no metric that was set can be judged         insufficient_data
    inputs can be compared, or a labelled metric with its baseline         ok
    no reference, and no labelled metric with a baseline                   no_reference
    anything else: too few rows, labels, or columns that can be compared   insufficient_data
    =====================================================================  =================

    ``ok`` needs something that could have said otherwise. A metric that is worse once is no ``ok``.
    """
    if any(metric.degraded for metric in evidence.metrics):
        return Verdict.DEGRADED
    if evidence.comparable and drifted(evidence):
        return Verdict.DRIFT
    if any(metric.worse for metric in evidence.metrics):
        return Verdict.INSUFFICIENT_DATA
    if not evidence.told and (evidence.baseline_unread or not evidence.rows):
        return Verdict.INSUFFICIENT_DATA
    if evidence.comparable or evidence.told:
        return Verdict.OK
    # A change is only known where there is a baseline, be it of too few labels to tell.
    if evidence.reference_rows is None and all(one.change is None for one in evidence.metrics):
        return Verdict.NO_REFERENCE
    return Verdict.INSUFFICIENT_DATA


def drifted(evidence: Evidence) -> bool:
    """Whether the inputs or the predictions as a whole have.

    A share of the columns alone would miss a few that moved far; any column at an ordinary level
    would cry for trifles. So: many at the ordinary level, or one at the strict level that moved by
    about half a standard deviation. The classes that a model says are not quite those of its target
    even when nothing moved (rare ones are said less often), so they too raise the alarm only by much.
    With nothing moved, each of the three parts is wrong in at most
    1 % (0.1 % for the strict one) of the reports, since the chances are corrected for their number.
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
    """Whether so many requests were wrong that callers must have changed: a tenth of 30 or more.

    That is told beside the verdict: the model never saw these requests, so its data have not moved.
    """
    return evidence.requests >= FEWEST and evidence.refused >= _REFUSED * evidence.requests
