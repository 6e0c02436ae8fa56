"""Captured requests that were sent to a candidate, its answers beside the champion's, row by row."""

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from model_deployment.metrics.scores import are_classes, class_name, is_missing, parts, to_number


class AnswerKind(StrEnum):
    """How a version answered a replayed request."""

    OK = "ok"
    #: Its gate refused the request.
    REFUSED = "refused"
    #: It answered an error, or nothing in time.
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ReplayedAnswer:
    """The answer of one version."""

    kind: AnswerKind
    #: As captured: usually a list with one prediction for each row.
    predictions: Any = None
    latency_ms: float | None = None

    @property
    def rows(self) -> list[Any]:
        return self.predictions if isinstance(self.predictions, list) else [self.predictions]

    @property
    def complete(self) -> bool:
        """Whether it has a prediction for each row."""
        return self.kind is AnswerKind.OK and not any(map(is_missing, self.rows))


@dataclass(frozen=True, slots=True)
class ReplayedPair:
    """One request, answered by both versions."""

    champion: ReplayedAnswer
    candidate: ReplayedAnswer
    #: The labels that are known, by row.
    labels: Mapping[int, Any] = field(default_factory=dict)

    @property
    def compared(self) -> list[tuple[Any, Any]]:
        """What the champion and the candidate predicted for each row; the whole where rows do not match."""
        if not (self.champion.complete and self.candidate.complete):
            return []
        one, other = self.champion.rows, self.candidate.rows
        return list(zip(one, other, strict=True)) if len(one) == len(other) else [(one, other)]

    @property
    def labelled(self) -> Iterator[tuple[Any, Any, Any]]:
        """Label and both predictions of the rows that have a label."""
        rows = self.compared
        if len(rows) == len(self.champion.rows):
            for row, label in self.labels.items():
                if 0 <= row < len(rows) and not is_missing(label):
                    yield label, *rows[row]


@dataclass(frozen=True, slots=True)
class Movement:
    """How far the predictions of two versions for the same rows are apart."""

    rows: int
    #: Share of the rows whose predictions differ (classes and other values), or the median of absolute
    #: differences (amounts; of several outputs, that of the one which moved most).
    difference: float
    #: The same between rows of the champion: the probability that two of its predictions differ, or their
    #: standard deviation. None where the rows differ, and it is unknown.
    spread: float | None
    classes: bool

    @property
    def beyond_spread(self) -> bool | None:
        """None: the spread is unknown."""
        return None if self.spread is None else self.difference > self.spread

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "rows": self.rows,
            "kind": "classes" if self.classes else "amounts",
            "difference": self.difference,
            "spread": self.spread,
            "beyond_spread": self.beyond_spread,
        }


def movement(rows: Sequence[tuple[Any, Any]]) -> Movement | None:
    """Compare the predictions of the champion and of the candidate; None without rows."""
    if not rows:
        return None
    values = [(parts(one), parts(other)) for one, other in rows]
    sizes = {len(part) for pair in values for part in pair}
    if len(sizes) == 1:
        outputs = [
            _amounts([(one[place], other[place]) for one, other in values])
            for place in range(sizes.pop())
        ]
        known = [output for output in outputs if output is not None]
        if known and len(known) == len(outputs):
            return max(known, key=lambda one: one.difference / (one.spread or 1e-300))
    names = [(_name(one), _name(other)) for one, other in rows]
    shares = Counter(one for one, _ in names).values()
    alike = sum((times / len(names)) ** 2 for times in shares)
    return Movement(
        len(rows), sum(one != other for one, other in names) / len(names), 1 - alike, True
    )


def _amounts(pairs: Sequence[tuple[Any, Any]]) -> Movement | None:
    """The movement of one output; None if its values are classes."""
    numbers = []
    for one, other in pairs:
        first, second = to_number(one), to_number(other)
        if first is None or second is None:
            return None
        numbers.append((first, second))
    if are_classes(numbers):
        return None
    # Scaled, so that neither differences nor squares overflow.
    scale = max(abs(value) for pair in numbers for value in pair) or 1.0
    spread = statistics.pstdev([one / scale for one, _ in numbers])
    apart = statistics.median([abs(one / scale - other / scale) for one, other in numbers])
    return Movement(len(numbers), _finite(apart * scale), _finite(spread * scale), False)


def _finite(value: float) -> float:
    return min(value, 1e300) if not math.isnan(value) else 0.0


def _name(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return json.dumps(value, sort_keys=True, default=str)
    return class_name(value)
