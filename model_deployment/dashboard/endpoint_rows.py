"""What the overview and the pages of deployments show of endpoints. Pure."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from model_deployment.core.endpoints import RolloutState
from model_deployment.core.names import ModelKey
from model_deployment.dashboard.attention import Problem, endpoint_problems
from model_deployment.endpoints.views import EndpointView, ServedVersion, VersionRole


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """An endpoint in the overview. Equal rows look the same, and so do the pages of their endpoints."""

    name: str
    path: str
    model: str
    #: Path of the model's default endpoint, if it is this one.
    short_path: str
    versions: tuple[ServedVersion, ...]
    #: Of the newest rollout, if it is under way or was rolled back; else empty.
    rollout: str
    candidate: int | None
    reason: str
    notice: str
    #: What needs attention, the most urgent first.
    problems: tuple[Problem, ...]
    #: Changes with everything that the endpoint's page shows, but for the time.
    mark: int

    @property
    def champion(self) -> ServedVersion | None:
        return next((one for one in self.versions if one.role is VersionRole.CHAMPION), None)

    @property
    def share(self) -> float:
        """Of the candidate, 0 to 1."""
        return sum(one.share for one in self.versions if one.role is VersionRole.CANDIDATE)

    @property
    def uses(self) -> str:
        """Changes when the endpoint uses other versions, or in another way."""
        return " ".join(f"{one.version}:{one.role}:{one.share:g}" for one in self.versions)


def endpoint_row(view: EndpointView) -> EndpointRow:
    name, rollout = view.endpoint.name, view.rollout
    told = rollout is not None and (rollout.active or rollout.state is RolloutState.ROLLED_BACK)
    shown = rollout if told else None
    return EndpointRow(
        name=str(name),
        path=name.path,
        model=name.model,
        short_path=(name.short_path or "") if view.default else "",
        versions=view.versions,
        rollout=str(shown.state) if shown else "",
        candidate=shown.candidate if shown else None,
        reason=shown.reason if shown else "",
        notice=view.endpoint.notice,
        problems=endpoint_problems(view),
        mark=zlib.crc32(repr(view).encode()),
    )


def endpoint_rows(views: Iterable[EndpointView]) -> dict[str, EndpointRow]:
    return {row.name: row for row in map(endpoint_row, views)}


@dataclass(frozen=True, slots=True)
class Use:
    """How an endpoint uses a deployment."""

    name: str
    path: str
    role: VersionRole
    share: float


def uses(rows: Iterable[EndpointRow], key: ModelKey) -> list[Use]:
    """The endpoints that use a deployment."""
    return [
        Use(row.name, row.path, one.role, one.share)
        for row in rows
        if row.model == key.model
        for one in row.versions
        if one.version == key.version
    ]
