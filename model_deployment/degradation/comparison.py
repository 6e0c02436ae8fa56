"""The metrics of this window beside those the model had when it was made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from model_deployment.degradation.findings import Finding, Severity
from model_deployment.degradation.job import REGRESSION, Job, moment
from model_deployment.degradation.labels import halves
from model_deployment.degradation.metric_names import (
    HIGHER,
    UNSTEADY,
    Baseline,
    baselines,
    direction,
)
from model_deployment.degradation.metric_verdict import (
    FEWEST,
    ROUNDING,
    SET,
    Around,
    Judged,
    Measured,
    Past,
    Tolerance,
    by_one_name,
    first_set,
    held_to,
    judge,
    worse_running,
)
from model_deployment.degradation.metrics import Labelled, measure
from model_deployment.rendering.numbers import number, percent


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
            "verdict": str(self.judged.verdict),
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
    known, running = _known(job, reference or {}, moment(job.since)), dict[str, int]()
    if not now:
        parts = []
        for past, names in _set(job):
            held = _known(job, reference or {}, past.ts)
            before = worse_running(past, _before(job, past), held, job.tolerance)
            measured = past.measured()
            for name in names:
                now[name], running[name] = measured[name], before.get(name, 0)
                if name in held:
                    known[name] = held[name]
    compared = []
    for name in dict.fromkeys([*known, *now]):
        around = Around(
            halves=[part[name].value for part in parts if name in part],
            worse_before=max(job.windows_worse(name), running.get(name, 0)),
            tolerance=_tolerance(job, rows),
        )
        judged = judge(name, known.get(name), now.get(name), around)
        compared.append(Compared(name, known.get(name), now.get(name), judged))
    return compared


def _tolerance(job: Job, rows: Labelled | None) -> Tolerance:
    """What is let pass, and at least how large values are rounded."""
    given = job.tolerance
    if rows is None or rows.task != REGRESSION or not len(rows):
        return given
    rounding = ROUNDING * float(abs(rows.truth).max())
    return Tolerance(given.relative, max(given.absolute, rounding))


def _known(
    job: Job, reference: Mapping[str, Measured], before: datetime | None
) -> dict[str, Baseline]:
    """What to hold metrics to; of those that were set, the ones before a time count."""
    first = [job.first_set] if job.first_set else []
    return held_to(
        baselines(job.baseline, job.baseline_rows),
        {
            name: Baseline(measured.value, "reference", measured.n)
            for name, measured in reference.items()
            if measured.n >= FEWEST
        },
        first_set([*first, *job.history], before) if before else {},
    )


def _set(job: Job) -> list[tuple[Past, set[str]]]:
    """What somebody set in this window, where no labels tell it: of each metric the last."""
    since, until = moment(job.since), moment(job.until)
    if since is None or until is None:
        return []
    left: set[str] = set()
    found = []
    for past in reversed(_before(job, None)):
        if past.source == SET and since <= _when(past) < until:
            names = by_one_name(past.metrics).keys() - left
            left |= names
            found.append((past, names))
    return [(past, names) for past, names in found if names]


def _before(job: Job, now: Past | None) -> list[Past]:
    """The history up to some of it, oldest first."""
    timed = [past for past in job.history if past.ts is not None]
    return sorted((one for one in timed if now is None or _when(one) < _when(now)), key=_when)


def _when(past: Past) -> datetime:
    assert past.ts is not None  # noqa: S101 - only those are asked
    return past.ts


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
