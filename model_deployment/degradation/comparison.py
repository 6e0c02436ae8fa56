"""The metrics of this window beside their baselines."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from model_deployment.core.metric_names import (
    HIGHER,
    UNSTABLE,
    Baseline,
    baselines,
    direction,
)
from model_deployment.degradation.data.labels import LabelledRows
from model_deployment.degradation.findings import Finding, Severity
from model_deployment.degradation.job import REGRESSION, ReportJob, moment
from model_deployment.degradation.metric_verdict import (
    MIN_LABELS,
    ROUNDING,
    SET,
    Measurement,
    MetricVerdict,
    RecordedMetrics,
    Tolerance,
    by_normalised_name,
    consecutive_worse,
    first_set_baselines,
    judge,
    merge_baselines,
)
from model_deployment.degradation.statistics.metrics import measure
from model_deployment.rendering.numbers import number, percent


@dataclass(frozen=True, slots=True)
class ComparedMetric:
    name: str
    baseline: Baseline | None
    now: Measurement | None
    judged: MetricVerdict

    @property
    def relative_change(self) -> float:
        """Size of the change as a share of the baseline."""
        if self.baseline is None or self.now is None:
            return 0.0
        return abs(self.now.value - self.baseline.value) / (abs(self.baseline.value) or 1)

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "baseline": self.baseline.value if self.baseline else None,
            "baseline_source": self.baseline.source if self.baseline else None,
            "current": self.now.value if self.now else None,
            "change": self.judged.change,
            "direction": direction(self.name),
            "n": self.now.n if self.now else None,
            "standard_error": self.now.standard_error if self.now else None,
            "verdict": str(self.judged.verdict),
            "told": self.judged.conclusive,
            "worse": self.judged.worse,
            "degraded": self.judged.degraded,
        }


def compare(
    job: ReportJob, rows: LabelledRows | None, reference: Mapping[str, Measurement]
) -> list[ComparedMetric]:
    """Every metric that has a baseline or a value now.

    Args:
        job: with the baseline and the history.
        rows: labelled rows of the window, in the order of time.
        reference: metrics of a reference that was captured in service.
    """
    now = measure(rows, job.seed) if rows is not None else {}
    known = _baselines(job, reference, moment(job.since))
    halves: list[dict[str, Measurement]] = []
    worse_before: dict[str, int] = {}
    if now and rows is not None and len(rows) > 1:
        halves = [measure(half, errors=False) for half in rows.halves()]
    if not now:
        timed = sorted(((one.ts, one) for one in job.history if one.ts), key=lambda pair: pair[0])
        for ts, recorded, names in _set_in_window(job, timed):
            held = _baselines(job, reference, ts)
            earlier = [one for time, one in timed if time < ts]
            before = consecutive_worse(recorded, earlier, held, job.tolerance)
            measured = recorded.measurements()
            for name in names:
                now[name], worse_before[name] = measured[name], before.get(name, 0)
                if name in held:
                    known[name] = held[name]
    compared, tolerance = [], _tolerance(job, rows)
    for name in dict.fromkeys([*known, *now]):
        judged = judge(
            name,
            known.get(name),
            now.get(name),
            halves=[half[name].value for half in halves if name in half],
            worse_before=max(job.windows_worse(name), worse_before.get(name, 0)),
            tolerance=tolerance,
        )
        compared.append(ComparedMetric(name, known.get(name), now.get(name), judged))
    return compared


def _tolerance(job: ReportJob, rows: LabelledRows | None) -> Tolerance:
    """The tolerance of the job, at least as large as the rounding of the labels."""
    if rows is None or rows.task != REGRESSION or not len(rows):
        return job.tolerance
    rounding = ROUNDING * float(abs(rows.truth).max())
    return Tolerance(job.tolerance.relative, max(job.tolerance.absolute, rounding))


def _baselines(
    job: ReportJob, reference: Mapping[str, Measurement], before: datetime | None
) -> dict[str, Baseline]:
    """The baseline of each metric: of the run, the reference, or first set before a time."""
    first = [job.first_set] if job.first_set else []
    return merge_baselines(
        baselines(job.baseline, job.baseline_rows),
        {
            name: Baseline(measured.value, "reference", measured.n)
            for name, measured in reference.items()
            if measured.n >= MIN_LABELS
        },
        first_set_baselines([*first, *job.history], before) if before else {},
    )


def _set_in_window(
    job: ReportJob, timed: Sequence[tuple[datetime, RecordedMetrics]]
) -> Iterable[tuple[datetime, RecordedMetrics, list[str]]]:
    """The metrics that callers set in this window, with the names of those not set again later."""
    since, until = moment(job.since), moment(job.until)
    if since is None or until is None:
        return
    seen: set[str] = set()
    for ts, one in reversed(timed):
        if one.source == SET and since <= ts < until:
            names = [name for name in by_normalised_name(one.metrics) if name not in seen]
            seen.update(names)
            yield ts, one, names


def findings(compared: Sequence[ComparedMetric], job: ReportJob) -> Iterable[Finding]:
    """Metrics that are worse, and metrics that fell for no certain reason."""
    for one in compared:
        yield from _uncertain(one, job)
    degraded = [one for one in compared if one.judged.degraded]
    before = [one for one in degraded if job.windows_worse(one.name) >= 1]
    alone = [one for one in degraded if one not in before]
    worse = [one for one in compared if one.judged.worse and not one.judged.degraded]
    for some, where in (
        (before, "the window before as well"),
        (alone, "both halves of the window"),
    ):
        if some:
            was = "This metric was" if len(some) == 1 else "These metrics were"
            text = f"{_changes(some)}. {was} worse in {where}."
            yield Finding(Severity.ERROR, "degraded", text, None, 100)
    if worse:
        text = f"{_changes(worse)}. One window is not enough to call the model degraded."
        yield Finding(Severity.WARNING, "worse_once", text, None, 100)


def _uncertain(one: ComparedMetric, job: ReportJob) -> Iterable[Finding]:
    """A metric that fell by more than the tolerance without being worse."""
    if one.baseline is None or one.now is None or one.judged.worse or not _fell(one):
        return
    change = abs(one.judged.change or 0)
    if one.name in UNSTABLE or change <= job.tolerance.allowed_change(one.baseline.value):
        return
    if not one.baseline.fair:
        code, why = "training_baseline", "but the baseline was measured on the training rows"
    else:
        code = "metric_fell" if one.judged.conclusive else "few_labels"
        why = "which may be due to chance"
    yield Finding(Severity.INFO, code, f"{_changes([one])}, {why}.", None, one.relative_change)


def _fell(one: ComparedMetric) -> bool:
    """Whether a metric changed for the worse."""
    good = direction(one.name)
    return good is not None and ((one.judged.change or 0) < 0) == (good == HIGHER)


def _changes(several: Sequence[ComparedMetric]) -> str:
    """The changes of metrics as a sentence, the largest change first."""
    ordered = sorted(several, key=lambda one: -one.relative_change)
    text = ", ".join(
        f"{one.name} {'fell' if one.now.value < one.baseline.value else 'rose'} "
        f"from {number(one.baseline.value)} to {number(one.now.value)} ({percent(one.relative_change)})"
        for one in ordered
        if one.baseline and one.now
    )
    rows = max((one.now.n for one in several if one.now), default=0)
    return f"{text[:1].upper()}{text[1:]}, on {rows:,} labelled rows"
