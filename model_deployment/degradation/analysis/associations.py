"""How closely columns are associated with the target and with each other, then and now."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_deployment.degradation.analysis.table import random_numbers
from model_deployment.degradation.data.columns import ColumnPair
from model_deployment.degradation.findings import Finding, Severity, quoted
from model_deployment.degradation.statistics.association import Encoded, association, encoded

#: Rows of each table; the standard error of an association is then at most 0.01.
_ROWS = 10_000
#: Features whose pairs are looked at: 780 pairs.
_FEATURES = 40
#: An association with the target from which on a feature may leak it.
_LEAK = 0.98
#: An association from which on two features are alike, and one up to which they are no longer.
_ALIKE, _APART = 0.95, 0.7
#: A change worth a finding, of a feature with the target and of two features.
_CHANGE, _CHANGE_OF_FEATURES = 0.2, 0.4
#: Standard errors that a change must exceed: there are many pairs.
_ERRORS = 4.0
_MAX_PAIRS = 20
_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class Association:
    """Of two columns, from -1 to 1 for two columns of numbers, else from 0 to 1."""

    one: str
    other: str
    original: float | None
    new: float | None
    #: The standard error of the change, at most.
    error: float

    @property
    def change(self) -> float:
        return 0.0 if None in (self.new, self.original) else (self.new or 0) - (self.original or 0)

    @property
    def strength(self) -> float:
        return max(abs(self.new or 0), abs(self.original or 0))

    def changed(self, least: float) -> bool:
        """Whether it changed by so much, and by more than chance explains."""
        return abs(self.change) >= max(least, _ERRORS * self.error)

    def as_dict(self) -> dict[str, Any]:
        return {
            "columns": [self.one, self.other],
            "original": self.original,
            "new": self.new,
            "changed": self.changed(_CHANGE),
        }


@dataclass(frozen=True, slots=True)
class Associations:
    #: Of each feature, the closest first.
    with_target: Sequence[Association] = ()
    #: Of the features that are closest to the target.
    among_features: Sequence[Association] = ()
    #: Features whose pairs were looked at, and all that have associations.
    looked_at: int = 0
    features: int = 0

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, with the closest and the most changed pairs."""
        pairs = sorted(self.among_features, key=lambda one: (-abs(one.change), -one.strength))
        shown = [one for one in pairs if one.strength >= 0.3 or one.changed(_CHANGE)]
        return {
            "target": [one.as_dict() for one in self.with_target[: 2 * _FEATURES]],
            "pairs": [one.as_dict() for one in shown[:_MAX_PAIRS]],
            "looked_at": self.looked_at,
            "features": self.features,
        }


@dataclass(frozen=True, slots=True)
class _Sides:
    name: str
    original: Encoded | None
    new: Encoded | None


def find(target: ColumnPair | None, features: Sequence[ColumnPair]) -> Associations:
    """The associations of features with a target, and of the features closest to it."""
    pairs = [one for one in features if not one.skipped]
    if not pairs:
        return Associations()
    places = [_some(len(pairs[0].reference.values)), _some(len(pairs[0].current.values))]
    error = float(np.sqrt(sum(1 / max(len(one), 1) for one in places)))
    sides = [one for pair in pairs if (one := _sides(pair, places)).new]
    with_target: list[Association] = []
    if target is not None and (goal := _sides(target, places)).new:
        with_target = [_association(one, goal, error) for one in sides]
        with_target.sort(key=lambda one: -one.strength)
    place = {one.one: at for at, one in enumerate(with_target)}
    sides.sort(key=lambda one: place.get(one.name, 0))
    among = [
        _association(one, other, error)
        for one, other in itertools.combinations(sides[:_FEATURES], 2)
    ]
    return Associations(with_target, among, min(len(sides), _FEATURES), len(sides))


def _some(rows: int) -> NDArray[np.int64]:
    if rows <= _ROWS:
        return np.arange(rows)
    return np.sort(random_numbers().choice(rows, _ROWS, replace=False))


def _sides(pair: ColumnPair, places: Sequence[NDArray[np.int64]]) -> _Sides:
    return _Sides(
        pair.name,
        encoded(pair, pair.reference, places[0]),
        encoded(pair, pair.current, places[1]),
    )


def _association(one: _Sides, other: _Sides, error: float) -> Association:
    values = [
        association(a, b) if a and b else None
        for a, b in ((one.original, other.original), (one.new, other.new))
    ]
    return Association(one.name, other.name, values[0], values[1], error)


def findings(found: Associations, alone: bool) -> Iterable[Finding]:
    """Findings about pairs of columns.

    Args:
        alone: whether the new data are compared with themselves.
    """
    for one in found.with_target:
        if one.new is not None and abs(one.new) >= _LEAK:
            known = not alone and one.original is not None and abs(one.original) >= _LEAK
            text = (
                f"Column {quoted(one.one)} almost determines the target {quoted(one.other)}: their "
                f"association is {abs(one.new):.2f}."
            )
            severity = Severity.INFO if known else Severity.WARNING
            yield Finding(severity, "leak", text, one.one, 4)
    changed = [one for one in found.with_target if one.changed(_CHANGE)]
    for one in sorted(changed, key=lambda one: -abs(one.change))[:_MAX_PAIRS]:
        text = (
            f"The association of {quoted(one.one)} with the target was {one.original:.2f} and is now "
            f"{one.new:.2f}."
        )
        yield Finding(Severity.WARNING, "relation_changed", text, one.one, 2 + abs(one.change))
    yield from _among(found)


def _among(found: Associations) -> Iterable[Finding]:
    alike = [one for one in found.among_features if one.new is not None and abs(one.new) >= _ALIKE]
    if alike:
        alike.sort(key=lambda one: -abs(one.new or 0))
        more = f", and {len(alike) - _MAX_NAMED} more pairs" if len(alike) > _MAX_NAMED else ""
        text = f"Features that say almost the same: {_named(alike)}{more}."
        yield Finding(Severity.INFO, "features_alike", text, None, 1)
    apart = [
        one
        for one in found.among_features
        if one.original is not None
        and one.new is not None
        and abs(one.original) >= _ALIKE
        and abs(one.new) <= _APART
    ]
    moved = [one for one in found.among_features if one.changed(_CHANGE_OF_FEATURES)]
    changed = [*apart, *(one for one in moved if one not in apart)]
    for one in sorted(changed, key=lambda one: -abs(one.change))[:_MAX_NAMED]:
        text = (
            f"The association of {quoted(one.one)} and {quoted(one.other)} was {one.original:.2f} and is "
            f"now {one.new:.2f}."
        )
        yield Finding(Severity.WARNING, "pair_changed", text, one.one, abs(one.change))


def _named(pairs: Sequence[Association]) -> str:
    return ", ".join(
        f"{quoted(one.one, 30)} and {quoted(one.other, 30)}" for one in pairs[:_MAX_NAMED]
    )
