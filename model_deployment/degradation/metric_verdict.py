"""Decides whether a metric is worse than its baseline, for reports, the API and the dashboard.

Pure, standard library only. All thresholds of metrics are here.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import hypot

from model_deployment.core.metric_names import (
    HIGHER,
    UNSTABLE,
    Baseline,
    baselines,
    direction,
)
from model_deployment.degradation.wording.verdict_words import Verdict

#: A metric measured on fewer labels is not judged.
MIN_LABELS = 30
#: Standard errors that a metric must be worse by in each of two consecutive windows.
STANDARD_ERRORS = 2.0
#: The same for a window that decides alone: as unlikely as two in two windows (0.023 squared).
STANDARD_ERRORS_ALONE = 3.3
#: Labels that a window needs to decide alone.
MIN_LABELS_ALONE = 200
#: Relative changes up to this size are rounding: a model that fits exactly is off by some 1e-15.
ROUNDING = 1e-12
#: Rows that a baseline is assumed to be measured on if their number is unknown.
_BASELINE_ROWS = 100
#: The source of metrics that a caller set; those of ``feedback`` were measured on labels of any age.
SET = "set"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How much worse a metric may become: a share of the baseline, or a difference."""

    relative: float = 0.1
    absolute: float = 0.0

    def allowed_change(self, baseline: float) -> float:
        return max(self.relative * abs(baseline), self.absolute, ROUNDING)


DEFAULT = Tolerance()


@dataclass(frozen=True, slots=True)
class Measurement:
    """The value of a metric on ``n`` rows."""

    value: float
    n: int
    #: None if it is unknown.
    standard_error: float | None


@dataclass(frozen=True, slots=True)
class RecordedMetrics:
    """Metrics of an earlier window."""

    ts: datetime | None
    metrics: Mapping[str, float]
    n: int | None
    #: :data:`SET` or ``feedback``.
    source: str = SET
    window: str | None = None

    def measurements(self) -> dict[str, Measurement]:
        """By normalised name, with approximate standard errors."""
        rows = self.n or 0
        return {
            name: Measurement(value, rows, approximate_error(name, value, rows))
            for name, value in by_normalised_name(self.metrics).items()
        }

    def repeats(self, other: "RecordedMetrics") -> bool:
        """Whether both are the same metrics of the same rows, sent twice."""
        mine, theirs = (self.metrics, self.n, self.window), (other.metrics, other.n, other.window)
        return mine == theirs


@dataclass(frozen=True, slots=True)
class MetricVerdict:
    """The judgement on a metric beside its baseline."""

    #: Value minus baseline; None if there is nothing to compare.
    change: float | None = None
    #: Whether the metric could be judged.
    conclusive: bool = False
    worse: bool = False
    degraded: bool = False
    #: Whether more rows would make the judgement conclusive.
    too_few_rows: bool = False

    @property
    def verdict(self) -> Verdict:
        if self.degraded:
            return Verdict.DEGRADED
        if self.worse:
            return Verdict.WORSE
        if self.conclusive:
            return Verdict.OK
        return Verdict.INSUFFICIENT_DATA if self.too_few_rows else Verdict.NO_REFERENCE


def judge(
    name: str,
    baseline: Baseline | None,
    now: Measurement | None,
    *,
    halves: Sequence[float] = (),
    worse_before: int = 0,
    tolerance: Tolerance = DEFAULT,
) -> MetricVerdict:
    """Whether a metric is worse than its baseline, and whether the model has degraded.

    *Worse*: by more than the tolerance, on at least 30 labels, and by more than chance explains:
    ``loss > sqrt((2 se_now)^2 + (2 se_baseline)^2)``. The error of the baseline counts in every window:
    with a lucky test set, all later windows look bad. A baseline of unknown size is taken to be
    measured on 100 rows, a small test set.

    *Degraded*: worse in two consecutive windows. Or worse in one window of at least 200 labels, by 3.3
    instead of 2 of its standard errors, which is as unlikely as two windows of 2, and by more than the
    tolerance in each half of the window (by time), so that a short burst does not count.

    Args:
        name: normalised.
        baseline: None if there is none; then nothing is judged.
        now: None if the metric was not measured; then nothing is judged.
        halves: the metric in the earlier and in the later half of the rows, if the rows are known.
        worse_before: consecutive windows before this one in which the metric was worse.
        tolerance: how much worse a metric may become.
    """
    if baseline is None or now is None:
        return MetricVerdict()
    better = direction(name)
    sign = 1 if better == HIGHER else -1
    change = now.value - baseline.value
    if abs(change) <= ROUNDING * max(abs(now.value), abs(baseline.value)):
        change = 0.0
    if better is None or not baseline.fair or name in UNSTABLE:
        return MetricVerdict(change)
    if now.standard_error is None or now.n < MIN_LABELS:
        return MetricVerdict(change, too_few_rows=True)
    allowed = tolerance.allowed_change(baseline.value)
    loss = -sign * change
    baseline_error = approximate_error(name, baseline.value, baseline.n or _BASELINE_ROWS) or 0.0
    uncertain = STANDARD_ERRORS * baseline_error
    worse = loss > allowed and loss > hypot(STANDARD_ERRORS * now.standard_error, uncertain)
    in_both = len(halves) == 2 and all(-sign * (half - baseline.value) > allowed for half in halves)
    clearly = loss > hypot(STANDARD_ERRORS_ALONE * now.standard_error, uncertain)
    alone = now.n >= MIN_LABELS_ALONE and clearly and in_both
    return MetricVerdict(change, True, worse, worse and (worse_before >= 1 or alone))


def consecutive_worse(
    now: RecordedMetrics,
    before: Sequence[RecordedMetrics],
    baselines: Mapping[str, Baseline],
    tolerance: Tolerance = DEFAULT,
) -> dict[str, int]:
    """By metric, the number of consecutive windows up to ``now`` in which it was worse.

    Each set of metrics that a caller set is a window; a repetition counts once.

    Args:
        now: the metrics to judge, which do not count.
        before: earlier metrics, oldest first.
        baselines: by normalised name.
        tolerance: as in :func:`judge`.
    """
    worse: dict[str, int] = {}
    last: RecordedMetrics | None = None
    for one in before:
        if one.source != SET or one.repeats(now) or (last is not None and one.repeats(last)):
            continue
        last = one
        for name, measured in one.measurements().items():
            if judge(name, baselines.get(name), measured, tolerance=tolerance).worse:
                worse[name] = worse.get(name, 0) + 1
            else:
                worse.pop(name, None)
    return worse


def first_set_baselines(
    recorded: Iterable[RecordedMetrics], before: datetime
) -> dict[str, Baseline]:
    """Each metric as a caller first set it, on enough rows, before a time.

    Later values never become the baseline: a baseline that moves with the model would hide that the
    model becomes worse. Metrics of feedback do not count: they cover the newest labels only.
    """
    found: dict[str, Baseline] = {}
    timed = [(one.ts, one) for one in recorded if one.source == SET and one.ts and one.ts < before]
    for _, one in sorted(timed, key=lambda pair: pair[0]):
        if one.n is not None and one.n >= MIN_LABELS:
            for name, value in by_normalised_name(one.metrics).items():
                found.setdefault(name, Baseline(value, "history", one.n))
    return found


def merge_baselines(
    run: Mapping[str, Baseline], *in_service: Mapping[str, Baseline]
) -> dict[str, Baseline]:
    """Baselines of the run, else of the model's first time in service.

    Metrics of the training rows count only if there is nothing else: they are always too good.
    """
    found = dict(run)
    for known in in_service:
        for name, baseline in known.items():
            if name not in found or not found[name].fair:
                found[name] = baseline
    return found


def by_normalised_name(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics by normalised name; of several splits the best to compare with."""
    return {name: found.value for name, found in baselines(metrics).items()}


def proportion_error(share: float, n: int) -> float:
    """The standard error of a share, never 0: two successes and two failures are added.

    Agresti and Coull 1998.
    """
    adjusted = (share * n + 2) / (n + 4)
    return math.sqrt(adjusted * (1 - adjusted) / (n + 4))


def approximate_error(name: str, value: float, n: int | None) -> float | None:
    """A standard error, rather too large, for a metric measured elsewhere; None without ``n``.

    Shares have that of a share. Of normally distributed errors, the root mean square has the relative
    standard error 0.71 / sqrt(n) and the mean size 0.76 / sqrt(n); other errors have longer tails, so
    1 / sqrt(n) is used.
    """
    if n is None or n < 2:
        return None
    if name in ("accuracy", "f1", "precision", "recall", "roc_auc"):
        return proportion_error(min(max(value, 0.0), 1.0), n)
    if name == "r2":
        return 2 * abs(1 - value) / math.sqrt(n)
    return (2 if name == "mse" else 1) * abs(value) / math.sqrt(n)
