"""Metrics of labelled predictions, and their comparison with the baseline: plain Python, for the API.

A report computes more metrics; these are computed at once, without NumPy in the controller. The same judge
(``degradation.metric_verdict``) decides for both whether a metric is worse.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from model_deployment.core.metric_names import baselines, direction
from model_deployment.degradation.metric_verdict import (
    SET,
    Measurement,
    RecordedMetrics,
    consecutive_worse,
    first_set_baselines,
    judge,
    merge_baselines,
)

#: More distinct whole numbers than this are amounts, not classes.
_MOST_CLASSES = 20
#: Most classes whose precision, recall and F1 are averaged, as in a report.
_MOST_AVERAGED = 200


@dataclass(frozen=True, slots=True)
class Scores:
    """Metrics of labelled rows."""

    values: dict[str, float]
    #: The best average of precision, recall and F1, as a report judges it: a run does not say which average
    #: it logged.
    kindest: dict[str, float] = field(default_factory=dict)
    #: Standard errors of the metrics with a closed form; others are estimated later.
    errors: dict[str, float] = field(default_factory=dict)
    #: The metrics of the earlier and of the later half.
    halves: tuple[dict[str, float], ...] = ()


def scores(pairs: Sequence[tuple[Any, Any]]) -> Scores:
    """Metrics of pairs of label and prediction, oldest first."""
    pairs = of_one_value(pairs)
    known = _complete(pairs)
    values = measure(known)
    middle = len(known) // 2
    halves = tuple(
        measure(half) | _kindest(half) for half in (known[:middle], known[middle:]) if values
    )
    errors = _errors_of_amounts(known) if "mse" in values else {}
    errors = {name: errors[name] for name in errors.keys() & values.keys()}
    return Scores(values, _kindest(known), errors, halves)


def of_one_value(pairs: Sequence[tuple[Any, Any]]) -> Sequence[tuple[Any, Any]]:
    """Pairs whose predictions are single values, chosen as a report chooses them, where that is possible.

    Of ``[4.2]`` and ``{"price": 4.2}`` that is the only value, of probabilities the most probable class.
    """
    pairs = [(label, predicted) for label, predicted in pairs if label is not None]
    values = [parts(predicted) for _, predicted in pairs]
    labels = [label for label, _ in pairs]
    sizes = set(map(len, values))
    if len(sizes) != 1:
        return pairs
    classes = set(map(class_name, labels))
    (size,) = sizes
    if size == 1:
        alone = [some[0] for some in values]
        named = any(to_number(label) is None for label in labels)
        if named and classes <= {"0", "1"} and _are_probabilities(alone):
            alone = [int(probability >= 0.5) for probability in alone]
        return list(zip(labels, alone, strict=True))
    numbers = [[to_number(one) for one in some] for some in values]
    probabilities = [[one for one in some if one is not None] for some in numbers]
    sums = all(len(some) == size and abs(sum(some) - 1) <= 1e-3 for some in probabilities)
    if not sums or not classes <= set(map(str, range(size))):
        return pairs
    if size == 2:
        return [
            (label, int(some[1] >= 0.5)) for label, some in zip(labels, probabilities, strict=True)
        ]
    return [
        (label, some.index(max(some))) for label, some in zip(labels, probabilities, strict=True)
    ]


def parts(predicted: Any) -> Sequence[Any]:
    """The values of one prediction: one, or those of several outputs."""
    if type(predicted) is dict:
        return [predicted[name] for name in sorted(predicted)]
    return predicted if type(predicted) is list else [predicted]


def _are_probabilities(values: Sequence[Any]) -> bool:
    numbers = [to_number(value) for value in values]
    within = all(number is not None and 0 <= number <= 1 for number in numbers)
    return within and any(number not in (0, 1) for number in numbers)


def _errors_of_amounts(pairs: Sequence[tuple[Any, Any]]) -> dict[str, float]:
    """Standard errors, as a report computes them."""
    numbers = [(to_number(label), to_number(predicted)) for label, predicted in pairs]
    wrong = [abs(b - a) for a, b in numbers if a is not None and b is not None]
    if len(wrong) < 2:
        return {}
    try:
        mae, mse = _mean_error(wrong), _mean_error([one * one for one in wrong])
    except OverflowError:
        return {}
    rmse = math.sqrt(math.fsum(one * one for one in wrong) / len(wrong))
    return {"mae": mae, "mse": mse, "rmse": mse / (2 * rmse) if rmse else mse}


def _mean_error(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    spread = math.fsum((one - mean) ** 2 for one in values) / (len(values) - 1)
    return math.sqrt(spread / len(values))


def measure(pairs: Sequence[tuple[Any, Any]]) -> dict[str, float]:
    """Metrics of pairs of label and prediction: of amounts, or of classes.

    Values are classes if they are texts, or whole numbers of few kinds, on both sides. Left out are pairs
    without a label or a prediction, and the texts among mostly numbers. Predictions of several values have
    no metrics.
    """
    pairs = _complete(pairs)
    if not pairs or any(type(predicted) in (list, dict) for _, predicted in pairs):
        return {}
    numbers = []
    for label, predicted in pairs:
        one, other = to_number(label), to_number(predicted)
        if one is not None and other is not None:
            numbers.append((one, other))
    if 2 * len(numbers) > len(pairs) and not are_classes(numbers):
        try:
            return _of_amounts(numbers)
        except OverflowError:
            return {}  # the squares of the amounts overflow
    return _of_classes([(class_name(label), class_name(predicted)) for label, predicted in pairs])


def _of_amounts(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    n = len(pairs)
    errors = [predicted - label for label, predicted in pairs]
    mse = math.fsum(error * error for error in errors) / n
    mean = math.fsum(label for label, _ in pairs) / n
    variance = math.fsum((label - mean) ** 2 for label, _ in pairs) / n
    found = {"mae": math.fsum(map(abs, errors)) / n, "mse": mse, "rmse": math.sqrt(mse)}
    if variance > 0:
        found["r2"] = 1 - mse / variance
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _of_classes(pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
    n = len(pairs)
    found = {"accuracy": sum(label == predicted for label, predicted in pairs) / n}
    classes = sorted({name for pair in pairs for name in pair}, key=class_rank)
    if len(classes) == 2:
        # The greater of two classes is the positive one, as in scikit-learn for 0 and 1.
        positive = classes[1]
        hits = sum(label == predicted == positive for label, predicted in pairs)
        positives = sum(predicted == positive for _, predicted in pairs)
        true = sum(label == positive for label, _ in pairs)
        found["precision"] = hits / positives if positives else 0.0
        found["recall"] = hits / true if true else 0.0
        found["f1"] = 2 * hits / (positives + true)
    return found


def comparison(
    baseline: Mapping[str, float],
    now: RecordedMetrics | None,
    *,
    before: Sequence[RecordedMetrics] = (),
    known: Scores | None = None,
    degraded: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Each metric beside its baseline, judged as in a report of the same figures.

    ``worse`` and ``degraded`` are null if the judge cannot decide: without a baseline, a known direction or
    the number of rows, and with fewer than 30 rows.

    Args:
        baseline: metrics of the run.
        now: the current metrics with their number of rows.
        before: metrics that were set earlier, oldest first.
        known: averages and standard errors of ``now``, if it was computed from labels.
        degraded: metrics that the last report calls degraded; they stay degraded while they are worse.
    """
    measured = {} if now is None else _measured(now, known)
    first = first_set_baselines(before, now.ts) if now and now.ts else {}
    held = merge_baselines(baselines(baseline), first)
    running = consecutive_worse(now, before, held) if now and now.source == SET else {}
    rows = []
    for name in sorted(held.keys() | measured.keys()):
        halves = [half[name] for half in known.halves if name in half] if known else []
        lasting = max(running.get(name, 0), int(name in degraded))
        judged = judge(
            name, held.get(name), measured.get(name), halves=halves, worse_before=lasting
        )
        rows.append(
            {
                "metric": name,
                "baseline": held[name].value if name in held else None,
                "baseline_source": held[name].source if name in held else None,
                "current": measured[name].value if name in measured else None,
                "change": judged.change,
                "direction": direction(name),
                "verdict": str(judged.verdict),
                "worse": judged.worse if judged.conclusive else None,
                "degraded": judged.degraded if judged.conclusive else None,
            }
        )
    return rows


def _measured(now: RecordedMetrics, known: Scores | None) -> dict[str, Measurement]:
    """As a report judges them: the best averages, and known standard errors."""
    if known is None:
        return now.measurements()
    judged = replace(now, metrics={**now.metrics, **known.kindest}).measurements()
    return {
        name: replace(one, standard_error=known.errors.get(name, one.standard_error))
        for name, one in judged.items()
    }


def _kindest(pairs: Sequence[tuple[Any, Any]]) -> dict[str, float]:
    """The best of macro average, weighted average and, of two classes, the positive class."""
    taken = measure(pairs)
    named = [(class_name(label), class_name(predicted)) for label, predicted in pairs]
    classes = {one for pair in named for one in pair}
    if "accuracy" not in taken or len(classes) > _MOST_AVERAGED:
        return {}
    best = {name: taken.get(name, 0.0) for name in ("precision", "recall", "f1")}
    scores, weights = [], []
    for name in classes:
        hits = sum(label == predicted == name for label, predicted in named)
        positives = sum(predicted == name for _, predicted in named)
        true = sum(label == name for label, _ in named)
        weights.append(true / len(named))
        scores.append(
            (hits / max(positives, 1), hits / max(true, 1), 2 * hits / (positives + true))
        )
    for place, name in enumerate(best):
        column = [score[place] for score in scores]
        weighted = sum(one * weight for one, weight in zip(column, weights, strict=True))
        best[name] = max(best[name], sum(column) / len(column), weighted)
    return best


def _complete(pairs: Sequence[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    return [pair for pair in pairs if not any(map(is_missing, pair))]


def is_missing(value: Any) -> bool:
    """Whether it is None or NaN."""
    return value is None or (type(value) is float and math.isnan(value))


def to_number(value: Any) -> float | None:
    """The number in a value or a text; None for booleans and other values."""
    if type(value) not in (int, float, str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):  # an integer beyond all floats
        return None
    return number if math.isfinite(number) else None


def are_classes(pairs: Sequence[tuple[float, float]]) -> bool:
    """Whether numbers are few whole ones."""
    values = {value for pair in pairs for value in pair}
    return all(map(float.is_integer, values)) and len(values) <= _MOST_CLASSES


def class_rank(name: str) -> tuple[float, str]:
    """Sort key: numbers first, by size."""
    try:
        value = float(name)
    except ValueError:
        return math.inf, name
    return (math.inf if math.isnan(value) else value), name


def class_name(value: Any) -> str:
    """The class in one spelling: ``1``, ``1.0``, ``"1"``, ``True`` and ``"True"`` are the same."""
    if isinstance(value, bool):
        return str(int(value))
    text = str(value).strip()
    if text.lower() in ("true", "false"):
        return str(int(text.lower() == "true"))
    number = to_number(value)
    return str(int(number)) if number is not None and number.is_integer() else text
