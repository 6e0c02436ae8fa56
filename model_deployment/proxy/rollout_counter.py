"""What a proxy counts of one rollout: what each of the two versions did, by stage."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from time import monotonic

from model_deployment.core.rollout_counts import ArmCounts, RolloutCounts, StageCounts
from model_deployment.recording.histogram import BOUNDS

#: The status of a request that one version's gate refused and the other's accepts.
REFUSED = "refused"
#: Failures of callers with a key that are told apart within a minute; further ones are not counted.
_MOST_KEYS = 10_000


class Arm(Enum):
    """One of the two versions that are compared."""

    CHAMPION = auto()
    CANDIDATE = auto()


@dataclass(frozen=True, slots=True)
class RequestOutcome:
    """What became of a request."""

    seconds: float
    #: Its status if it failed; empty if it did not.
    failure: str = ""


class RolloutCounter:
    """Counts from the proxy's start on, as long as the rollout is routed."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.stages: RolloutCounts = {}
        #: Rises with each change.
        self.revision = 0
        #: Whether the candidate has served here: if it does not any more, its process is gone.
        self.candidate_served = False
        self._clock = clock
        self._minute = 0
        self._failed: set[tuple[Arm, bytes]] = set()

    def count(
        self, stage: str, arm: Arm, outcome: RequestOutcome, key: bytes | None = None
    ) -> None:
        """A request of a caller was answered.

        Args:
            key: the caller's route key. One key fails once a minute at most: its requests are alike, and
                not independent, as the tests of the guards take them to be.
        """
        if outcome.failure and self._repeated(arm, key):
            return
        counts = self._stage(stage)
        _count(counts.champion if arm is Arm.CHAMPION else counts.candidate, outcome)

    def compare(
        self,
        stage: str,
        champion: RequestOutcome,
        candidate: RequestOutcome,
        key: bytes | None = None,
    ) -> None:
        """A request of a caller and its copy were answered. See :meth:`count`."""
        if candidate.failure and self._repeated(Arm.CANDIDATE, key):
            return
        if champion.failure and self._repeated(Arm.CHAMPION, key):
            return
        counts = self._stage(stage)
        _count(counts.champion, champion)
        _count(counts.candidate, candidate)
        counts.candidate_only += bool(candidate.failure and not champion.failure)
        counts.champion_only += bool(champion.failure and not candidate.failure)

    def leave(self, stage: str, champion: RequestOutcome, key: bytes | None = None) -> None:
        """A request of a caller was answered, and is not copied. See :meth:`count`."""
        if not (champion.failure and self._repeated(Arm.CHAMPION, key)):
            _count(self._stage(stage).uncopied, champion)

    def drop(self, stage: str) -> None:
        """A copy was not sent."""
        self._stage(stage).dropped += 1

    def _stage(self, stage: str) -> StageCounts:
        self.revision += 1
        return self.stages.setdefault(stage, StageCounts())

    def _repeated(self, arm: Arm, key: bytes | None) -> bool:
        if key is None:
            return False
        minute = int(self._clock() // 60)
        if minute != self._minute:
            self._minute = minute
            self._failed.clear()
        if (arm, key) in self._failed or len(self._failed) >= _MOST_KEYS:
            return True
        self._failed.add((arm, key))
        return False


def _count(arm: ArmCounts, outcome: RequestOutcome) -> None:
    arm.requests += 1
    if outcome.failure:
        arm.failures[outcome.failure] = arm.failures.get(outcome.failure, 0) + 1
    else:
        place = bisect_left(BOUNDS, outcome.seconds * 1e3)
        arm.latencies[place] = arm.latencies.get(place, 0) + 1
