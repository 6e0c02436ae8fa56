"""The metrics of this window beside those the model had when it was made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from model_deployment.monitoring.report.drift import FEWEST
from model_deployment.monitoring.report.findings import Finding, Severity, number, percent
from model_deployment.monitoring.report.job import Job, moment
from model_deployment.monitoring.report.labels import halves
from model_deployment.monitoring.report.metrics import (
    Labelled,
    Measured,
    approximate_error,
    measure,
)
from model_deployment.monitoring.report.names import (
    HIGHER,
    UNSTEADY,
    Baseline,
    baselines,
    direction,
    normalised,
)
from model_deployment.monitoring.report.verdict import Judged, judge

#: The source of metrics that somebody set; those of ``feedback`` are of labels of any age.
SET = "set"


@dataclass(frozen=True, slots=True)
class Compared:
    """One metric."""

    name: str
    baseline: Baseline | None
    now: Measured | None
    judged: Judged

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "name": self.name,
            "baseline": self.baseline.value if self.baseline else None,
            "baseline_source": self.baseline.source if self.baseline else None,
            "current": self.now.value if self.now else None,
            "change": self.judged.change,
            "direction": direction(self.name),
            "n": self.now.n if self.now else None,
            "standard_error": self.now.standard_error if self.now else None,
            "told": self.judged.told,
            "worse": self.judged.worse,
            "degraded": self.judged.degraded,
        }


def compare(
    job: Job, rows: Labelled | None, reference: Mapping[str, Measured] | None = None
) -> list[Compared]:
    """Every metric that has a baseline or a value now.

    Args:
        job: with the baseline and the history.
        rows: labelled rows of the window, in the order of time.
        reference: metrics of a reference that was captured in service.
    """
    now = measure(rows, job.seed) if rows is not None else {}
    parts = [measure(half) for half in halves(rows)] if rows is not None and len(rows) > 1 else []
    if not now:
        now, parts = _set(job), []
    known = _known(job, reference or {})
    compared = []
    for name in dict.fromkeys([*known, *now]):
        two = [part[name].value for part in parts if name in part]
        judged = judge(
            name,
            direction(name),
            known.get(name),
            now.get(name),
            two,
            job.windows_worse(name),
            job.tolerance,
        )
        compared.append(Compared(name, known.get(name), now.get(name), judged))
    return compared


def _known(job: Job, reference: Mapping[str, Measured]) -> dict[str, Baseline]:
    """What to hold the model to: its run, else rows from when it was new in service.

    Metrics of the training rows are only shown: every model does better there, and a forest is
    perfect.
    """
    found = baselines(job.baseline, job.baseline_rows)
    for name, measured in reference.items():
        if measured.n >= FEWEST and (name not in found or not found[name].fair):
            found[name] = Baseline(measured.value, "reference", measured.n)
    for name, baseline in _history_baseline(job).items():
        if name not in found or not found[name].fair:
            found[name] = baseline
    return found


def _history_baseline(job: Job) -> dict[str, Baseline]:
    """Each metric as it was set for the first time, if that was before this window.

    Never a later one: a baseline that moves on with the model would hide that it becomes worse. Nor
    what feedback told, which is of the newest labels whenever it was computed.
    """
    if job.history_baseline is not None:
        return {name: Baseline(value, "history") for name, value in job.history_baseline.items()}
    since = moment(job.since)
    first: dict[str, tuple[datetime, Baseline]] = {}
    for past in job.history:
        if past.source != SET or past.ts is None or past.n is None or past.n < FEWEST:
            continue
        for name, value in _normalised(past.metrics).items():
            if name not in first or past.ts < first[name][0]:
                first[name] = (past.ts, Baseline(value, "history", past.n))
    return {
        name: baseline for name, (ts, baseline) in first.items() if since is not None and ts < since
    }


def _set(job: Job) -> dict[str, Measured]:
    """Metrics that somebody set in this window, where no labels tell them; of several the last."""
    since, until = moment(job.since), moment(job.until)
    found: dict[str, tuple[datetime, Measured]] = {}
    if since is None or until is None:
        return {}
    for past in job.history:
        if past.source != SET or past.ts is None or not since <= past.ts < until:
            continue
        for name, value in _normalised(past.metrics).items():
            if name not in found or past.ts >= found[name][0]:
                error = approximate_error(name, value, past.n)
                found[name] = (past.ts, Measured(value, past.n or 0, error))
    return {name: measured for name, (_, measured) in found.items()}


def _normalised(metrics: Mapping[str, float]) -> dict[str, float]:
    return {normalised(name)[0]: value for name, value in metrics.items()}


def findings(compared: Sequence[Compared], job: Job) -> list[Finding]:
    """What to say of them."""
    degraded = [one for one in compared if one.judged.degraded]
    worse = [one for one in compared if one.judged.worse and not one.judged.degraded]
    found = [one for other in compared for one in _unsure(other, job)]
    before = [one for one in degraded if job.windows_worse(one.name) >= 1]
    alone = [one for one in degraded if one not in before]
    for some, lasting in ((before, "the window before was worse too"), (alone, "in both halves")):
        if some:
            text = f"{_sentences(some)}; {lasting}."
            found.append(Finding(Severity.ERROR, "degraded", text, None, 100))
    if worse:
        text = f"{_sentences(worse)}; one window is not enough to say that it lasts."
        found.append(Finding(Severity.WARNING, "worse_once", text, None, 100))
    return found


def _unsure(one: Compared, job: Job) -> list[Finding]:
    """A metric that fell, though that means nothing yet."""
    if one.baseline is None or one.now is None or one.judged.worse or not _for_the_worse(one):
        return []
    size, change = _size(one), abs(one.judged.change or 0)
    if one.name in UNSTEADY or change <= job.tolerance.around(one.baseline.value):
        return []
    if not one.baseline.fair:
        text = f"{_sentences([one])}, but that was on the rows it was trained on."
        return [Finding(Severity.INFO, "training_baseline", text, None, size)]
    code = "metric_fell" if one.judged.told else "few_labels"
    text = f"{_sentences([one])}, which may be chance."
    return [Finding(Severity.INFO, code, text, None, size)]


def _for_the_worse(one: Compared) -> bool:
    good = direction(one.name)
    return good is not None and ((one.judged.change or 0) < 0) == (good == HIGHER)


def _size(one: Compared) -> float:
    """How large the change is, of the baseline."""
    if one.baseline is None or one.now is None:
        return 0.0
    return abs(one.now.value - one.baseline.value) / (abs(one.baseline.value) or 1)


def _sentences(several: Sequence[Compared]) -> str:
    """What happened to metrics, the largest change first."""
    ordered = sorted(several, key=_size, reverse=True)
    told = ", ".join(
        f"{one.name} {'fell' if one.now.value < one.baseline.value else 'rose'} "
        f"from {number(one.baseline.value)} to {number(one.now.value)} ({percent(_size(one))})"
        for one in ordered
        if one.baseline and one.now
    )
    rows = max((one.now.n for one in several if one.now), default=0)
    return f"{told[:1].upper()}{told[1:]}, on {rows:,} rows with known truth"
