"""What is known about a candidate, as it is stored with its rollout: a restart goes on from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from model_deployment.core.rollout_counts import RolloutCounts, StageCounts, total
from model_deployment.endpoints.findings import CandidateFinding


@dataclass(frozen=True, slots=True)
class RolloutEvidence:
    """Of one rollout."""

    #: The candidate was deployed for it.
    deployed: bool = False
    #: The champion makes room: it is stopped as soon as the candidate is deployed.
    recreate: bool = False
    check: CandidateFinding | None = None
    replay: CandidateFinding | None = None
    #: By proxy: the last counts of each, also of those that have ended.
    counts: Mapping[str, RolloutCounts] = field(default_factory=dict)
    #: State of the guards, understood by ``judge.py``.
    judge: Mapping[str, Any] = field(default_factory=dict)
    #: The webhook and the registry know how it ended.
    told: bool = False
    #: Launches of the candidate's deployment, and bytes of its memory, when it was first ready.
    launches: int | None = None
    memory: int | None = None

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Self:
        found: dict[str, Any] = {
            name: CandidateFinding.from_dict(saved[name])
            for name in ("check", "replay")
            if saved.get(name)
        }
        counts = {
            proxy: {stage: StageCounts.from_dict(one) for stage, one in stages.items()}
            for proxy, stages in saved.get("counts", {}).items()
        }
        plain = ("deployed", "recreate", "judge", "told", "launches", "memory")
        return cls(**found, counts=counts, **{name: saved[name] for name in plain if name in saved})

    def as_dict(self) -> dict[str, Any]:
        return {
            "deployed": self.deployed,
            "recreate": self.recreate,
            "check": self.check.as_dict() if self.check else None,
            "replay": self.replay.as_dict() if self.replay else None,
            "counts": {
                proxy: {stage: one.as_dict() for stage, one in stages.items()}
                for proxy, stages in self.counts.items()
            },
            "judge": dict(self.judge),
            "told": self.told,
            "launches": self.launches,
            "memory": self.memory,
        }

    @property
    def sums(self) -> RolloutCounts:
        """What all proxies counted, by stage."""
        return total([*self.counts.values()])

    def counted(self, counts: Mapping[str, RolloutCounts]) -> "RolloutEvidence":
        """With the newest counts of the proxies that have reported; those of the others stay."""
        return replace(self, counts={**self.counts, **counts}) if counts else self
