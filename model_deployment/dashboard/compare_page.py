"""The page that shows versions of a model side by side, deployed or not."""

from typing import Any

from fastapi import APIRouter, Request, Response

from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.dashboard.pages import Pages
from model_deployment.metrics.version_comparison import (
    Line,
    VersionComparison,
    best,
    compare_versions,
    named_versions,
)
from model_deployment.rendering import numbers

#: Figures of served requests, and their labels.
_SERVED = (
    ("requests", "Requests"),
    ("rows", "Rows"),
    ("p50_ms", "p50, ms"),
    ("p95_ms", "p95, ms"),
    ("p99_ms", "p99, ms"),
)
#: Sections of a comparison and their headings.
_HEADINGS = (
    ("params", "Parameters of training"),
    ("inputs", "Input columns"),
    ("outputs", "Outputs"),
    ("model params", "Parameters of predictions"),
    ("flavors", "Flavors"),
    ("requirements", "Requirements"),
    ("tags", "Tags"),
    ("options", "Options"),
)


def router(dependencies: Dependencies, pages: Pages) -> APIRouter:
    routes = pages.router()

    @routes.get("/dashboard/compare/{model}")
    async def compare(request: Request, model: str, versions: str = "") -> Response:
        keys = named_versions(model, versions)
        rows = {row.key: row for row in await dependencies.controller.all(stopped=True)}
        found = await compare_versions(dependencies.monitoring, dependencies.details, keys, rows)
        return pages.send(
            request,
            "compare",
            at="registry",
            model=model,
            sides=[(key, rows.get(key), one) for key, one in zip(keys, found.details, strict=True)],
            unread=found.unread,
            measured=_measured(found),
            logged=found.of("metrics"),
            served=_served(found),
            as_of=found.measured["baseline_as_of"],
            sections=[
                (heading, [_written(line) for line in lines])
                for name, heading in _HEADINGS
                if (lines := found.of(name))
            ],
        )

    return routes


def _measured(found: VersionComparison) -> list[Line]:
    """Metrics in service; none if no version has any."""
    lines = []
    for name, row in found.measured["metrics"].items():
        values = [row[str(key.version)]["current"] for key in found.keys]
        if any(value is not None for value in values):
            lines.append(Line(name, values, len(set(values)) > 1, None, best(name, values)))
    return lines


def _served(found: VersionComparison) -> list[Line]:
    totals = [found.measured["serving"][str(key.version)] for key in found.keys]
    lines = [Line(label, [one[name] for one in totals], True) for name, label in _SERVED]
    return [*lines, Line("Errors", [sum(one["errors"].values()) for one in totals], True)]


def _written(line: Line) -> Line:
    return Line(line.name, [_shown(value) for value in line.values], line.differs)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return numbers.NONE if value is None else str(value)
