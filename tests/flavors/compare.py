"""Whether an answer over HTTP is what ``pyfunc.predict`` answers, or at least what MLflow's server does."""

import json
import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any

    @classmethod
    def read(cls, status: int, text: str) -> "Answer":
        """From the body of an answer; NaN and infinities are None."""
        try:
            return cls(status, json.loads(text, parse_constant=lambda _: None))
        except ValueError:
            return cls(status, text)

    @property
    def predictions(self) -> Any:
        """What the model answered; a chat's answer has no wrapping."""
        wrapped = isinstance(self.body, dict) and self.body.keys() == {"predictions"}
        return self.body["predictions"] if wrapped else self.body


def same(one: Any, other: Any, tolerance: float) -> bool:
    """Whether two values of JSON are equal: numbers within a relative difference, all else exactly."""
    if type(one) in (int, float) and type(other) in (int, float):
        if isinstance(one, int) and isinstance(other, int):
            return one == other
        return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance / 100)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            same(value, other[name], tolerance) for name, value in one.items()
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            same(*pair, tolerance) for pair in zip(one, other, strict=True)
        )
    return type(one) is type(other) and bool(one == other)


def as_mlflow(ours: Answer, theirs: Answer, tolerance: float) -> bool:
    """Whether both answer the same, or both refuse or fail at the request."""
    if theirs.status != 200:
        return ours.status != 200
    return ours.status == 200 and same(ours.body, theirs.body, tolerance)
