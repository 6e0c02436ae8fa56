"""What the two versions of a rollout did, as the proxies count it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

K = TypeVar("K")


def _add(mine: dict[K, int], more: Mapping[K, int]) -> None:
    for name, count in more.items():
        mine[name] = mine.get(name, 0) + count


@dataclass(slots=True)
class ArmCounts:
    """What one of two versions did in one stage of a rollout."""

    requests: int = 0
    #: Requests that failed, by status: of the model (502, 504, ...), and ``refused`` for those that this
    #: version's gate refused and the other's accepts. Refusals by both gates are not counted at all.
    failures: dict[str, int] = field(default_factory=dict)
    #: Answers by place in :data:`model_deployment.recording.histogram.BOUNDS`.
    latencies: dict[int, int] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        return sum(self.failures.values())

    def add(self, other: "ArmCounts") -> None:
        self.requests += other.requests
        _add(self.failures, other.failures)
        _add(self.latencies, other.latencies)

    def as_dict(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "failures": dict(self.failures),
            "latencies": [[place, count] for place, count in sorted(self.latencies.items())],
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Self:
        return cls(saved["requests"], dict(saved["failures"]), dict(map(tuple, saved["latencies"])))


@dataclass(slots=True)
class StageCounts:
    """What both versions did in one stage. In the shadow stage the same requests went to both."""

    champion: ArmCounts = field(default_factory=ArmCounts)
    candidate: ArmCounts = field(default_factory=ArmCounts)
    #: Shadowed requests that only the candidate, or only the champion, failed.
    candidate_only: int = 0
    champion_only: int = 0
    #: Copies that were not sent: the candidate was behind.
    dropped: int = 0
    #: What the champion did with the other requests of the shadow stage, of which no copy was made.
    uncopied: ArmCounts = field(default_factory=ArmCounts)

    def add(self, other: "StageCounts") -> None:
        self.champion.add(other.champion)
        self.candidate.add(other.candidate)
        self.candidate_only += other.candidate_only
        self.champion_only += other.champion_only
        self.dropped += other.dropped
        self.uncopied.add(other.uncopied)

    def as_dict(self) -> dict[str, Any]:
        return {
            "champion": self.champion.as_dict(),
            "candidate": self.candidate.as_dict(),
            "candidate_only": self.candidate_only,
            "champion_only": self.champion_only,
            "dropped": self.dropped,
            "uncopied": self.uncopied.as_dict(),
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Self:
        return cls(
            ArmCounts.from_dict(saved["champion"]),
            ArmCounts.from_dict(saved["candidate"]),
            saved["candidate_only"],
            saved["champion_only"],
            saved["dropped"],
            ArmCounts.from_dict(saved["uncopied"]) if "uncopied" in saved else ArmCounts(),
        )


#: The counts of a rollout, by stage.
RolloutCounts = dict[str, StageCounts]


def total(parts: Sequence[Mapping[str, StageCounts]]) -> RolloutCounts:
    """The sum of what several proxies counted."""
    found: RolloutCounts = {}
    for part in parts:
        for stage, counts in part.items():
            found.setdefault(stage, StageCounts()).add(counts)
    return found
