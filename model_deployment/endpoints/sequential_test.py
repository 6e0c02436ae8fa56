"""Tests of two versions that stay valid however often they are looked at.

Each test is an e-process: a likelihood ratio averaged over alternatives, which begins at 1 and whose
expectation stays at most 1 while the null hypothesis holds. By Ville's inequality it ever reaches
1/alpha with a probability of at most alpha, so it may be looked at after each request.

- Two versions that answer different requests: :class:`TwoArmTest`. The requests between two looks are a
  block. Given how many requests and events the block has, the events of the candidate have Fisher's
  noncentral hypergeometric distribution, in which neither the rate of the events nor the share of the
  candidate appears; both may change from block to block.
- Two versions that answer the same requests: :func:`pair_evidence`. Of the requests that only one version
  fails, each is the candidate's with a probability of 1/2.

Sources: M. Lindon and A. Malek, "Anytime-Valid Inference for Multinomial Count Data", NeurIPS 2022
(mixtures); R. Turner, A. Ly and P. Grünwald, "Generic E-Variables for Exact Sequential k-Sample Tests that
allow for Optional Stopping", 2024 (tests by blocks).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

#: Odds ratios of the alternatives. Below the first one, evidence hardly grows: a difference of a fifth
#: in the odds stops nobody.
ALTERNATIVES = tuple(1.5 * 1.4**step for step in range(13))
#: Terms of a sum below this share of the largest one are left out.
_NEGLIGIBLE = 1e-18
#: The largest evidence that is told; the exponential of more overflows in the end.
_MOST = 1e12
#: Up to so many, powers of a million requests do not overflow.
_FEW_TERMS = 20
#: Requests of a block, at least. Of one event in a block of n requests, 1/n of the information is lost.
BLOCK = 20


class Block(NamedTuple):
    """What was counted between two looks: requests, and those among them that are events."""

    champion: int
    candidate: int
    champion_events: int
    candidate_events: int

    def less(self, earlier: "Block") -> "Block":
        """What was counted since an earlier look."""
        return Block(*(max(now - then, 0) for now, then in zip(self, earlier, strict=True)))

    def plus(self, other: "Block") -> "Block":
        return Block(*(one + more for one, more in zip(self, other, strict=True)))


NO_COUNTS = Block(0, 0, 0, 0)


def log_mean_exp(logs: Sequence[float]) -> float:
    """The logarithm of the mean of what these are the logarithms of."""
    most = max(logs)
    return most + math.log(sum(math.exp(one - most) for one in logs) / len(logs))


def evidence(log: float) -> float:
    """An e-value from its logarithm, for people and for JSON."""
    return math.exp(min(log, math.log(_MOST)))


def pair_evidence(candidate_only: int, champion_only: int) -> float:
    """The logarithm of the evidence that the candidate fails requests which the champion does not.

    Args:
        candidate_only: requests that the candidate failed and the champion did not.
        champion_only: the reverse.
    """
    pairs = candidate_only + champion_only
    return log_mean_exp(
        [
            pairs * math.log(2 / (1 + odds)) + candidate_only * math.log(odds)
            for odds in ALTERNATIVES
        ]
    )


@dataclass(slots=True)
class TwoArmTest:
    """Whether the odds of an event are higher with the candidate than with the champion.

    It is fed with sums, by stage: in one stage the candidate's share stays roughly the same, so that a
    rate of events that changes from hour to hour does not look like a difference of the versions.
    """

    #: Odds ratio that is tolerated: the null hypothesis is any ratio up to it.
    margin: float = 1.0
    #: For each of :data:`ALTERNATIVES`, times the margin: the logarithm of its likelihood ratio.
    logs: list[float] = field(default_factory=lambda: [0.0] * len(ALTERNATIVES))
    #: The largest logarithm of the evidence so far.
    peak: float = 0.0
    #: The sums of each stage that were taken into account.
    taken: dict[str, Block] = field(default_factory=dict)

    @property
    def log_evidence(self) -> float:
        return log_mean_exp(self.logs)

    def feed(self, sums: Mapping[str, Block], current: str) -> None:
        """Take into account what was counted since the last call.

        Only the numbers of requests decide when a block is complete; what became of them must not.

        Args:
            sums: of each stage, since the rollout began.
            current: the stage that is under way. Of the others, what is left is taken.
        """
        for stage, total in sums.items():
            block = total.less(self.taken.get(stage, NO_COUNTS))
            least = BLOCK if stage == current else 1
            if block.champion and block.candidate and block.champion + block.candidate >= least:
                self.add(block)
                self.taken[stage] = total

    def skip(self, sums: Mapping[str, Block]) -> None:
        """Leave out what was counted until now."""
        self.taken = dict(sums)

    def add(self, block: Block) -> None:
        """Take one block into account."""
        events = block.champion_events + block.candidate_events
        lowest, highest = max(0, events - block.champion), min(block.candidate, events)
        if lowest >= highest or not lowest <= block.candidate_events <= highest:
            return
        shape = (block.champion, block.candidate, events)
        of_sums = _log_polynomial if highest - lowest <= _FEW_TERMS else _log_sums
        null, *sums = of_sums(*shape, (self.margin, *(self.margin * r for r in ALTERNATIVES)))
        for place, (ratio, alternative) in enumerate(zip(ALTERNATIVES, sums, strict=True)):
            self.logs[place] += block.candidate_events * math.log(ratio) - (alternative - null)
        self.peak = max(self.peak, self.log_evidence)

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        taken = {stage: [*block] for stage, block in self.taken.items()}
        return {"margin": self.margin, "logs": [*self.logs], "peak": self.peak, "taken": taken}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], margin: float) -> Self:
        """The test as it was saved. With another margin or other alternatives the evidence begins anew."""
        taken = {stage: Block(*block) for stage, block in saved.get("taken", {}).items()}
        if saved.get("margin") != margin or len(saved.get("logs", ())) != len(ALTERNATIVES):
            return cls(margin, taken=taken)
        return cls(margin, [*saved["logs"]], saved["peak"], taken)


def _log_polynomial(
    champion: int, candidate: int, events: int, ratios: Sequence[float]
) -> list[float]:
    """As :func:`_log_sums`, but for the same summand for each ratio, where few terms are to be summed."""
    lowest, highest = max(0, events - champion), min(candidate, events)
    weights = [1.0]
    for k in range(lowest, highest):
        odds = (candidate - k) * (events - k) / ((k + 1) * (champion - events + k + 1))
        weights.append(weights[-1] * odds)
    found = []
    for ratio in ratios:
        total = 0.0
        for weight in reversed(weights):
            total = total * ratio + weight
        found.append(lowest * math.log(ratio) + math.log(total))
    return found


def _log_sums(champion: int, candidate: int, events: int, ratios: Sequence[float]) -> list[float]:
    """The logarithms of the sums over k of C(candidate, k) C(champion, events - k) ratio^k."""
    return [_log_sum(champion, candidate, events, ratio) for ratio in ratios]


def _log_sum(champion: int, candidate: int, events: int, ratio: float) -> float:
    """One of :func:`_log_sums`.

    The terms are summed from the largest one outwards, until they no longer count: some ten standard
    deviations, whatever the size of the block.
    """
    lowest, highest = max(0, events - champion), min(candidate, events)
    # The largest k whose term is not smaller than the one before: a root of a quadratic equation.
    linear = (candidate + events + 2) * ratio + champion - events
    constant = (candidate + 1) * (events + 1) * ratio
    root = math.sqrt(max(linear * linear - 4 * (ratio - 1) * constant, 0.0))
    mode = min(max(int(2 * constant / (linear + root)), lowest), highest)
    total = term = 1.0
    for k in range(mode, highest):
        term *= ratio * (candidate - k) * (events - k) / ((k + 1) * (champion - events + k + 1))
        total += term
        if term < _NEGLIGIBLE:
            break
    term = 1.0
    for k in range(mode, lowest, -1):
        term *= k * (champion - events + k) / (ratio * (candidate - k + 1) * (events - k + 1))
        total += term
        if term < _NEGLIGIBLE:
            break
    return (
        mode * math.log(ratio)
        + _log_choose(candidate, mode)
        + _log_choose(champion, events - mode)
        + math.log(total)
    )


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
