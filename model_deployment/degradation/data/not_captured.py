"""What a report cannot compare because it was not captured, and how the report says so."""

from collections.abc import Collection, Mapping

from model_deployment.degradation.findings import Finding, Severity
from model_deployment.degradation.job import ReportJob

_REASONS = {
    "too_large": "request and answer together are larger than max_capture_bytes",
    "unreadable": "their bodies contain no readable table of rows",
    "secret": "it is unknown which of their columns must be hidden",
}


def findings(left_out: Mapping[str, int]) -> list[Finding]:
    """How many requests are missing in the comparison of inputs, by reason."""
    requests = sum(left_out.values())
    if not requests:
        return []
    reasons = [
        _REASONS.get(reason, reason) + (f" ({count:,})" if len(left_out) > 1 else "")
        for reason, count in sorted(left_out.items(), key=lambda one: -one[1])
    ]
    are = "request is" if requests == 1 else "requests are"
    text = f"{requests:,} {are} not in the comparison of inputs, because {', and '.join(reasons)}."
    return [Finding(Severity.INFO, "left_out", text, None, 3)]


def reason_not_captured(
    job: ReportJob, name: str, unknown: bool, two_digests: bool = False
) -> str | None:
    """Why a column cannot be compared, whatever its values are; None if it can.

    Args:
        unknown: no inputs were captured.
        two_digests: some digests were made by an earlier release, which read values differently.
    """
    if _among(name, job.excluded):
        return "it is not captured (capture_exclude)"
    if hashed(job, name) and job.reference_source != "captured":
        return "only digests of its values are captured (capture_hash)"
    if hashed(job, name) and two_digests:
        return "an earlier release made different digests of the same values"
    return "no inputs were captured" if unknown else None


def hashed(job: ReportJob, name: str) -> bool:
    """Whether a column is captured as digests of its values."""
    return _among(name, job.hashed)


def _among(name: str, names: Collection[str]) -> bool:
    # Case and outer spaces are ignored, as in captures.
    plain = name.strip().casefold()
    return any(plain == one.strip().casefold() for one in names)
