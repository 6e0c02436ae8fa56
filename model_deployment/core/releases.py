"""Releases: what devices should run, and how a new one reaches them.

A release is numbered within its project, and its manifest is signed. It goes to **stages** of devices, one
after the other: each group of the policy, then shares of the other devices, then the rest.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from model_deployment.core.endpoints import EndpointName
from model_deployment.core.names import ModelKey


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortRule:
    """Stop a release once ``failed`` devices have failed, and they are at least ``failed``/``of`` of those
    that have reported how it went."""

    failed: int = 2
    of: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePolicy:
    """How a release reaches devices."""

    #: Groups of devices, one stage each, in this order.
    groups: tuple[str, ...] = ("canary",)
    #: Percent of the devices in none of these groups, rising, one stage each; then come the rest.
    percent: tuple[float, ...] = (10.0,)
    #: Percent of the devices reached by a stage that have to run the release before the next stage.
    success: float = 90.0
    #: Seconds that a stage rests after that.
    soak: float = 0.0
    abort: AbortRule = AbortRule()

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`as_dict`; members that are missing have their defaults."""
        found = dict(stored)
        if "abort" in found:
            found["abort"] = AbortRule(**found["abort"])
        for name in ("groups", "percent"):
            if name in found:
                found[name] = tuple(found[name])
        return cls(**found)

    @property
    def stages(self) -> int:
        """Number of stages: groups, shares, and the rest."""
        return len(self.groups) + len(self.percent) + 1


class ReleaseState(StrEnum):
    """The state of a release; see ``core/release_lifecycle.py``."""

    PREPARING = "preparing"  # artifacts are fetched and converted, the manifest is signed
    ROLLING = "rolling"  # stages are open up to `stage`
    PAUSED = "paused"  # no further stage opens; devices of open stages go on
    COMPLETE = "complete"  # all stages are open, and enough devices run it
    STOPPED = "stopped"  # too many devices failed, or an operator stopped it
    SUPERSEDED = "superseded"  # a newer one came before it was complete
    FAILED = "failed"  # it could not be prepared


#: Devices may be told to run it.
OFFERABLE = frozenset({ReleaseState.ROLLING, ReleaseState.PAUSED, ReleaseState.COMPLETE})
#: It is not decided how it ends.
UNDECIDED = frozenset({ReleaseState.PREPARING, ReleaseState.ROLLING, ReleaseState.PAUSED})


@dataclass(frozen=True, slots=True)
class Release:
    """One row of the state database."""

    id: int
    project_id: int
    #: Counts up within the project.
    number: int
    key: ModelKey
    policy: ReleasePolicy
    state: ReleaseState
    #: Number of the last stage that is open, from 0.
    stage: int
    reason: str
    created_at: datetime
    created_by: str
    #: When it entered its state or stage.
    since: datetime
    #: The endpoint that it follows; None if a version was named.
    endpoint: EndpointName | None = None
    #: Number of the release that this one takes back.
    reverts: int | None = None
    #: Canonical JSON, as it is signed; empty until it was prepared.
    manifest: str = ""
    #: Ed25519, in base64.
    signature: str = ""
    #: When every stage's devices that were reached ran it long enough; None while they do not.
    settled_at: datetime | None = None
    #: The webhook was told of its state; a move makes it False again.
    told: bool = False


@dataclass(frozen=True, slots=True)
class FollowedEndpoint:
    """An endpoint whose champion becomes a release of a project."""

    project_id: int
    endpoint: EndpointName
    policy: ReleasePolicy


@dataclass(frozen=True, slots=True)
class ReleaseEvent:
    """Something that happened to a release, to all devices or to one."""

    at: datetime
    number: int | None
    state: ReleaseState | None
    reason: str
    previous: ReleaseState | None = None
    #: Name of the device, where it is about one.
    device: str | None = None
