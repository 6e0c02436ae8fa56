"""What callers sent that does not fit, apart from the verdict: no model ever saw what was refused."""

from collections.abc import Iterable
from typing import Any

from model_deployment.monitoring.report.findings import Finding, Severity, percent, quoted
from model_deployment.monitoring.report.job import Job
from model_deployment.monitoring.report.verdict import Evidence, many_refused

#: What was wrong with requests, by the names that the figures of traffic have for it.
WRONG = {
    "refused": "do not fit the model",
    "malformed": "are malformed",
    "media_type": "have a Content-Type that no model reads",
    "too_large": "are too large",
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
        share = percent(evidence.refused / max(job.requests, 1))
        kinds = sorted(job.refused.items(), key=lambda one: -one[1])
        why = ", ".join(f"{n:,} {WRONG.get(kind, kind)}" for kind, n in kinds)
        often = "" if job.let_through else _often(job)
        text = f"{evidence.refused:,} of {job.requests:,} requests ({share}) were refused: {why}{often}."
        severity = Severity.ERROR if many_refused(evidence) else Severity.WARNING
        yield Finding(severity, "refused", text, None, 1)
    if job.let_through:
        share = percent(job.let_through / max(job.requests, 1))
        text = (
            f"{job.let_through:,} of {job.requests:,} requests ({share}) do not fit the model's signature, "
            f"and the gate let them through{_often(job)}."
        )
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
    kind = quoted(worst.kind)
    return (
        f"; most often {quoted(worst.column)} ({kind[1:-1]})"
        if worst.column
        else f"; most often {kind}"
    )
