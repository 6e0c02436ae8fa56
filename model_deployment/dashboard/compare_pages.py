"""Two versions side by side."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response

from model_deployment.dashboard.pages import Pages
from model_deployment.dashboard.parts import Parts
from model_deployment.domain import Deployment
from model_deployment.errors import InvalidRequest
from model_deployment.names import ModelKey

#: What is compared of what was served, and what it is called.
_SERVED = (
    ("requests", "Requests"),
    ("rows", "Rows"),
    ("p50_ms", "p50, ms"),
    ("p95_ms", "p95, ms"),
    ("p99_ms", "p99, ms"),
)


def router(parts: Parts, pages: Pages) -> APIRouter:
    """The routes."""
    routes = APIRouter(route_class=pages.route_class(), include_in_schema=False)

    @routes.get("/dashboard/compare/{model}")
    async def compare(request: Request, model: str, versions: str = "") -> Response:
        keys = [ModelKey.of(model, text.strip()) for text in versions.split(",")]
        if len(set(keys)) != 2:
            raise InvalidRequest("cannot compare: choose two versions of the model")
        rows = [await parts.controller.get(key) for key in keys]
        found = await parts.monitoring.compare(model, [key.version for key in keys])
        signatures = await asyncio.gather(*(asyncio.to_thread(parts.describe, row) for row in rows))
        return pages.send(
            request,
            "compare",
            at="registry",
            model=model,
            rows=rows,
            metrics=_metrics(found, keys),
            served=_served(found, keys),
            options=_options(rows),
            columns=_columns([signature for signature, _, _ in signatures]),
        )

    return routes


def _metrics(found: dict[str, Any], keys: list[ModelKey]) -> list[tuple[str, list[Any]]]:
    versions = [str(key.version) for key in keys]
    return [
        (name, [row[version] for version in versions]) for name, row in found["metrics"].items()
    ]


def _served(found: dict[str, Any], keys: list[ModelKey]) -> list[tuple[str, list[Any]]]:
    totals = [found["serving"][str(key.version)] for key in keys]
    lines = [(label, [total[name] for total in totals]) for name, label in _SERVED]
    return [*lines, ("Errors", [sum(total["errors"].values()) for total in totals])]


def _options(rows: list[Deployment]) -> list[tuple[str, list[str], bool]]:
    """Each option, shown, and whether it differs."""
    first, second = (row.options.as_dict() for row in rows)
    return [
        (name, [_shown(first[name]), _shown(second[name])], first[name] != second[name])
        for name in first
    ]


def _columns(signatures: list[dict[str, Any] | None]) -> list[tuple[str, list[str], bool]]:
    """Each input column by name, with its type in both, and whether they differ."""
    sides = [_named((one or {}).get("inputs") or []) for one in signatures]
    found = []
    for name in dict.fromkeys([*sides[0], *sides[1]]):
        texts = [_type(side.get(name)) for side in sides]
        found.append((name, texts, texts[0] != texts[1]))
    return found


def _named(inputs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {str(column.get("name", f"#{place}")): column for place, column in enumerate(inputs)}


def _type(column: dict[str, Any] | None) -> str:
    if column is None:
        return "\u2013"
    return str(column["type"]) + ("" if column.get("required", True) else ", optional")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "default" if value is None else str(value)
