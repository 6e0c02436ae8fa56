"""Versions of a model side by side: what differs, and which is better where that is known."""

import asyncio
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from model_deployment.core.domain import Deployment
from model_deployment.core.errors import InvalidRequest, RegistryUnavailable
from model_deployment.core.metric_names import HIGHER, baselines, direction, normalised
from model_deployment.core.names import ModelKey
from model_deployment.metrics.service import Monitoring
from model_deployment.registry.model_metrics import OURS
from model_deployment.registry.version_details import DetailsReader, VersionDetails
from model_deployment.rendering.natural_order import natural

#: Versions of one comparison, at most.
MOST = 10

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*(?:\[[^\]]*\])?)\s*(.*)")


@dataclass(frozen=True, slots=True)
class Line:
    """One thing of all versions, in the order of the versions."""

    name: str
    #: None: a version has it not, or it is unknown.
    values: Sequence[Any]
    #: Whether the known values differ.
    differs: bool
    #: Of a metric, which values are better; None if unknown.
    direction: str | None = None
    #: Places of the better values; empty if no direction is known, or all are equal.
    better: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    lines: Sequence[Line]


@dataclass(frozen=True, slots=True)
class VersionComparison:
    keys: Sequence[ModelKey]
    #: By version, as :meth:`Monitoring.compare` has them.
    measured: Mapping[str, Any]
    details: Sequence[VersionDetails | None]
    #: Why the registry says nothing of a version, by version.
    unread: Mapping[int, str]
    sections: Sequence[Section] = field(default_factory=list)

    def of(self, name: str) -> Sequence[Line]:
        """The lines of a section."""
        return next((one.lines for one in self.sections if one.name == name), ())


def named_versions(model: str, text: str) -> list[ModelKey]:
    """The versions of a text such as ``1,2``.

    Raises:
        InvalidRequest: none, too many, or one twice.
        InvalidName: the name or a version cannot be one.
    """
    keys = [ModelKey.addressed(model, part.strip()) for part in text.split(",")]
    if not 1 <= len(set(keys)) == len(keys) <= MOST:
        raise InvalidRequest(
            f"cannot compare {text[:60]!a}: name one to {MOST} versions, each once, such as 1,2"
        )
    return keys


async def compare_versions(
    monitoring: Monitoring,
    details: DetailsReader,
    keys: Sequence[ModelKey],
    deployed: Mapping[ModelKey, Deployment],
) -> VersionComparison:
    """Compare versions of one model.

    Args:
        deployed: deployments, undeployed ones too. A version need not be among them.

    Raises:
        UnknownModel: a version was never deployed, and the registry has it not.
        StoreUnavailable: the document store does not answer.
    """
    unread: dict[int, str] = {}

    async def read(key: ModelKey) -> VersionDetails | None:
        if key in deployed:  # it may have been deleted in the registry
            found = await details.find(key)
            if found is None:
                unread[key.version] = "the registry does not answer, or has it no longer"
            return found
        try:
            return await details.of(key)
        except RegistryUnavailable as error:
            unread[key.version] = error.detail
            return None

    found = await asyncio.gather(*map(read, keys))
    measured = await monitoring.compare(keys[0].model, [key.version for key in keys])
    _complete(measured["metrics"], keys, found)
    rows = [deployed.get(key) for key in keys]
    return VersionComparison(keys, measured, found, unread, sections(found, rows))


def _complete(
    metrics: dict[str, Any], keys: Sequence[ModelKey], details: Sequence[VersionDetails | None]
) -> None:
    """Add baselines that only the kept details know."""
    for key, one in zip(keys, details, strict=True):
        version = str(key.version)
        if one is None or any(row[version]["baseline"] is not None for row in metrics.values()):
            continue
        for name, baseline in baselines(one.metrics).items():
            empty = {str(key.version): {"baseline": None, "current": None} for key in keys}
            metrics.setdefault(name, empty)[version]["baseline"] = baseline.value


def sections(
    details: Sequence[VersionDetails | None], rows: Sequence[Deployment | None]
) -> list[Section]:
    """Everything but measurements, side by side. Pure."""

    def known(part: Any) -> list[Mapping[str, Any] | None]:
        return [None if one is None else part(one) for one in details]

    signatures = [one.signature if one else None for one in details]
    found = (
        ("metrics", _metrics([one.metrics if one else None for one in details])),
        ("params", lines(known(lambda one: one.params))),
        ("tags", lines(known(lambda one: one.tags))),
        ("inputs", lines([_columns(one, "inputs") for one in signatures])),
        ("outputs", lines([_columns(one, "outputs") for one in signatures])),
        ("model params", lines([_columns(one, "params") for one in signatures])),
        ("flavors", lines(known(lambda one: one.flavors))),
        ("requirements", lines(known(lambda one: _requirements(one.requirements)))),
        ("options", lines([row.options.as_dict() if row else None for row in rows])),
    )
    return [Section(name, some) for name, some in found if some]


def lines(sides: Sequence[Mapping[str, Any] | None]) -> list[Line]:
    """A line for each name; a side that is None is unknown, and differs from nothing."""
    names = dict.fromkeys(name for side in sides if side for name in side)
    found = []
    for name in names:
        values = [side.get(name) if side is not None else None for side in sides]
        known = [repr(side.get(name)) for side in sides if side is not None]
        found.append(Line(name, values, len(set(known)) > 1))
    return found


def _metrics(sides: Sequence[Mapping[str, float] | None]) -> list[Line]:
    found = []
    for line in lines(sides):
        if line.name.startswith(OURS):
            continue
        better = best(line.name, line.values)
        known = direction(normalised(line.name)[0])
        found.append(Line(line.name, line.values, line.differs, known, better))
    return sorted(found, key=lambda one: (one.direction is None, natural(one.name)))


def best(metric: str, values: Sequence[float | None]) -> list[int]:
    """Places of the better values of a metric; empty if no direction is known, or all are equal."""
    known = {at: v for at, v in enumerate(values) if v is not None and math.isfinite(v)}
    better = direction(normalised(metric)[0])
    if better is None or len(set(known.values())) < 2:
        return []
    wanted = (max if better == HIGHER else min)(known.values())
    return [at for at, value in known.items() if value == wanted]


def _columns(signature: Mapping[str, Any] | None, part: str) -> dict[str, str] | None:
    """The type of each input, output or parameter."""
    if signature is None:
        return None
    found = {}
    for place, column in enumerate(signature.get(part) or []):
        kind = column.get("type")
        text = kind if isinstance(kind, str) else str(kind)
        if "tensor-spec" in column:
            tensor = column["tensor-spec"]
            text = f"tensor of {tensor.get('dtype')}, {tensor.get('shape')}"
        text += "" if column.get("required", True) else ", optional"
        if part == "params":
            text += f", default {column.get('default')}"
        found[str(column.get("name", f"#{place}"))] = text
    return found


def _requirements(given: Sequence[str]) -> dict[str, str]:
    """Versions by package."""
    found = {}
    for line in given:
        match = _REQUIREMENT.fullmatch(line)
        found[match[1] if match else line] = (match[2] if match else "") or "any version"
    return found
