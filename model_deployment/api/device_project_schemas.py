"""The bodies of calls about projects of devices, and what their devices and the server did."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from model_deployment.api.examples import example
from model_deployment.api.parameters import encodable
from model_deployment.api.registry_schemas import finite
from model_deployment.api.release_policy import each_once
from model_deployment.api.release_schemas import AT, RELEASE, FollowedEndpointOut, ReleaseOut
from model_deployment.core.devices import DEVICE_NAME, MAX_MODELS, Presence
from model_deployment.core.domain import State
from model_deployment.devices.views import (
    PlaceStats,
    ProjectStats,
    ProjectView,
    ReleasableVersion,
    VersionStats,
)

ModelNames = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=300), AfterValidator(encodable)]],
    Field(min_length=1, max_length=MAX_MODELS),
    AfterValidator(each_once),
]


class ProjectIn(BaseModel):
    """A new project of devices."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "warehouse", "models": ["diabetes"]}]},
    )

    name: Annotated[str, AfterValidator(encodable)] = Field(
        description="1 to 64 letters, digits, `.`, `_` and `-`; it becomes part of paths.",
        json_schema_extra={"pattern": f"^{DEVICE_NAME.pattern}$"},
    )
    models: ModelNames = Field(description="Registered models whose versions may be released.")


class ProjectChangeIn(BaseModel):
    """What changes of a project."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"models": ["diabetes", "heart"]}]}
    )

    models: ModelNames = Field(
        description="Registered models whose versions may be released from now on."
    )


class DevicePresencesOut(BaseModel):
    """Number of devices by presence."""

    never: int = Field(0, description="Registered, and never heard of.")
    online: int = 0
    offline: int = 0
    revoked: int = 0


class DeviceProjectOut(BaseModel):
    """A project: models, and the devices that run them."""

    model_config = example({
        "id": 1, "name": "warehouse", "models": ["diabetes"], "created_at": AT,
        "devices": {"never": 1, "online": 40, "offline": 2, "revoked": 0},
        "follows": {"endpoint": "diabetes@champion", "policy": RELEASE["policy"]}, "release": RELEASE,
    })  # fmt: skip

    id: int
    name: str
    models: list[str] = Field(description="Registered models whose versions may be released.")
    created_at: datetime
    devices: DevicePresencesOut
    follows: FollowedEndpointOut | None = Field(
        description="The endpoint whose versions are released; null if none is followed."
    )
    release: ReleaseOut | None = Field(description="The newest one; null until there was one.")

    @classmethod
    def of(cls, view: ProjectView) -> "DeviceProjectOut":
        project = view.project
        return cls(
            id=project.id,
            name=project.name,
            models=[*project.models],
            created_at=project.created_at,
            devices=DevicePresencesOut(**{str(one): view.devices.get(one, 0) for one in Presence}),
            follows=FollowedEndpointOut.of(view.follows),
            release=None if view.release is None else ReleaseOut.of(view.release, project.name),
        )


class ReleasableVersionOut(BaseModel):
    """A version that may be released, and where it runs."""

    model_config = example({
        "model": "diabetes", "version": 4, "created_at": AT, "aliases": ["champion"],
        "status": "READY", "metrics": {"rmse": 53.4}, "state": "ready", "devices": 40, "releases": [4],
    })  # fmt: skip

    model: str
    version: int
    created_at: datetime
    aliases: list[str]
    status: str = Field(description="Status in the registry; READY if it can be released.")
    metrics: dict[str, float | None] = Field(description="Of its run, from the registry.")
    state: State | None = Field(
        description="State of its deployment on the server; null if there is none."
    )
    devices: int = Field(description="Number of devices that run it.")
    releases: list[int] = Field(description="Numbers of its releases, newest first.")

    @classmethod
    def of(cls, found: ReleasableVersion) -> "ReleasableVersionOut":
        return cls(
            model=found.key.model,
            version=found.key.version,
            created_at=found.created_at,
            aliases=[*found.aliases],
            status=found.status,
            metrics=finite(found.metrics),
            state=found.state,
            devices=found.devices,
            releases=[*found.releases],
        )


class PlaceStatsOut(BaseModel):
    """What a version did in one place: on the devices together, or on the server."""

    requests: int
    rows: int
    errors: dict[str, int] = Field(description="Failed requests by kind.")
    p50_ms: float | None = Field(description="Null without requests.")
    p95_ms: float | None
    p99_ms: float | None
    predictions: dict[str, Any] | None = Field(
        description="Of captured predictions: `count`, and `mean`, `std`, `min`, `max` and `quantiles` of "
        "numbers, or `shares` of the most frequent classes; null without captures."
    )
    verdict: str | None = Field(
        description="Of the last degradation report; null without one, and on devices."
    )
    sampled: bool = Field(
        description="There was more than is read at once: the figures are those of the newest part."
    )

    @classmethod
    def of(cls, stats: PlaceStats) -> "PlaceStatsOut":
        return cls(
            requests=stats.requests,
            rows=stats.rows,
            errors=dict(stats.errors),
            p50_ms=stats.p50_ms,
            p95_ms=stats.p95_ms,
            p99_ms=stats.p99_ms,
            predictions=None if stats.predictions is None else dict(stats.predictions),
            verdict=stats.verdict,
            sampled=stats.sampled,
        )


_PLACE = {
    "requests": 1200, "rows": 1200, "errors": {"invalid": 3}, "p50_ms": 1.2, "p95_ms": 2.5,
    "p99_ms": 4.3, "predictions": {"count": 900, "mean": 152.1, "std": 61.0, "min": 40.2, "max": 310.0,
        "quantiles": {"0.05": 61.0, "0.25": 104.2, "0.5": 148.9, "0.75": 196.1, "0.95": 260.4}},
    "verdict": None, "sampled": False,
}  # fmt: skip
_VERSION_STATS = {
    "model": "diabetes", "version": 4, "running": 40, "devices": _PLACE,
    "server": {**_PLACE, "requests": 5000, "rows": 5000, "verdict": "ok"}, "drift": 0.04,
    "drift_reason": "predictions are alike",
}  # fmt: skip


class VersionStatsOut(BaseModel):
    """A version on devices and on the server, side by side."""

    model_config = example(_VERSION_STATS)

    model: str
    version: int
    running: int = Field(description="Number of devices that run it now.")
    devices: PlaceStatsOut
    server: PlaceStatsOut | None = Field(description="Null: it was not deployed there.")
    drift: float | None = Field(
        description="How far predictions on devices are from those on the server, 0 (alike) to 1; null "
        "where there are too few to tell."
    )
    drift_reason: str

    @classmethod
    def of(cls, stats: VersionStats) -> "VersionStatsOut":
        return cls(
            model=stats.key.model,
            version=stats.key.version,
            running=stats.running,
            devices=PlaceStatsOut.of(stats.devices),
            server=None if stats.server is None else PlaceStatsOut.of(stats.server),
            drift=stats.drift,
            drift_reason=stats.drift_reason,
        )


class ProjectStatsOut(BaseModel):
    """What the versions of a project did in a span of time."""

    model_config = example({
        "since": "2026-01-30T12:00:00Z", "until": AT, "versions": [_VERSION_STATS],
    })  # fmt: skip

    since: datetime
    until: datetime
    versions: list[VersionStatsOut]

    @classmethod
    def of(cls, stats: ProjectStats) -> "ProjectStatsOut":
        return cls(
            since=stats.since,
            until=stats.until,
            versions=[VersionStatsOut.of(one) for one in stats.versions],
        )
