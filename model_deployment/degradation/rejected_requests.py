"""What callers sent that does not fit, apart from the verdict: no model ever saw what was refused."""

from collections.abc import Iterable
from typing import Any

from model_deployment.degradation.findings import Finding, Severity, quoted
from model_deployment.degradation.job import Job
from model_deployment.degradation.verdict import Evidence, many_refused
from model_deployment.rendering.numbers import percent

#: What was wrong with requests, by the names that the figures of traffic have for it.
WRONG = {
    "refused": ("does not fit the model", "do not fit the model"),
    "malformed": ("is malformed", "are malformed"),
    "media_type": (
        "has a Content-Type that no model reads",
        "have a Content-Type that no model reads",
    ),
    "too_large": ("is too large", "are too large"),
}


def section(job: Job, evidence: Evidence) -> dict[str, Any]:
    """The part of the report, JSON-ready."""
    return {
        "count": evidence.refused,
        "share": evidence.refused / evidence.requests if evidence.requests else 0.0,
        "by_kind": dict(job.refused),
        #: So many that callers must have changed.
        "many": many_refused(evidence),
    }


def findings(job: Job, evidence: Evidence) -> Iterable[Finding]:
    """What to say of it."""
    if evidence.refused:
        kinds = sorted(job.refused.items(), key=lambda one: -one[1])
        why = ", ".join(f"{n:,} {WRONG.get(kind, (kind, kind))[n != 1]}" for kind, n in kinds)
        often = "" if job.let_through else _often(job)
        were = "was" if evidence.refused == 1 else "were"
        text = f"{_of(evidence.refused, job)} {were} refused: {why}{often}."
        severity = Severity.ERROR if many_refused(evidence) else Severity.WARNING
        yield Finding(severity, "refused", text, None, 1)
    if job.let_through:
        text = f"{_of(job.let_through, job)} did not fit the model's signature and were let through"
        text += f"{_often(job)}."
        yield Finding(Severity.WARNING, "violations", text, None, 1)
    elif job.violations and not evidence.refused:
        # Of an earlier version, which did not count what was let through.
        found = sum(one.count for one in job.violations)
        text = f"The gate found {found:,} violations in {job.requests:,} requests{_often(job)}."
        yield Finding(Severity.WARNING, "violations", text, None, 1)


def _often(job: Job) -> str:
    """What does not fit most often."""
    if not job.violations:
        return ""
    worst = max(job.violations, key=lambda one: one.count)
    where = f" of {quoted(worst.column)}" if worst.column else ""
    return f"; the most frequent violation is {quoted(worst.kind)}{where}"


def _of(count: int, job: Job) -> str:
    return f"{count:,} of {job.requests:,} requests ({percent(count / max(job.requests, 1))})"
