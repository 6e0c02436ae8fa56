"""Requests that do not fit the model. They never count in the verdict: the model saw no refused request."""

from collections.abc import Iterable
from typing import Any

from model_deployment.degradation.findings import Finding, Severity, quoted
from model_deployment.degradation.job import ReportJob
from model_deployment.degradation.verdict import Evidence, many_refused
from model_deployment.rendering.numbers import percent

#: Kinds of refused requests by their names in the traffic counters.
_KINDS = {
    "refused": "not fitting the signature",
    "malformed": "malformed",
    "media_type": "with an unsupported Content-Type",
    "too_large": "too large",
}


def section(job: ReportJob, evidence: Evidence) -> dict[str, Any]:
    """The section ``refused`` of the report, JSON-ready."""
    return {
        "count": evidence.refused,
        "share": evidence.refused / evidence.requests if evidence.requests else 0.0,
        "by_kind": dict(job.refused),
        "many": many_refused(evidence),
    }


def findings(job: ReportJob, evidence: Evidence) -> Iterable[Finding]:
    if evidence.refused:
        kinds = sorted(job.refused.items(), key=lambda one: -one[1])
        why = ", ".join(f"{n:,} {_KINDS.get(kind, kind)}" for kind, n in kinds)
        often = "" if job.let_through else _most_frequent(job)
        were = "was" if evidence.refused == 1 else "were"
        text = f"{_of(evidence.refused, job)} {were} refused: {why}{often}."
        severity = Severity.ERROR if many_refused(evidence) else Severity.WARNING
        yield Finding(severity, "refused", text, None, 1)
    if job.let_through:
        text = f"{_of(job.let_through, job)} did not fit the signature and were passed to the model"
        text += f"{_most_frequent(job)}."
        yield Finding(Severity.WARNING, "violations", text, None, 1)
    elif job.violations and not evidence.refused:
        # Counted by an earlier release, which did not count requests that were let through.
        found = sum(one.count for one in job.violations)
        text = f"The gate found {found:,} violations in {job.requests:,} requests{_most_frequent(job)}."
        yield Finding(Severity.WARNING, "violations", text, None, 1)


def _most_frequent(job: ReportJob) -> str:
    if not job.violations:
        return ""
    worst = max(job.violations, key=lambda one: one.count)
    where = f" of {quoted(worst.column)}" if worst.column else ""
    return f"; the most frequent violation is {quoted(worst.kind)}{where}"


def _of(count: int, job: ReportJob) -> str:
    return f"{count:,} of {job.requests:,} requests ({percent(count / max(job.requests, 1))})"
