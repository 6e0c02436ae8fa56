"""What labels say about the answers of two versions during a canary."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

#: Answers of the champion that :func:`poor_bound` needs.
MIN_LOSSES = 100


@dataclass(frozen=True, slots=True)
class LabelledLosses:
    """How many answers of each version were poor, as sums since the canary began.

    The unit is an answer: rows of one request depend on each other, so they count once, with the mean of
    their losses. The loss of a row is its absolute error (regression), or 1 if its class is wrong, else
    0. An answer is poor if its loss is above the bound.
    """

    #: See :func:`poor_bound`. If it changes, what was counted before is left out.
    bound: float
    champion_answers: int = 0
    candidate_answers: int = 0
    champion_poor: int = 0
    candidate_poor: int = 0
    #: The name of the metric, and its values, for people; the smaller, the better.
    metric: str = "error"
    champion_error: float | None = None
    candidate_error: float | None = None


def poor_bound(losses: Iterable[float]) -> float | None:
    """The loss above which an answer is poor: the 90th percentile of the champion's losses.

    Where no loss is above the percentile, as with classes, it is the largest loss that is exceeded.

    Args:
        losses: of at least :data:`MIN_LOSSES` answers of the champion, from before the rollout or from
            its beginning.

    Returns:
        None where there are too few losses, or all are the same.
    """
    known = sorted(loss for loss in losses if math.isfinite(loss))
    if len(known) < MIN_LOSSES or known[0] == known[-1]:
        return None
    bound = known[math.ceil(0.9 * len(known)) - 1]
    return bound if bound < known[-1] else max(loss for loss in known if loss < bound)
