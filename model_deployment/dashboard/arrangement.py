"""The order of the overview: what needs attention, then models with their endpoints and versions. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from model_deployment.dashboard.attention import Need
from model_deployment.rendering.natural_order import natural


@dataclass(frozen=True, slots=True)
class Item:
    """A deployment or an endpoint, as far as its place on the overview depends on it."""

    name: str
    model: str
    #: Of a deployment; None for an endpoint.
    version: int | None = None
    parked: bool = False
    #: The most urgent problem; None if nothing needs attention.
    need: Need | None = None
    #: Requests of the last minutes.
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """What belongs to a model; names of items that need attention are in no group."""

    model: str
    endpoints: tuple[str, ...]
    serving: tuple[str, ...]
    parked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The order of the overview: every item is in it once."""

    attention: tuple[str, ...]
    groups: tuple[Group, ...]


def arrange(items: Iterable[Item]) -> Arrangement:
    """What needs attention first, the most urgent on top; then models, the busiest first.

    Busy models are compared by the order of magnitude of their requests, so that rows do not change
    places with every few requests. Models of which all versions are parked come last.
    """
    urgent: list[Item] = []
    models: dict[str, list[Item]] = {}
    for one in items:
        if one.need is not None:
            urgent.append(one)
        else:
            models.setdefault(one.model, []).append(one)
    urgent.sort(key=lambda one: (one.need, _by_name(one)))
    ordered = sorted(models, key=lambda model: (_idleness(models[model]), natural(model), model))
    return Arrangement(
        tuple(one.name for one in urgent), tuple(_group(model, models[model]) for model in ordered)
    )


def _idleness(items: Sequence[Item]) -> int:
    requests = sum(one.requests for one in items)
    asleep = all(one.parked for one in items if one.version is not None)
    return -1 - int(math.log10(requests)) if requests > 0 else int(asleep)


def _by_name(item: Item) -> tuple[list[tuple[str, int]], str, float, str]:
    """By model, an endpoint before the versions, the newest version first."""
    return natural(item.model), item.model, -(item.version or math.inf), item.name


def _group(model: str, items: Sequence[Item]) -> Group:
    named = sorted(items, key=_by_name)
    return Group(
        model,
        tuple(one.name for one in named if one.version is None),
        tuple(one.name for one in named if one.version is not None and not one.parked),
        tuple(one.name for one in named if one.version is not None and one.parked),
    )
