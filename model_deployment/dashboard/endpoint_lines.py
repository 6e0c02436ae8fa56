"""The guards of a rollout and the policy of an endpoint, as lines of tables. Pure."""

import math
from dataclasses import dataclass

from model_deployment.core.rollout_policy import RolloutPolicy
from model_deployment.endpoints.findings import GuardReading, Outcome
from model_deployment.rendering import numbers


@dataclass(frozen=True, slots=True)
class GuardLine:
    """A guard with its figures."""

    name: str
    champion: str
    candidate: str
    #: The evidence against the candidate, and how far it is on the way to the limit, 0 to 100. Evidence
    #: is a likelihood ratio, so the way is measured in logarithms; one of 1 says nothing.
    evidence: str
    way: float
    outcome: Outcome
    text: str


def guard_line(reading: GuardReading) -> GuardLine:
    limited = reading.limit > 1
    way = math.log(max(1.0, reading.evidence)) / math.log(reading.limit) if limited else 0.0
    return GuardLine(
        name=reading.guard,
        champion=_figure(reading.guard, reading.champion),
        candidate=_figure(reading.guard, reading.candidate),
        evidence=f"{numbers.number(reading.evidence)} of {numbers.number(reading.limit)}"
        if limited
        else numbers.NONE,
        way=round(100 * min(1.0, way), 1),
        outcome=reading.outcome,
        text=reading.text,
    )


def _figure(guard: str, value: float | None) -> str:
    if value is None:
        return numbers.NONE
    match guard:
        case "errors":
            return numbers.percent(value)
        case "latency":
            return numbers.milliseconds(value)
        case _:
            return numbers.number(value)


def policy_lines(policy: RolloutPolicy) -> list[tuple[str, str]]:
    """A policy in words."""
    checks, canary, guard = policy.checks, policy.canary, policy.guard
    shares = ", ".join(f"{share:g} %" for share in canary.steps)
    shadow = checks.shadow
    seen = {
        "the input example": checks.example,
        "the signature against captured requests": checks.signature,
    }
    guards = {
        "errors": guard.errors,
        f"more answers slower than {guard.latency:g} times the champion's p95": guard.latency > 0,
        f"a metric worse by {100 * guard.quality:.3g} %": guard.quality > 0,
        "predictions that move": guard.predictions,
    }
    return [
        ("check", _named(seen)),
        ("replay", numbers.count(checks.replay, "captured request") if checks.replay else "no"),
        (
            "shadow",
            f"{shadow.share:g} % of the requests, for {shadow.minutes:g} min and "
            f"{numbers.count(shadow.requests, 'request')} at least"
            if shadow
            else "no",
        ),
        (
            "canary",
            f"{shares}; each for {canary.minutes:g} min and "
            f"{numbers.count(canary.requests, 'request')} at least"
            if shares
            else "no",
        ),
        ("guards", _named(guards)),
        ("previous version kept", numbers.duration(policy.keep_previous)),
        ("without room for both", "callers wait" if policy.recreate else "the rollout waits"),
        *((f"option {name}", str(value)) for name, value in policy.options.items()),
    ]


def _named(parts: dict[str, bool]) -> str:
    return ", ".join(name for name, on in parts.items() if on) or "no"
