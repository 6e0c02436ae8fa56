"""What is shown of an endpoint: by the API, the command line, the dashboard and Prometheus."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from model_deployment.core.domain import Deployment, State
from model_deployment.core.endpoints import Endpoint, Rollout, RolloutState
from model_deployment.core.names import ModelKey
from model_deployment.core.rollouts import canary_share, recreates
from model_deployment.endpoints.evidence import RolloutEvidence
from model_deployment.endpoints.findings import CandidateFinding, Judgement


class VersionRole(StrEnum):
    """What a version is to an endpoint."""

    CHAMPION = "champion"
    CANDIDATE = "candidate"
    PREVIOUS = "previous"


#: What a candidate does, or did, by the state of its rollout.
DOING = {
    RolloutState.DEPLOYING: "is being deployed",
    RolloutState.CHECKING: "is being checked",
    RolloutState.REPLAYING: "answers captured requests",
    RolloutState.SHADOWING: "gets copies of requests",
    RolloutState.CANARY: "answers a share of the requests",
    RolloutState.PROMOTED: "was promoted",
    RolloutState.ROLLED_BACK: "was rolled back",
    RolloutState.SUPERSEDED: "was superseded",
}


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """One of the versions that an endpoint uses now."""

    version: int
    role: VersionRole
    #: Share of the endpoint's requests that it answers now, 0 to 1.
    share: float
    #: Of its deployment; None if it is not deployed.
    state: State | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class EndpointView:
    """An endpoint, what serves it, and what is on its way."""

    endpoint: Endpoint
    #: It answers on ``/<model>`` as well.
    default: bool
    #: The newest one, whether it is under way or not; None if there was none.
    rollout: Rollout | None
    versions: tuple[ServedVersion, ...]
    #: What the guards say now; None without a rollout that has counts.
    judgement: Judgement | None = None
    #: Of the newest rollout, if they were made.
    check: CandidateFinding | None = None
    replay: CandidateFinding | None = None

    @property
    def status(self) -> str:
        """In one line, for people: what serves and why the rest is where it is."""
        rollout = self.rollout
        parts = []
        if self.endpoint.champion is None:
            parts.append("no version serves yet")
        else:
            parts.append(f"version {self.endpoint.champion} serves")
        if rollout is not None:
            what = f"version {rollout.candidate} {self._doing(rollout)}"
            if (
                rollout.state is RolloutState.PROMOTED
                and rollout.candidate == self.endpoint.champion
            ):
                what = "promoted"
            parts.append(f"{what}: {rollout.reason}" if rollout.reason else what)
            if not rollout.active and self.endpoint.alias_version not in (
                None,
                self.endpoint.champion,
            ):
                alias, named = self.endpoint.name.alias, self.endpoint.alias_version
                parts.append(f"the alias {alias} names version {named}")
        if self.endpoint.notice:
            parts.append(self.endpoint.notice)
        return "; ".join(parts)

    def _doing(self, rollout: Rollout) -> str:
        if rollout.state is not RolloutState.CANARY:
            return DOING[rollout.state]
        shares = [one.share for one in self.versions if one.role is VersionRole.CANDIDATE]
        return f"answers {100 * sum(shares):g} % of the requests"


def view(
    endpoint: Endpoint,
    rollout: Rollout | None,
    rows: Mapping[ModelKey, Deployment],
    judgement: Judgement | None,
    *,
    default: bool,
) -> EndpointView:
    """Put together what is shown.

    Args:
        rollout: the newest one.
        rows: all deployments.
    """
    shares = _shares(endpoint, rollout)
    versions = []
    for version, role in _roles(endpoint, rollout).items():
        row = rows.get(endpoint.key(version))
        state, reason = (row.state, row.reason) if row else (None, "")
        versions.append(ServedVersion(version, role, shares.get(version, 0.0), state, reason))
    known = RolloutEvidence.from_dict(rollout.evidence) if rollout else RolloutEvidence()
    return EndpointView(
        endpoint, default, rollout, tuple(versions), judgement, known.check, known.replay
    )


def _roles(endpoint: Endpoint, rollout: Rollout | None) -> dict[int, VersionRole]:
    roles: dict[int, VersionRole] = {}
    if endpoint.champion is not None:
        roles[endpoint.champion] = VersionRole.CHAMPION
    if rollout is not None and rollout.active:
        roles.setdefault(rollout.candidate, VersionRole.CANDIDATE)
    if endpoint.previous is not None and endpoint.previous_until is not None:
        roles.setdefault(endpoint.previous, VersionRole.PREVIOUS)
    return roles


def _shares(endpoint: Endpoint, rollout: Rollout | None) -> dict[int, float]:
    """Shares of the requests by version, 0 to 1."""
    active = rollout if rollout is not None and rollout.active else None
    if active is not None and recreates(active):
        return {active.candidate: 1.0}
    share = canary_share(endpoint.policy, active) if active is not None else 0.0
    shares = {endpoint.champion: round(1.0 - share, 9)} if endpoint.champion is not None else {}
    return shares | ({active.candidate: share} if active is not None and share else {})
