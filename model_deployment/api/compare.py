"""The call that compares versions of a model, deployed or not."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from model_deployment.api.examples import example
from model_deployment.api.monitoring import STORE_AWAY
from model_deployment.api.monitoring_schemas import TRAFFIC, TrafficOut
from model_deployment.api.parameters import ModelName
from model_deployment.api.problems import problem
from model_deployment.api.registry_schemas import RegisteredOut
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.control.controller import Controller
from model_deployment.core.metric_names import direction
from model_deployment.metrics.service import Monitoring
from model_deployment.metrics.version_comparison import (
    VersionComparison,
    best,
    compare_versions,
    named_versions,
)
from model_deployment.registry.version_details import DetailsReader

_REGISTERED = {
    "description": "more trees", "tags": {}, "aliases": ["champion"], "run_id": "0b5f6c9e",
    "run_url": "http://mlflow:5000/#/experiments/1/runs/0b5f6c9e", "source": "models:/m-5f0c1d",
    "user": "ann", "flavors": {"sklearn": "1.9.1"}, "created_at": "2026-01-31T12:00:00Z",
    "metrics": {"test_rmse": 55.0}, "as_of": None,
}  # fmt: skip


class MeasuredOut(BaseModel):
    """A metric of one version."""

    baseline: float | None = Field(description="When the model was new.")
    current: float | None = Field(description="The newest in service.")


class BetterOut(BaseModel):
    """Which versions have the better value of a metric."""

    direction: Literal["higher", "lower"] | None = Field(
        description="Which values are better; null if unknown."
    )
    baseline: list[int] = Field(description="Versions; empty if unknown, or if all are equal.")
    current: list[int]


class ComparedLineOut(BaseModel):
    """One thing of all versions."""

    name: str
    values: dict[str, Any] = Field(
        description="By version; null if the version has it not, or if it is unknown."
    )
    differs: bool = Field(description="Whether the known values differ.")
    direction: Literal["higher", "lower"] | None = Field(
        description="Of a metric: which values are better; null if unknown."
    )
    better: list[int] = Field(
        description="Of a metric: versions with the better value; empty if unknown or equal."
    )


class VersionsComparedOut(BaseModel):
    """Versions side by side."""

    model_config = example({
        "model": "diabetes", "versions": [1, 2],
        "metrics": {"rmse": {
            "1": {"baseline": 62.0, "current": 66.1}, "2": {"baseline": 55.0, "current": None},
        }},
        "better": {"rmse": {"direction": "lower", "baseline": [2], "current": []}},
        "baseline_as_of": {"1": None, "2": None},
        "serving": {"1": TRAFFIC, "2": {**TRAFFIC, "requests": 0}},
        "registered": {"1": _REGISTERED, "2": None},
        "unread": {"2": "the registry does not answer, or has it no longer"},
        "sections": {"params": [
            {"name": "alpha", "values": {"1": "0.1", "2": "0.2"}, "differs": True, "direction": None,
             "better": []},
        ]},
    })  # fmt: skip

    model: str
    versions: list[int]
    metrics: dict[str, dict[str, MeasuredOut]] = Field(description="By metric and version.")
    better: dict[str, BetterOut] = Field(description="By metric.")
    baseline_as_of: dict[str, datetime | None] = Field(
        description="By version: when its baseline was read, if the registry does not answer now."
    )
    serving: dict[str, TrafficOut] = Field(description="Requests of the last day, by version.")
    registered: dict[str, RegisteredOut | None] = Field(description="By version.")
    unread: dict[str, str] = Field(
        description="By version: why nothing is known of it from the registry."
    )
    sections: dict[str, list[ComparedLineOut]] = Field(
        description="`metrics` as logged, `params`, `tags`, `inputs`, `outputs`, `model params`, "
        "`flavors`, `requirements`, and `options` of deployments; only those that there are."
    )

    @classmethod
    def of(cls, found: VersionComparison) -> "VersionsComparedOut":
        versions = [key.version for key in found.keys]
        texts = [str(version) for version in versions]
        details = zip(texts, found.details, strict=True)
        return cls.model_validate(
            {
                **found.measured,
                "better": {
                    name: _better(name, row, versions)
                    for name, row in found.measured["metrics"].items()
                },
                "registered": {
                    text: RegisteredOut.of(one) if one else None for text, one in details
                },
                "unread": {str(version): why for version, why in found.unread.items()},
                "sections": {
                    section.name: [
                        {
                            "name": line.name,
                            "values": dict(zip(texts, line.values, strict=True)),
                            "differs": line.differs,
                            "direction": line.direction,
                            "better": [versions[at] for at in line.better],
                        }
                        for line in section.lines
                    ]
                    for section in found.sections
                },
            }
        )


def _better(name: str, row: Mapping[str, Any], versions: list[int]) -> dict[str, Any]:
    found: dict[str, Any] = {"direction": direction(name)}
    for part in ("baseline", "current"):
        places = best(name, [row[str(version)][part] for version in versions])
        found[part] = [versions[at] for at in places]
    return found


def router(controller: Controller, monitoring: Monitoring, details: DetailsReader) -> APIRouter:
    routes = APIRouter(tags=["registry"], route_class=StrictRoute)

    @routes.get(
        "/compare/{model}",
        summary="Versions side by side, deployed or not",
        response_model=VersionsComparedOut,
        responses={404: problem("The registry has no such version"), 503: STORE_AWAY},
    )
    async def compare_versions_of_model(
        model: ModelName,
        versions: Annotated[str, Query(description="Such as `1,2`; ten at most.", max_length=200)],
    ) -> Any:
        keys = named_versions(model, versions)
        rows = {row.key: row for row in await controller.all(stopped=True)}
        return VersionsComparedOut.of(await compare_versions(monitoring, details, keys, rows))

    return routes
