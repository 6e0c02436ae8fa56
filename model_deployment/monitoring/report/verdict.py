"""The decision: what a report says in one word, and when a metric counts as worse.

Pure, and the only place where thresholds of the verdict are. ``benchmarks/verdicts.py`` measures how
often it is right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import hypot

from model_deployment.monitoring.report.drift import FEWEST, Score
from model_deployment.monitoring.report.job import Tolerance
from model_deployment.monitoring.report.metrics import Measured, approximate_error
from model_deployment.monitoring.report.names import HIGHER, UNSTEADY, Baseline

#: Chance, after correction over all columns, below which a column has drifted.
LEVEL = 0.01
#: The same for a column that raises the alarm alone.
STRICT = 0.001
#: Standard errors in one of two windows running.
NOISE = 2.0
#: Standard errors in a window that decides alone: as unlikely as two in two windows (0.023 squared).
NOISE_ALONE = 3.3
#: Labels for a window to decide alone.
ALONE = 200
#: Rows a baseline is taken to be measured on, where nobody knows.
_BASELINE_ROWS = 100
#: Violations by request that count as a change of the inputs.
_VIOLATIONS = 0.1


class Verdict(StrEnum):
    """A report in one word, the worst first."""

    ERROR = "error"
    DEGRADED = "degraded"
    DRIFT = "drift"
    INSUFFICIENT_DATA = "insufficient_data"
    NO_REFERENCE = "no_reference"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Judged:
    """A metric of this window beside its baseline."""

    #: Positive is better or worse by ``direction``; None if there is nothing to compare.
    change: float | None = None
    #: Whether it could be told at all.
    told: bool = False
    worse: bool = False
    degraded: bool = False


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
    violations: int = 0
    requests: int = 0
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
    broke, or the gate found violations in a tenth of 30 or more requests  drift
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
    if (evidence.comparable and drifted(evidence)) or refused(evidence):
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


def refused(evidence: Evidence) -> bool:
    """Whether so many requests were wrong that callers must have changed."""
    return evidence.requests >= FEWEST and (evidence.violations >= _VIOLATIONS * evidence.requests)


def judge(
    name: str,
    direction: str | None,
    baseline: Baseline | None,
    now: Measured | None,
    halves: Sequence[float],
    worse_before: int,
    tolerance: Tolerance,
) -> Judged:
    """Whether a metric is worse than its baseline, and whether that is a degradation.

    *Worse*: by more than the tolerance, on at least 30 labels, and by more than chance explains:
    ``loss > sqrt((2 se_now)^2 + (2 se_baseline)^2)``. The baseline has an error of its own, and one
    that no number of windows makes smaller: a lucky test set makes every later window look bad. Where
    nobody knows how many rows it had they are taken to be 100, a small test set.

    *Degraded*: worse in two windows running. Or in one window of 200 labels or more that is like two:
    by more than 3.3 instead of 2 of its standard errors, which is as unlikely as two windows of 2,
    and each half of it (by time) by more than the tolerance, so that a burst, which is in one half
    only, does not count.

    Args:
        halves: the metric in the earlier and in the later half of the rows.
        worse_before: windows right before this one in which this metric was worse.
    """
    if baseline is None or now is None:
        return Judged()
    sign = 1 if direction == HIGHER else -1
    change = now.value - baseline.value
    if direction is None or not baseline.fair or name in UNSTEADY:
        return Judged(change)
    if now.standard_error is None or now.n < FEWEST:
        return Judged(change)
    allowed = tolerance.around(baseline.value)
    loss = -sign * change
    rows = baseline.n or _BASELINE_ROWS
    uncertain = NOISE * (approximate_error(name, baseline.value, rows) or 0.0)
    worse = loss > allowed and loss > hypot(NOISE * now.standard_error, uncertain)
    lasting = len(halves) == 2 and all(-sign * (half - baseline.value) > allowed for half in halves)
    alone = now.n >= ALONE and loss > hypot(NOISE_ALONE * now.standard_error, uncertain)
    degraded = worse and (worse_before >= 1 or (alone and lasting))
    return Judged(change, True, worse, degraded)
