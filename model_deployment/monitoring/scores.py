"""Metrics of labelled predictions, and metrics beside their baseline: plain Python, for the API's answers.

The report's own engine does this with standard errors and more metrics; here it is what can be told at
once, without NumPy in the controller.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from model_deployment.monitoring.report.names import HIGHER, baselines, direction, normalised

#: More different whole numbers than this are amounts and no classes.
_MOST_CLASSES = 20
#: A metric counts as worse beyond this share of its baseline, as in a report.
_TOLERANCE = 0.1
#: Labels below which nothing is called degraded.
_FEWEST = 30
#: Shares, whose chance is that of a share.
_SHARES = frozenset({"accuracy", "f1", "precision", "recall", "roc_auc"})


def measure(pairs: Sequence[tuple[Any, Any]]) -> dict[str, float]:
    """Metrics of pairs of label and prediction: of amounts, or of classes.

    Classes are whatever is no number, and whole numbers of few kinds, on both sides. Pairs without a
    label or a prediction are left out, and so are the few that are no numbers where most are. Of
    predictions of several values there is no metric here; a report may have some.
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
    baseline: Mapping[str, float], current: Mapping[str, float], n: int | None
) -> list[dict[str, Any]]:
    """Each metric beside its baseline.

    ``degraded`` is true where it is worse by more than a tenth and by more than chance explains, null
    where that cannot be told. It takes two such windows running for a report to call a model degraded.

    Args:
        n: rows the current metrics were measured on, None if nobody knows.
    """
    known = baselines(baseline)
    now = {normalised(name)[0]: value for name, value in current.items()}
    rows = []
    for name in sorted(known.keys() | now.keys()):
        before = known[name].value if name in known else None
        after, way = now.get(name), direction(name)
        change = after - before if after is not None and before is not None else None
        rows.append(
            {
                "metric": name,
                "baseline": before,
                "baseline_source": known[name].source if name in known else None,
                "current": after,
                "change": change,
                "direction": way,
                "degraded": _degraded(name, before, after, way, n),
            }
        )
    return rows


def _degraded(
    name: str, before: float | None, after: float | None, way: str | None, n: int | None
) -> bool | None:
    if before is None or after is None or way is None or (n is not None and n < _FEWEST):
        return None
    loss = before - after if way == HIGHER else after - before
    if loss <= _TOLERANCE * abs(before):
        return False
    if n is None:
        return True
    if name in _SHARES:
        share = min(max(after, 0.0), 1.0)
        noise = math.sqrt(share * (1 - share) / n)
    else:
        noise = abs(after) / math.sqrt(n)
    return loss > 2 * noise


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
