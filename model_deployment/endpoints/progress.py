"""What the loop knows of rollouts between its ticks; with the controller it is lost, and found again."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from model_deployment.endpoints.background import RolloutWork
from model_deployment.endpoints.decide import Refusal, Work
from model_deployment.endpoints.findings import CandidateFinding, Judgement, Outcome

#: Seconds after which a refused deploy, and an inconclusive finding, is tried again; a finding after so
#: many times the time that it took, so that most of the time nothing is sent to the candidate.
_AGAIN, _REST = 5.0, 10.0


class Progress:
    """By rollout: what is being done, what was found, and what was refused."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.work = RolloutWork(wake)
        self.judgements: dict[int, Judgement] = {}
        self._findings: dict[int, dict[str, Any]] = {}
        self._retry_at: dict[int, float] = {}
        self._refusals: dict[int, tuple[float, Refusal]] = {}

    def found(self, rollout: int, work: Work, finding: CandidateFinding, took: float) -> None:
        """Note what was found, and how many seconds that took."""
        self._findings.setdefault(rollout, {})[str(work)] = finding
        self._retry_at[rollout] = time.monotonic() + max(_AGAIN, _REST * took)

    def deployed(self, rollout: int) -> None:
        """The candidate was deployed for the rollout."""
        self._findings.setdefault(rollout, {})["deployed"] = True

    def findings(self, rollout: int) -> dict[str, Any]:
        """By the names of the members of :class:`Evidence`."""
        return dict(self._findings.get(rollout, {}))

    def may_retry(self, rollout: int) -> bool:
        """Whether it is time to try again what was inconclusive."""
        return time.monotonic() >= self._retry_at.get(rollout, 0.0)

    def refused(self, rollout: int, refusal: Refusal) -> None:
        until = float("inf") if refusal.permanent else time.monotonic() + _AGAIN
        self._refusals[rollout] = (until, refusal)

    def refusal(self, rollout: int) -> Refusal | None:
        """Why the last deploy was refused; None when it is time to try again."""
        until, refusal = self._refusals.get(rollout, (0.0, None))
        return refusal if time.monotonic() < until else None

    def keep(self, rollouts: Iterable[int]) -> None:
        """Forget all other rollouts."""
        kept = {*rollouts}
        known = {*self.judgements, *self._findings, *self._retry_at, *self._refusals}
        known |= self.work.rollouts
        for rollout in known - kept:
            self.work.cancel(rollout)
            self.judgements.pop(rollout, None)
            self._findings.pop(rollout, None)
            self._retry_at.pop(rollout, None)
            self._refusals.pop(rollout, None)


def broken_off(work: Work, error: Exception) -> CandidateFinding:
    """What is found when a piece of work ends with an error of ours."""
    return CandidateFinding(
        Outcome.INCONCLUSIVE, f"the {work} broke off: {type(error).__name__}: {error}"
    )


def guards_broken(error: Exception) -> Judgement:
    """What the guards say when they end with an error of ours."""
    text = f"the guards broke off: {type(error).__name__}: {error}"
    return Judgement(Outcome.INCONCLUSIVE, text)
