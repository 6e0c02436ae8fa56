"""What was found about a candidate, and how it is told: the common form of checks, replay and guards."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self


class Outcome(StrEnum):
    """What a finding means for the rollout."""

    PASSED = "passed"
    #: The candidate is rolled back.
    FAILED = "failed"
    #: Nothing can be said yet: the rollout holds, and the reason says what is missing.
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class CandidateFinding:
    """The outcome of one step, with the reason in plain words and the figures behind it (JSON)."""

    outcome: Outcome
    reason: str
    figures: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {"outcome": str(self.outcome), "reason": self.reason, "figures": dict(self.figures)}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Self:
        return cls(Outcome(saved["outcome"]), saved["reason"], saved["figures"])


@dataclass(frozen=True, slots=True)
class GuardReading:
    """What a guard sees at one moment, for people and for the decision."""

    #: ``errors``, ``latency``, ``quality``.
    guard: str
    outcome: Outcome
    #: In plain words: the figures of both versions, or what is missing.
    text: str
    #: Of each version: a share of failed requests, milliseconds, an error in the metric; None if unknown.
    champion: float | None = None
    candidate: float | None = None
    #: How much the data speak against the candidate, and the limit at which it is rolled back.
    evidence: float = 0.0
    limit: float = 0.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """All guards together."""

    outcome: Outcome
    reason: str
    readings: tuple[GuardReading, ...] = ()
