"""Metrics of labelled predictions, and metrics beside their baseline: plain Python, for the API's answers.

The report's own engine measures with more metrics; here it is what can be told at once, without NumPy in
the controller. Whether a metric is worse says the same judge.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from model_deployment.degradation.metric_names import baselines, direction
from model_deployment.degradation.metric_verdict import (
    SET,
    Measurement,
    RecordedMetrics,
    consecutive_worse,
    first_set_baselines,
    judge,
    merge_baselines,
)

#: More different whole numbers than this are amounts and no classes.
_MOST_CLASSES = 20
#: Classes whose precision, recall and F1 are averaged; a report has as many.
_MOST_NAMED = 200


@dataclass(frozen=True, slots=True)
class Scores:
    """Metrics of labelled rows."""

    values: dict[str, float]
    #: Of precision, recall and F1 the kindest average, which a report judges: a run does not say which one
    #: it logged.
    kindest: dict[str, float] = field(default_factory=dict)
    #: Of those that have a closed form; of others it is estimated.
    errors: dict[str, float] = field(default_factory=dict)
    #: The metrics of the earlier and of the later half.
    halves: tuple[dict[str, float], ...] = ()


def scores(pairs: Sequence[tuple[Any, Any]]) -> Scores:
    """Metrics of pairs of label and prediction in the order of time."""
    pairs = _of_one_value(pairs)
    known = [(label, said) for label, said in pairs if not (_is_hole(label) or _is_hole(said))]
    values = measure(known)
    middle = len(known) // 2
    halves = tuple(
        measure(half) | _kindest(half) for half in (known[:middle], known[middle:]) if values
    )
    errors = _errors_of_amounts(known) if "mse" in values else {}
    errors = {name: errors[name] for name in errors.keys() & values.keys()}
    return Scores(values, _kindest(known), errors, halves)


def _of_one_value(pairs: Sequence[tuple[Any, Any]]) -> Sequence[tuple[Any, Any]]:
    """Pairs whose predictions are the value that a report compares with the label, where it finds one.

    That is the only one of ``[4.2]`` and ``{"price": 4.2}``, and of probabilities the class that they say.
    """
    pairs = [(label, said) for label, said in pairs if label is not None]
    parts = [_parts(said) for _, said in pairs]
    labels = [label for label, _ in pairs]
    sizes = set(map(len, parts))
    if len(sizes) != 1:
        return pairs
    classes = set(map(_class, labels))
    (size,) = sizes
    if size == 1:
        alone = [part[0] for part in parts]
        named = any(_number(label) is None for label in labels)
        if named and classes <= {"0", "1"} and _are_chances(alone):
            alone = [int(chance >= 0.5) for chance in alone]
        return list(zip(labels, alone, strict=True))
    numbers = [[_number(one) for one in part] for part in parts]
    chances = [[one for one in some if one is not None] for some in numbers]
    sums = all(len(some) == size and abs(sum(some) - 1) <= 1e-3 for some in chances)
    if not sums or not classes <= set(map(str, range(size))):
        return pairs
    if size == 2:
        return [(label, int(some[1] >= 0.5)) for label, some in zip(labels, chances, strict=True)]
    return [(label, some.index(max(some))) for label, some in zip(labels, chances, strict=True)]


def _parts(said: Any) -> Sequence[Any]:
    if type(said) is dict:
        return [said[name] for name in sorted(said)]
    return said if type(said) is list else [said]


def _are_chances(values: Sequence[Any]) -> bool:
    numbers = [_number(value) for value in values]
    within = all(number is not None and 0 <= number <= 1 for number in numbers)
    return within and any(number not in (0, 1) for number in numbers)


def _errors_of_amounts(pairs: Sequence[tuple[Any, Any]]) -> dict[str, float]:
    """Standard errors, as a report has them."""
    numbers = [(_number(label), _number(said)) for label, said in pairs]
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

    Classes are whatever is no number, and whole numbers of few kinds, on both sides. Pairs without a
    label or a prediction are left out, and so are the few that are no numbers where most are. Of
    predictions of several values there is no metric.
    """
    pairs = [(label, said) for label, said in pairs if not (_is_hole(label) or _is_hole(said))]
    if not pairs or any(type(said) in (list, dict) for _, said in pairs):
        return {}
    numbers = []
    for label, said in pairs:
        one, other = _number(label), _number(said)
        if one is not None and other is not None:
            numbers.append((one, other))
    if 2 * len(numbers) > len(pairs) and not _are_classes(numbers):
        try:
            return _of_amounts(numbers)
        except OverflowError:
            return {}  # amounts so large that their squares are no numbers
    return _of_classes([(_class(label), _class(said)) for label, said in pairs])


def _of_amounts(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    n = len(pairs)
    errors = [said - label for label, said in pairs]
    mse = math.fsum(error * error for error in errors) / n
    mean = math.fsum(label for label, _ in pairs) / n
    variance = math.fsum((label - mean) ** 2 for label, _ in pairs) / n
    found = {"mae": math.fsum(map(abs, errors)) / n, "mse": mse, "rmse": math.sqrt(mse)}
    if variance > 0:
        found["r2"] = 1 - mse / variance
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _of_classes(pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
    n = len(pairs)
    found = {"accuracy": sum(label == said for label, said in pairs) / n}
    classes = sorted({name for pair in pairs for name in pair}, key=_rank)
    if len(classes) == 2:
        # Of two, the greater is the positive one, as scikit-learn has it for 0 and 1.
        positive = classes[1]
        hits = sum(label == said == positive for label, said in pairs)
        told = sum(said == positive for _, said in pairs)
        true = sum(label == positive for label, _ in pairs)
        found["precision"] = hits / told if told else 0.0
        found["recall"] = hits / true if true else 0.0
        found["f1"] = 2 * hits / (told + true)
    return found


def comparison(
    baseline: Mapping[str, float],
    now: RecordedMetrics | None,
    *,
    before: Sequence[RecordedMetrics] = (),
    known: Scores | None = None,
    degraded: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Each metric beside its baseline, as a report of the same figures has it.

    ``worse`` and ``degraded`` are null where that cannot be told: without a baseline, a known
    direction, or the number of rows, and under 30 rows.

    Args:
        baseline: metrics of the run.
        now: the current metrics, with the rows they were measured on.
        before: what was set earlier, oldest first.
        known: of metrics of known rows, what else is known of them.
        degraded: metrics that the last report calls degraded; while they are worse they stay so.
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
    """As a report judges them: the kindest averages, and standard errors that are known."""
    if known is None:
        return now.measurements()
    judged = replace(now, metrics={**now.metrics, **known.kindest}).measurements()
    return {
        name: replace(one, standard_error=known.errors.get(name, one.standard_error))
        for name, one in judged.items()
    }


def _kindest(pairs: Sequence[tuple[Any, Any]]) -> dict[str, float]:
    """Of classes: macro or weighted, or of two what :func:`measure` takes, that of the positive one."""
    taken = measure(pairs)
    named = [(_class(label), _class(said)) for label, said in pairs]
    classes = {one for pair in named for one in pair}
    if "accuracy" not in taken or len(classes) > _MOST_NAMED:
        return {}
    best = {name: taken.get(name, 0.0) for name in ("precision", "recall", "f1")}
    scores, weights = [], []
    for name in classes:
        hits = sum(label == said == name for label, said in named)
        told = sum(said == name for _, said in named)
        true = sum(label == name for label, _ in named)
        weights.append(true / len(named))
        scores.append((hits / max(told, 1), hits / max(true, 1), 2 * hits / (told + true)))
    for place, name in enumerate(best):
        column = [score[place] for score in scores]
        weighted = sum(one * weight for one, weight in zip(column, weights, strict=True))
        best[name] = max(best[name], sum(column) / len(column), weighted)
    return best


def _is_hole(value: Any) -> bool:
    return value is None or (type(value) is float and math.isnan(value))


def _number(value: Any) -> float | None:
    """A number, also one that is written as text; a truth value is none."""
    if type(value) not in (int, float, str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):  # an integer that no float can hold
        return None
    return number if math.isfinite(number) else None


def _are_classes(pairs: Sequence[tuple[float, float]]) -> bool:
    values = {value for pair in pairs for value in pair}
    return all(map(float.is_integer, values)) and len(values) <= _MOST_CLASSES


def _rank(name: str) -> tuple[float, str]:
    """Numbers by their size, and before all else."""
    try:
        value = float(name)
    except ValueError:
        return math.inf, name
    return (math.inf if math.isnan(value) else value), name


def _class(value: Any) -> str:
    """In one spelling: ``1``, ``1.0``, ``"1"``, ``True`` and ``"True"`` are the same class."""
    if isinstance(value, bool):
        return str(int(value))
    text = str(value).strip()
    if text.lower() in ("true", "false"):
        return str(int(text.lower() == "true"))
    number = _number(value)
    return str(int(number)) if number is not None and number.is_integer() else text
