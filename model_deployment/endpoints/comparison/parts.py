"""Champion beside candidate in figures: requests, failures, latencies, predictions and quality. Pure."""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from model_deployment.core.rollout_counts import ArmCounts, StageCounts
from model_deployment.endpoints.labelled_answers import LabelledAnswer
from model_deployment.endpoints.replay.replayed import Movement, movement
from model_deployment.metrics.losses import RowLosses, row_losses
from model_deployment.metrics.scores import are_classes, class_name, parts, to_number
from model_deployment.recording.histogram import Histogram

#: Standard deviations on both sides of a value that hold 95 % of a normal distribution.
_95 = 1.96
#: Fewest labelled answers of a version whose error is compared.
_FEW = 10


def arm(counts: ArmCounts) -> dict[str, Any]:
    """What one version did in one stage. Shares are 0 to 1, times are milliseconds."""
    latencies = Histogram(counts.latencies)
    requests, failed = counts.requests, min(counts.failed, counts.requests)
    return {
        "requests": requests,
        "failed": counts.failed,
        "failures": dict(sorted(counts.failures.items())),
        "error_rate": failed / requests if requests else None,
        "error_interval": wilson(failed, requests),
        "p50_ms": latencies.percentile(0.5),
        "p95_ms": latencies.percentile(0.95),
    }


def stage(counts: StageCounts) -> dict[str, Any]:
    return {
        "champion": arm(counts.champion),
        "candidate": arm(counts.candidate),
        "candidate_only": counts.candidate_only,
        "champion_only": counts.champion_only,
        "dropped": counts.dropped,
    }


def wilson(events: int, trials: int) -> list[float] | None:
    """A 95 % interval of a share; None without trials.

    Wilson's score interval (E. B. Wilson, JASA 22, 1927), which also holds for few trials.
    """
    if not trials:
        return None
    share = events / trials
    middle = (share + _95**2 / (2 * trials)) / (1 + _95**2 / trials)
    spread = math.sqrt(share * (1 - share) / trials + _95**2 / (4 * trials**2))
    half = _95 * spread / (1 + _95**2 / trials)
    low = middle - half if events else 0.0
    high = middle + half if events < trials else 1.0
    return [max(0.0, low), min(1.0, high)]


def paired_predictions(rows: Sequence[tuple[Any, Any]]) -> dict[str, Any] | None:
    """How far the predictions for the same rows are apart."""
    found = movement(rows)
    return None if found is None else found.as_dict()


def unpaired_predictions(
    champion: Sequence[Any], candidate: Sequence[Any]
) -> dict[str, Any] | None:
    """How far the predictions for different rows are apart; None if one version has none.

    Of amounts that is the difference of the medians, of classes the share of predictions that would have
    to move for both distributions to be the same (total variation distance).
    """
    if not champion or not candidate:
        return None
    both = [[_alone(value) for value in values] for values in (champion, candidate)]
    numbers = [[to_number(value) for value in values] for values in both]
    amounts = [[one for one in some if one is not None] for some in numbers]
    complete = all(len(some) == len(values) for some, values in zip(amounts, both, strict=True))
    if complete and not are_classes([(one, one) for some in amounts for one in some]):
        one, other = amounts
        apart = abs(statistics.median(one) - statistics.median(other))
        spread = statistics.pstdev(one) if len(one) > 1 else 0.0
        return Movement(len(other), apart, spread, classes=False).as_dict()
    first, second = ([class_name(value) for value in values] for values in both)
    return Movement(len(second), _distance(first, second), None, classes=True).as_dict()


def _distance(one: Sequence[str], other: Sequence[str]) -> float:
    first, second = Counter(one), Counter(other)
    return (
        sum(
            abs(first[name] / len(one) - second[name] / len(other))
            for name in first.keys() | second.keys()
        )
        / 2
    )


def _alone(value: Any) -> Any:
    """The only value of a prediction; of several, the first one stands for all."""
    some = parts(value)
    return some[0] if some else None


def paired_quality(rows: Sequence[tuple[Any, Any, Any]]) -> dict[str, Any] | None:
    """The errors of both versions on the same rows.

    Args:
        rows: label, and what champion and candidate predicted.
    """
    found = row_losses(*([row[place] for row in rows] for place in range(3)))
    both = [
        (one, other)
        for one, other in zip(*found.losses, strict=True)
        if one is not None and other is not None
    ]
    if len(both) < _FEW:
        return None
    return _quality(found, [one for one, _ in both], [other for _, other in both])


def unpaired_quality(
    champion: Sequence[LabelledAnswer], candidate: Sequence[LabelledAnswer]
) -> dict[str, Any] | None:
    """The errors of both versions, each on its own answers."""
    rows = [row for some in (champion, candidate) for answer in some for row in answer.rows]
    # Together, so that all are taken for amounts, or all for classes.
    found = row_losses([label for label, _ in rows], [said for _, said in rows])
    middle = sum(len(answer.rows) for answer in champion)
    one, other = (
        [loss for loss in some if loss is not None]
        for some in (found.losses[0][:middle], found.losses[0][middle:])
    )
    return _quality(found, one, other) if min(len(one), len(other)) >= _FEW else None


def _quality(
    found: RowLosses, champion: Sequence[float], candidate: Sequence[float]
) -> dict[str, Any]:
    return {
        "metric": found.metric,
        "champion": found.error(champion),
        "champion_interval": _interval(found, champion),
        "champion_rows": len(champion),
        "candidate": found.error(candidate),
        "candidate_interval": _interval(found, candidate),
        "candidate_rows": len(candidate),
    }


def _interval(found: RowLosses, losses: Sequence[float]) -> list[float] | None:
    """95 % of a share of wrong classes, or of the square root of a mean of squares."""
    if found.classes:
        return wilson(round(math.fsum(losses)), len(losses))
    squares = [loss * loss for loss in losses]
    mean = math.fsum(squares) / len(squares)
    if len(squares) < 2:
        return None
    error = statistics.stdev(squares) / math.sqrt(len(squares))
    return [math.sqrt(max(0.0, mean - _95 * error)), math.sqrt(mean + _95 * error)]
