"""Whether a metric is worse than its baseline: one answer for reports, the API and the dashboard.

Pure, standard library only, and the only place where thresholds of labelled metrics are.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import hypot

from model_deployment.degradation.metric_names import (
    HIGHER,
    UNSTEADY,
    Baseline,
    baselines,
    direction,
)
from model_deployment.degradation.verdict_words import Verdict

#: Labels below which nothing is told.
FEWEST = 30
#: Standard errors in one of two windows running.
NOISE = 2.0
#: Standard errors in a window that decides alone: as unlikely as two in two windows (0.023 squared).
NOISE_ALONE = 3.3
#: Labels for a window to decide alone.
ALONE = 200
#: A change so small, or so small a share, is how computers round: a model that fits exactly is off by
#: some 1e-15.
ROUNDING = 1e-12
#: Rows a baseline is taken to be measured on, where nobody knows.
_BASELINE_ROWS = 100
#: The source of metrics that somebody set; those of ``feedback`` are of labels of any age.
SET = "set"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How much worse a metric may become before that is worth telling."""

    relative: float = 0.1
    absolute: float = 0.0

    def around(self, baseline: float) -> float:
        """The largest change that is let pass."""
        return max(self.relative * abs(baseline), self.absolute, ROUNDING)


DEFAULT = Tolerance()


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric of some rows."""

    value: float
    n: int
    #: None where nothing tells it.
    standard_error: float | None


@dataclass(frozen=True, slots=True)
class Past:
    """Metrics of an earlier time."""

    ts: datetime | None
    metrics: Mapping[str, float]
    n: int | None
    #: :data:`SET` by somebody, or of ``feedback``.
    source: str = SET
    window: str | None = None

    def measured(self) -> dict[str, Measured]:
        """By normalised name, each with a standard error that is likely."""
        rows = self.n or 0
        return {
            name: Measured(value, rows, approximate_error(name, value, rows))
            for name, value in by_one_name(self.metrics).items()
        }

    def says_the_same(self, other: "Past") -> bool:
        """Whether both are of the same rows: somebody told it twice."""
        mine, theirs = (self.metrics, self.n, self.window), (other.metrics, other.n, other.window)
        return mine == theirs


@dataclass(frozen=True, slots=True)
class Judged:
    """A metric beside its baseline."""

    #: Positive is better or worse by the metric's direction; None if there is nothing to compare.
    change: float | None = None
    #: Whether it could be told at all.
    told: bool = False
    worse: bool = False
    degraded: bool = False
    #: Whether more rows would tell it.
    few: bool = False

    @property
    def verdict(self) -> Verdict:
        """In one word; ``no_reference`` where there is nothing that it can be held to."""
        if self.degraded:
            return Verdict.DEGRADED
        if self.worse:
            return Verdict.WORSE
        if self.told:
            return Verdict.OK
        return Verdict.INSUFFICIENT_DATA if self.few else Verdict.NO_REFERENCE


@dataclass(frozen=True, slots=True)
class Around:
    """What is known of a metric beside its value and its baseline."""

    #: The metric in the earlier and in the later half of the rows, where rows are known.
    halves: Sequence[float] = ()
    #: Windows right before this one in which the metric was worse.
    worse_before: int = 0
    tolerance: Tolerance = field(default=DEFAULT)


def judge(
    name: str, baseline: Baseline | None, now: Measured | None, around: Around | None = None
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
        name: of the metric, normalised.
        baseline: None if there is none.
        now: None if it was not measured.
        around: what else is known; None is nothing.
    """
    if baseline is None or now is None:
        return Judged()
    around = around or Around()
    better = direction(name)
    sign = 1 if better == HIGHER else -1
    change = now.value - baseline.value
    if abs(change) <= ROUNDING * max(abs(now.value), abs(baseline.value)):
        change = 0.0
    if better is None or not baseline.fair or name in UNSTEADY:
        return Judged(change)
    if now.standard_error is None or now.n < FEWEST:
        return Judged(change, few=True)
    allowed = around.tolerance.around(baseline.value)
    loss = -sign * change
    rows = baseline.n or _BASELINE_ROWS
    uncertain = NOISE * (approximate_error(name, baseline.value, rows) or 0.0)
    worse = loss > allowed and loss > hypot(NOISE * now.standard_error, uncertain)
    halves = around.halves
    lasting = len(halves) == 2 and all(-sign * (half - baseline.value) > allowed for half in halves)
    alone = now.n >= ALONE and loss > hypot(NOISE_ALONE * now.standard_error, uncertain)
    degraded = worse and (around.worse_before >= 1 or (alone and lasting))
    return Judged(change, True, worse, degraded)


def worse_running(
    now: Past,
    before: Sequence[Past],
    known: Mapping[str, Baseline],
    tolerance: Tolerance = DEFAULT,
) -> dict[str, int]:
    """In how many of the last metrics that were set, running, each one was worse.

    Each is a window of its own. What was told twice counts once.

    Args:
        now: those that are to be judged, which do not count.
        before: those before them, oldest first.
        known: baselines by normalised name.
        tolerance: as in :func:`judge`.
    """
    running: dict[str, int] = {}
    last: Past | None = None
    for past in before:
        if past.source != SET or past.says_the_same(now):
            continue
        if last is not None and past.says_the_same(last):
            continue
        last = past
        for name, measured in past.measured().items():
            if judge(name, known.get(name), measured, Around(tolerance=tolerance)).worse:
                running[name] = running.get(name, 0) + 1
            else:
                running.pop(name, None)
    return running


def first_set(pasts: Iterable[Past], before: datetime) -> dict[str, Baseline]:
    """Each metric as it was set for the first time, of enough rows, if that was before a time.

    Never a later one: a baseline that moves on with the model would hide that it becomes worse. Nor
    what feedback told, which is of the newest labels whenever it was computed.
    """
    found: dict[str, Baseline] = {}
    timed = [(one.ts, one) for one in pasts if one.source == SET and one.ts and one.ts < before]
    for _, past in sorted(timed, key=lambda one: one[0]):
        if past.n is not None and past.n >= FEWEST:
            for name, value in by_one_name(past.metrics).items():
                found.setdefault(name, Baseline(value, "history", past.n))
    return found


def held_to(
    run: Mapping[str, Baseline], *in_service: Mapping[str, Baseline]
) -> dict[str, Baseline]:
    """What to hold a model to: its run, else what it did in service when it was new.

    Metrics of the training rows are only shown: every model does better there, and a forest is
    perfect.
    """
    found = dict(run)
    for known in in_service:
        for name, baseline in known.items():
            if name not in found or not found[name].fair:
                found[name] = baseline
    return found


def by_one_name(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics by their normalised names; of several splits the one that tells most."""
    return {name: found.value for name, found in baselines(metrics).items()}


def proportion_error(share: float, n: int) -> float:
    """The standard error of a share, never nought: two of each are added (Agresti and Coull 1998)."""
    kind = (share * n + 2) / (n + 4)
    return math.sqrt(kind * (1 - kind) / (n + 4))


def approximate_error(name: str, value: float, n: int | None) -> float | None:
    """A standard error for a metric that somebody else measured, on the large side; None without ``n``.

    A share has that of a share. The root mean square of normal errors has 0.71 / sqrt(n) of itself
    and their mean size 0.76 / sqrt(n); others have longer tails, so 1 / sqrt(n) is taken.
    """
    if n is None or n < 2:
        return None
    if name in ("accuracy", "f1", "precision", "recall", "roc_auc"):
        return proportion_error(min(max(value, 0.0), 1.0), n)
    if name == "r2":
        return 2 * abs(1 - value) / math.sqrt(n)
    return (2 if name == "mse" else 1) * abs(value) / math.sqrt(n)
