"""Compares the answers of an ONNX form with those of the model: labels are equal, numbers nearly."""

import math
from typing import Any

from model_deployment.worker.onnx_inputs import NoForm

#: Of predicted numbers, or relative to those above 1: float32 has 7 digits, and sums lose some of them.
TOLERANCE = 1e-4


def largest_difference(answer: Any, expected: Any) -> float:
    """The largest difference of two numbers at the same place.

    Args:
        answer: of the ONNX form: numbers, texts, truths, null, and lists of them.
        expected: of the model itself.

    Raises:
        NoForm: they are not alike.
    """
    if isinstance(answer, list) and isinstance(expected, list):
        if len(answer) != len(expected):
            raise _different(f"it has {len(answer)} values in place of {len(expected)}")
        pairs = zip(answer, expected, strict=True)
        return max((largest_difference(a, b) for a, b in pairs), default=0.0)
    if _is_float(answer, expected):
        difference = abs(answer - expected)
        if difference > TOLERANCE * max(1.0, abs(expected)):
            raise _different(f"{answer!r} in place of {expected!r}")
        return float(difference)
    if answer != expected or isinstance(answer, bool) != isinstance(expected, bool):
        raise _different(f"{_shown(answer)} in place of {_shown(expected)}")
    return 0.0


def without_nan(value: Any) -> Any:
    """The value as JSON has it: what is no number is null."""
    if isinstance(value, list):
        return [without_nan(one) for one in value]
    if isinstance(value, dict):
        return {str(name): without_nan(one) for name, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_float(*values: Any) -> bool:
    """Whether these are numbers and not labels: one of them at least is no whole number."""
    numbers = all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in values)
    return numbers and any(isinstance(one, float) for one in values)


def _shown(value: Any) -> str:
    return ascii(value)[:60]


def _different(how: str) -> NoForm:
    return NoForm(f"its answers on the example differ from those of the model: {how}")
