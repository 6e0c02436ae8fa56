"""The table of a model's versions: its metric columns, its order, and the best values. Pure."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from model_deployment.core.metric_names import (
    HIGHER,
    PLAIN,
    TEST,
    VALIDATION,
    direction,
    normalised,
)
from model_deployment.registry.model_metrics import OURS
from model_deployment.registry.values import RegisteredVersion
from model_deployment.rendering.natural_order import natural

ASCENDING, DESCENDING = "ascending", "descending"
#: Metrics of a version that have a column of their own.
SHOWN = 5
#: Rows of a page: the next number with each "show more".
STEPS = (50, 200, 1000)

_SPLITS = (TEST, VALIDATION, PLAIN)


@dataclass(frozen=True, slots=True)
class MetricColumn:
    name: str
    #: Which values are better; None if unknown.
    direction: str | None
    #: How the table is sorted by it; empty if it is not.
    order: str
    #: The address of the table sorted by it, the other way around if it is sorted by it already.
    href: str
    #: Versions of the page with the best value; empty if no direction is known, or all are equal.
    best: frozenset[int]


@dataclass(frozen=True, slots=True)
class Choice:
    """What the address of the page says."""

    sort: str = ""
    order: str = ""
    limit: int = STEPS[0]

    def href(self, **changes: str | int) -> str:
        given = {"sort": self.sort, "order": self.order, "limit": self.limit, **changes}
        usual = {"sort": "", "order": "", "limit": STEPS[0]}
        return "?" + urlencode({k: v for k, v in given.items() if v != usual[k]})

    @property
    def more(self) -> str:
        """The address of the page with more versions; empty if there is none."""
        steps = [step for step in STEPS if step > self.limit]
        return self.href(limit=steps[0]) if steps else ""


def metric_names(versions: Sequence[RegisteredVersion]) -> list[str]:
    """Metrics with a finite value: those that say how good a model is first, then those of most versions.

    Metrics that were measured in service and written back are left out: they are on the pages of
    deployments, and here they would displace the metrics from training.
    """
    counts: defaultdict[str, int] = defaultdict(int)
    for version in versions:
        for name, value in version.metrics.items():
            counts[name] += math.isfinite(value) and not name.startswith(OURS)
    return sorted(
        (name for name in counts if counts[name]), key=lambda name: _place(name, counts[name])
    )


def _place(name: str, count: int) -> tuple[bool, int, int, list[tuple[str, int]]]:
    plain, split = normalised(name)
    known = direction(plain) is not None and split in _SPLITS
    place = _SPLITS.index(split) if known else 0
    return not known, place, -count, natural(name)


def in_order(
    versions: Sequence[RegisteredVersion], sort: str, order: str
) -> list[RegisteredVersion]:
    """Versions by a metric; those without a finite value come last, and equal ones the newest first."""

    def value(version: RegisteredVersion) -> float:
        found = version.metrics.get(sort, math.nan)
        return found if math.isfinite(found) else math.nan

    known = [version for version in versions if not math.isnan(value(version))]
    others = [version for version in versions if math.isnan(value(version))]
    sign = 1 if order == ASCENDING else -1
    return sorted(known, key=lambda one: (sign * value(one), -one.key.version)) + others


def usual_order(name: str) -> str:
    """The order that puts the best value first; the largest, where no direction is known."""
    known = direction(normalised(name)[0])
    return DESCENDING if known in (HIGHER, None) else ASCENDING


def columns(
    names: Sequence[str], versions: Sequence[RegisteredVersion], choice: Choice
) -> list[MetricColumn]:
    """The metrics with a column of their own: the one that the table is sorted by is among them."""
    shown = [*names[:SHOWN]]
    if choice.sort in names and choice.sort not in shown:
        shown[-1:] = [choice.sort]
    return [_column(name, versions, choice) for name in shown]


def _column(name: str, versions: Sequence[RegisteredVersion], choice: Choice) -> MetricColumn:
    order = choice.order if choice.sort == name else ""
    other = {ASCENDING: DESCENDING, DESCENDING: ASCENDING}
    known = direction(normalised(name)[0])
    return MetricColumn(
        name,
        known,
        order,
        choice.href(sort=name, order=other[order] if order else usual_order(name)),
        frozenset(_best(name, versions, known)) if known else frozenset(),
    )


def _best(name: str, versions: Sequence[RegisteredVersion], known: str) -> list[int]:
    values = {
        one.key.version: one.metrics[name]
        for one in versions
        if math.isfinite(one.metrics.get(name, math.nan))
    }
    if len(set(values.values())) < 2:
        return []
    best = max(values.values()) if known == HIGHER else min(values.values())
    return [version for version, value in values.items() if value == best]
