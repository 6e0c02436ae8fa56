"""What of the inputs a report cannot compare since it was not captured, and how it says so."""

from collections.abc import Collection, Mapping

from model_deployment.degradation.findings import Finding, Severity
from model_deployment.degradation.job import Job

_REASONS = {
    "too_large": "body and answer are larger than max_capture_bytes",
    "unreadable": "their bodies hold no table of rows that can be read",
    "secret": "it cannot be told which of their columns are to be hidden",
}


def told(left_out: Mapping[str, int]) -> list[Finding]:
    """How many requests are not in the comparison, and why."""
    requests = sum(left_out.values())
    if not requests:
        return []
    reasons = [
        f"{_REASONS.get(why, why)} ({count:,})" if len(left_out) > 1 else _REASONS.get(why, why)
        for why, count in sorted(left_out.items(), key=lambda one: -one[1])
    ]
    are = "request is" if requests == 1 else "requests are"
    text = f"{requests:,} {are} not in the comparison of inputs, because {', and '.join(reasons)}."
    return [Finding(Severity.INFO, "left_out", text, None, 3)]


def why_not(job: Job, name: str, unknown: bool, two_digests: bool = False) -> str | None:
    """Why a column cannot be compared, whatever is in it.

    Args:
        unknown: the inputs of no request are known.
        two_digests: some digests are of values as an earlier release read them.
    """
    if _among(name, job.excluded):
        return "it is not captured (capture_exclude)"
    if hashed(job, name) and job.reference_source != "captured":
        return "only digests of its values are captured (capture_hash)"
    if hashed(job, name) and two_digests:
        return "an earlier release captured digests of its values as they came"
    return "the inputs of no request are known" if unknown else None


def hashed(job: Job, name: str) -> bool:
    """Whether digests stand for the values of a column."""
    return _among(name, job.hashed)


def _among(name: str, names: Collection[str]) -> bool:
    # As captures have it: in the spelling of whoever named it.
    plain = name.strip().casefold()
    return any(plain == one.strip().casefold() for one in names)
