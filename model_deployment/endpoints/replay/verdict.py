"""The verdict over replayed requests: whether a candidate may meet callers. Pure.

Captured requests are sent to the candidate, and its answers are compared with the champion's. Both got the
same requests, so all comparisons are of pairs.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from model_deployment.core.rollout_policy import GuardLimits
from model_deployment.endpoints.findings import CandidateFinding, Outcome
from model_deployment.endpoints.replay.replayed import AnswerKind, Movement, ReplayedPair, movement
from model_deployment.endpoints.sequential_test import evidence, pair_evidence
from model_deployment.metrics.losses import row_losses
from model_deployment.rendering.numbers import count, milliseconds, number, percent

#: Probability that a candidate as good as the champion is stopped, for failures and for quality.
ALPHA = 0.01
#: Pairs that a verdict needs, unless fewer were asked for; labelled rows that quality needs.
MIN_PAIRS, MIN_LABELLED = 20, 30
#: A candidate that looks worse by more than the tolerance is held if chance makes it look so less often.
_DOUBT = 0.2
#: So many first requests that only the candidate failed stop it.
_FIRST = 3


@dataclass(frozen=True, slots=True)
class _Part:
    """What one comparison says."""

    outcome: Outcome
    text: str
    figures: dict[str, Any]


def verdict(
    pairs: Sequence[ReplayedPair],
    asked: int,
    guard: GuardLimits,
    candidate: int,
    champion: int,
    doubted: int = 0,
) -> CandidateFinding:
    """What the replay says about a candidate.

    Args:
        pairs: in the order in which they were sent.
        asked: requests that the policy wants to be replayed.
        candidate: its version.
        champion: its version.
        doubted: earlier replays of the rollout that left a doubt about its quality. Each one halves the
            probability at which the next may be wrong, so that all of them together stay below 2 %.

    Returns:
        ``FAILED``: the candidate fails or refuses what the champion answers, or its quality is worse, by
        more than chance explains. ``INCONCLUSIVE``: there are too few pairs, or it looks worse than it may
        and more data could tell. Else ``PASSED``.
    """
    answered = sum(pair.champion.kind is AnswerKind.OK for pair in pairs)
    names = _Versions(candidate, champion)
    parts = [
        _failures(pairs, names),
        _quality(pairs, guard.quality, names, ALPHA / 2**doubted),
        _moved(pairs, guard.predictions, names),
        _latency(pairs, names),
    ]
    figures: dict[str, Any] = {"pairs": len(pairs), "asked": asked, "answered": answered}
    for part in parts:
        figures |= part.figures
    figures["doubted"] = doubted + (parts[1].outcome is Outcome.INCONCLUSIVE)
    failed = [part.text for part in parts if part.outcome is Outcome.FAILED]
    if failed:
        return CandidateFinding(Outcome.FAILED, "; ".join(failed), figures)
    least = min(MIN_PAIRS, asked)
    if answered < least:
        missing = (
            f"{answered} of {least} captured requests that version {champion} answers were replayed"
        )
        return CandidateFinding(Outcome.INCONCLUSIVE, missing, figures)
    doubts = [part.text for part in parts if part.outcome is Outcome.INCONCLUSIVE]
    if doubts:
        return CandidateFinding(Outcome.INCONCLUSIVE, "; ".join(doubts), figures)
    said = [part.text for part in parts if part.text]
    reason = "; ".join([f"{count(len(pairs), 'captured request')} replayed", *said])
    return CandidateFinding(Outcome.PASSED, reason, figures)


@dataclass(frozen=True, slots=True)
class _Versions:
    candidate: int
    champion: int


def _failures(pairs: Sequence[ReplayedPair], names: _Versions) -> _Part:
    """Requests that only one of the versions answers with a prediction for each row."""
    alone = [pair.champion.complete and not pair.candidate.complete for pair in pairs]
    candidate = sum(alone)
    champion = sum(pair.candidate.complete and not pair.champion.complete for pair in pairs)
    kinds = [pair.candidate.kind for pair, one in zip(pairs, alone, strict=True) if one]
    how = {
        "refused": kinds.count(AnswerKind.REFUSED),
        "failed": kinds.count(AnswerKind.FAILED),
        "without_prediction": kinds.count(AnswerKind.OK),
    }
    log = pair_evidence(candidate, champion)
    first = len(pairs) >= _FIRST and all(alone[:_FIRST])
    bad = log >= math.log(1 / ALPHA) or first
    words = {
        "refused": "refused",
        "failed": "failed",
        "without_prediction": "left without a prediction",
    }
    detail = ", ".join(f"{words[name]} {number(times)}" for name, times in how.items() if times)
    text = (
        f"of {count(len(pairs), 'request')} version {names.candidate} {detail or 'failed none'} that "
        f"version {names.champion} answers"
    )
    if champion:
        text += f", and answers {number(champion)} that version {names.champion} does not"
    return _Part(
        Outcome.FAILED if bad else Outcome.PASSED,
        text,
        {
            "failures": {
                "candidate_only": candidate,
                "champion_only": champion,
                **how,
                "evidence": evidence(log),
                "limit": 1 / ALPHA,
            }
        },
    )


def _quality(
    pairs: Sequence[ReplayedPair], tolerance: float, names: _Versions, alpha: float
) -> _Part:
    """Losses of both versions on the rows with a label."""
    by_request = [list(pair.labelled) for pair in pairs]
    rows = [row for some in by_request for row in some]
    found = row_losses(*([row[place] for row in rows] for place in range(3)))
    ends = [0]
    for some in by_request:
        ends.append(ends[-1] + len(some))
    kept = [
        [(one, other) for one, other in zip(*(x[a:b] for x in found.losses), strict=True)
         if one is not None and other is not None]
        for a, b in pairwise(ends)
    ]  # fmt: skip
    groups = [some for some in kept if some]
    losses = [pair for some in groups for pair in some]
    if tolerance <= 0 or len(losses) < MIN_LABELLED:
        text = f"quality unknown: {len(losses)} of {MIN_LABELLED} labelled rows" if rows else ""
        return _Part(Outcome.PASSED, text, {"labelled": len(losses)})
    power = 1 if found.classes else 2
    apart = [[other**power - one**power for one, other in some] for some in groups]
    # Rows of one request depend on each other, so requests are compared if there are enough of them.
    units = apart if len(apart) >= MIN_LABELLED else [[one] for some in apart for one in some]
    chance = _chance(units)
    champion, candidate = (found.error([pair[place] for pair in losses]) for place in (0, 1))
    worse = candidate > champion * (1 + tolerance)
    outcome = Outcome.PASSED
    if worse and chance < _DOUBT:
        outcome = Outcome.FAILED if chance < alpha else Outcome.INCONCLUSIVE
    text = (
        f"{found.metric} {number(candidate)} on {count(len(losses), 'labelled row')}, version "
        f"{names.champion}: {number(champion)}"
    )
    if outcome is Outcome.FAILED:
        text = f"version {names.candidate} is worse: {text} (by chance: {percent(chance)})"
    elif outcome is Outcome.INCONCLUSIVE:
        text = (
            f"version {names.candidate} looks worse than it may ({percent(tolerance)}): {text}; by "
            f"chance alone with a probability of {percent(chance)}: more labels are needed, or a decision"
        )
    figures = {"metric": found.metric, "champion": champion, "candidate": candidate, "p": chance}
    return _Part(outcome, text, {"labelled": len(losses), "quality": figures})


def _chance(units: Sequence[Sequence[float]]) -> float:
    """One-sided p-value of the mean of all differences being above zero.

    The t statistic of a ratio estimator with units as clusters, which is the usual one where each unit has
    one row; its distribution is taken to be normal (Cochran, Sampling Techniques, 1977, section 6.3).
    """
    total, rows = math.fsum(map(math.fsum, units)), sum(map(len, units))
    mean = total / rows
    squares = math.fsum((math.fsum(unit) - mean * len(unit)) ** 2 for unit in units)
    if squares <= 0:
        return 0.0 if total > 0 else 1.0
    deviation = math.sqrt(squares * len(units) / (len(units) - 1))
    return 1 - statistics.NormalDist().cdf(total / deviation)


def _moved(pairs: Sequence[ReplayedPair], stops: bool, names: _Versions) -> _Part:
    """How far the predictions are apart."""
    found = movement([row for pair in pairs for row in pair.compared])
    if found is None:
        return _Part(Outcome.PASSED, "", {})
    outcome = Outcome.FAILED if stops and found.beyond_spread else Outcome.PASSED
    return _Part(outcome, _words(found, names), {"predictions": found.as_dict()})


def _words(found: Movement, names: _Versions) -> str:
    own = f"version {names.champion}'s own"
    if found.classes:
        text = f"{percent(found.difference)} of the predictions differ"
        own = f"two of {own} differ with {percent(found.spread or 0.0)}"
    else:
        text = f"predictions differ by {number(found.difference)} in the median"
        own = f"{own} spread is {number(found.spread)}"
    return f"{text}, more than the spread: {own}" if found.beyond_spread else f"{text} ({own})"


def _latency(pairs: Sequence[ReplayedPair], names: _Versions) -> _Part:
    """Medians of both versions: information only, a replay is no load."""
    both = [
        (pair.champion.latency_ms, pair.candidate.latency_ms)
        for pair in pairs
        if pair.champion.kind is pair.candidate.kind is AnswerKind.OK
    ]
    known = [(one, other) for one, other in both if one is not None and other is not None]
    if not known:
        return _Part(Outcome.PASSED, "", {})
    champion, candidate = (statistics.median([pair[place] for pair in known]) for place in (0, 1))
    text = (
        f"{milliseconds(candidate)} a request in the median, version {names.champion}: "
        f"{milliseconds(champion)}"
    )
    return _Part(
        Outcome.PASSED, text, {"latency_ms": {"champion": champion, "candidate": candidate}}
    )
