"""The page that shows two versions of a model side by side."""

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from model_deployment.core.domain import Deployment
from model_deployment.core.errors import InvalidRequest, UnknownModel
from model_deployment.core.names import ModelKey
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.dashboard.pages import Pages
from model_deployment.registry.values import in_words
from model_deployment.rendering import numbers

#: Figures of served requests, and their labels.
_SERVED = (
    ("requests", "Requests"),
    ("rows", "Rows"),
    ("p50_ms", "p50, ms"),
    ("p95_ms", "p95, ms"),
    ("p99_ms", "p99, ms"),
)


def router(dependencies: Dependencies, pages: Pages) -> APIRouter:
    routes = pages.router()

    @routes.get("/dashboard/compare/{model}")
    async def compare(request: Request, model: str, versions: str = "") -> Response:
        keys = [ModelKey.addressed(model, text.strip()) for text in versions.split(",")]
        if len(set(keys)) != 2:
            raise InvalidRequest(
                f"cannot compare {versions!r}: give the numbers of two versions, separated by a comma"
            )
        rows = await _rows(dependencies, keys)
        found = await dependencies.monitoring.compare(model, [key.version for key in keys])
        signatures = await asyncio.gather(*(_signature(dependencies, row) for row in rows))
        return pages.send(
            request,
            "compare",
            at="registry",
            model=model,
            sides=[*zip(keys, rows, strict=True)],
            metrics=_metrics(found, keys),
            served=_served(found, keys),
            as_of=found["baseline_as_of"],
            options=_side_by_side([_options(row) for row in rows]),
            columns=_side_by_side([_columns(one) for one in signatures]),
        )

    return routes


async def _rows(dependencies: Dependencies, keys: list[ModelKey]) -> list[Deployment | None]:
    """The deployments of versions; None for a version that was never deployed.

    Raises:
        UnknownModel: neither deployed nor in the registry.
        RegistryUnavailable: a version was never deployed, and the registry does not answer.
    """
    known = {row.key: row for row in await dependencies.controller.all(stopped=True)}
    if not known.keys() >= {*keys}:
        registered = {one.key for one in await dependencies.versions(keys[0].model)}
        for key in keys:
            if key not in known and key not in registered:
                existing = in_words(one.version for one in registered)
                raise UnknownModel(
                    f"cannot compare {key}: the registry has no version {key.version} of {key.model}, "
                    f"which has {existing}"
                )
    return [known.get(key) for key in keys]


async def _signature(dependencies: Dependencies, row: Deployment | None) -> dict[str, Any] | None:
    """From the model's files, which exist only after a deployment."""
    return (await asyncio.to_thread(dependencies.describe, row))[0] if row else None


def _metrics(found: dict[str, Any], keys: list[ModelKey]) -> list[tuple[str, list[Any]]]:
    versions = [str(key.version) for key in keys]
    return [
        (name, [row[version] for version in versions]) for name, row in found["metrics"].items()
    ]


def _served(found: dict[str, Any], keys: list[ModelKey]) -> list[tuple[str, list[Any]]]:
    totals = [found["serving"][str(key.version)] for key in keys]
    lines = [(label, [total[name] for total in totals]) for name, label in _SERVED]
    return [*lines, ("Errors", [sum(total["errors"].values()) for total in totals])]


def _side_by_side(sides: Sequence[dict[str, str] | None]) -> list[tuple[str, list[str], bool]]:
    """Each name with its text on both sides, and whether the texts are known and differ."""
    found = []
    for name in dict.fromkeys(name for side in sides if side for name in side):
        texts = [side.get(name, numbers.NONE) if side else numbers.NONE for side in sides]
        found.append((name, texts, None not in sides and texts[0] != texts[1]))
    return found


def _options(deployment: Deployment | None) -> dict[str, str] | None:
    if deployment is None:
        return None
    return {name: _shown(value) for name, value in deployment.options.as_dict().items()}


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "default" if value is None else str(value)


def _columns(signature: dict[str, Any] | None) -> dict[str, str] | None:
    """The type of each input column."""
    if signature is None:
        return None
    return {
        str(column.get("name", f"#{place}")): str(column["type"])
        + ("" if column.get("required", True) else ", optional")
        for place, column in enumerate(signature.get("inputs") or [])
    }
