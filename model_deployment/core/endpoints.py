"""Endpoints and rollouts: the values that controller and proxies share.

An endpoint is a stable address of a model that follows an alias of the registry. What it answers with is
its **champion**. When the alias moves, a **rollout** makes the alias's version, the **candidate**, the
champion, if it proves itself.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self
from urllib.parse import quote

from model_deployment.core.errors import InvalidName, NotDeployed
from model_deployment.core.names import VERSION, ModelKey
from model_deployment.core.rollout_policy import RolloutPolicy

#: What MLflow accepts as an alias, but for its length.
ALIAS = re.compile(r"[\w-]{1,128}")


@dataclass(frozen=True, slots=True, order=True)
class EndpointName:
    """A registered model and an alias; written ``<model>@<alias>``, as in ``models:/<model>@<alias>``."""

    model: str
    alias: str

    @classmethod
    def of(cls, model: str, alias: str) -> Self:
        """Check a name and an alias as they came from a caller.

        Raises:
            InvalidName: the name or the alias cannot be used; the message says why.
        """
        ModelKey.of(model, 1)
        if not ALIAS.fullmatch(alias):
            raise InvalidName(
                f"cannot use the alias {alias[:60]!a}: an alias has 1 to 128 letters, digits, '_' "
                "and '-'"
            )
        return cls(model, alias)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``<model>@<alias>``.

        Raises:
            NotDeployed: the text has no ``@``, so it names no endpoint.
            InvalidName: the name or the alias cannot be used.
        """
        model, at, alias = text.partition("@")
        if not at:
            raise NotDeployed(
                f"cannot find {text[:60]!a}: an endpoint is addressed as <model>@<alias>, for "
                "example diabetes@champion"
            )
        return cls.of(model, alias)

    def __str__(self) -> str:
        return f"{self.model}@{self.alias}"

    @property
    def path(self) -> str:
        """The canonical URL path predictions are sent to."""
        return f"/{quote(self.model, safe='')}@{quote(self.alias, safe='')}"

    @property
    def short_path(self) -> str | None:
        """The path of the model's default endpoint; None where it would name a version of another model."""
        _, hyphen, version = self.model.rpartition("-")
        if hyphen and VERSION.fullmatch(version):
            return None
        return "/" + quote(self.model, safe="")


class RolloutState(StrEnum):
    """The state of a rollout."""

    DEPLOYING = "deploying"  # the candidate is being deployed
    CHECKING = "checking"  # its own input example, and captured requests through its gate
    REPLAYING = "replaying"  # captured requests are sent to it, and its answers compared
    SHADOWING = "shadowing"  # it gets copies of live requests
    CANARY = "canary"  # it answers a share of live requests
    PROMOTED = "promoted"  # it became the champion
    ROLLED_BACK = "rolled_back"  # it did not, or was the champion until somebody went back
    SUPERSEDED = "superseded"  # the alias moved on before it was decided


#: States of a rollout that is under way.
ACTIVE = frozenset({
    RolloutState.DEPLOYING, RolloutState.CHECKING, RolloutState.REPLAYING, RolloutState.SHADOWING,
    RolloutState.CANARY,
})  # fmt: skip


class RolloutKind(StrEnum):
    """How a rollout came about."""

    FORWARD = "forward"  # the alias moved to a version that has to prove itself
    BACK = "back"  # it moved back to the previous champion, which has proved itself


class Order(StrEnum):
    """What an operator wants of a rollout: written by the API, obeyed by the loop."""

    ADVANCE = "advance"
    PAUSE = "pause"
    PROMOTE = "promote"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True, slots=True)
class Rollout:
    """One row of the state database: a candidate on its way."""

    id: int
    endpoint_id: int
    candidate: int
    #: What it is compared with: the champion when the rollout began; None for the first version.
    champion: int | None
    kind: RolloutKind
    state: RolloutState
    #: Index of the canary step.
    step: int
    order: Order
    #: Why it is where it is: what it waits for, or why it ended.
    reason: str
    #: What was found: see ``endpoints/evidence.py``. JSON.
    evidence: Mapping[str, Any]
    started_at: datetime
    #: When it entered its state, or its canary step.
    since: datetime
    ended_at: datetime | None = None

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    @property
    def stage(self) -> str:
        """Names what the counts of proxies belong to: ``shadow``, ``canary-0``, ...; else empty."""
        match self.state:
            case RolloutState.SHADOWING:
                return SHADOW_STAGE
            case RolloutState.CANARY:
                return f"canary-{self.step}"
            case _:
                return ""


SHADOW_STAGE = "shadow"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of the state database: an endpoint, and what serves it."""

    id: int
    name: EndpointName
    policy: RolloutPolicy
    created_at: datetime
    #: The version that serves; None until there was one.
    champion: int | None = None
    champion_since: datetime | None = None
    #: The champion before, which is kept ready until ``previous_until``.
    previous: int | None = None
    previous_until: datetime | None = None
    #: The version that the alias named when it was looked at last; None if there is no such alias.
    alias_version: int | None = None
    #: What is wrong with the alias or the registry; empty if nothing is.
    notice: str = ""
    #: When it was made the default endpoint; the newest one of a model answers on ``/<model>``.
    default_at: datetime | None = None
    #: It is being deleted: nothing is routed any more, and its deployments are released.
    deleting: bool = False

    def key(self, version: int) -> ModelKey:
        return ModelKey(self.name.model, version)


#: An endpoint with its newest rollout, if there was one.
Pair = tuple[Endpoint, Rollout | None]


@dataclass(frozen=True, slots=True)
class RolloutEvent:
    """Something that happened to an endpoint or its rollout."""

    at: datetime
    rollout_id: int | None
    #: Version of the candidate, or of the champion.
    version: int | None
    state: RolloutState | None
    reason: str
    previous: RolloutState | None = None


@dataclass(frozen=True, slots=True)
class EndpointRoute:
    """What each proxy knows of one endpoint."""

    name: EndpointName
    champion: ModelKey | None
    #: Gets the canary's share of the requests, or the shadow's copies.
    candidate: ModelKey | None = None
    #: Id of the rollout, which counts belong to; 0: nothing is counted.
    rollout: int = 0
    #: See :attr:`Rollout.stage`.
    stage: str = ""
    #: Share of the requests that the candidate answers, 0 to 1.
    share: float = 0.0
    #: Share of the requests whose copies the candidate gets, 0 to 1.
    shadow: float = 0.0
    #: Callers wait for the champion though it was never ready: it takes another one's place.
    waits: bool = False
    #: It answers on the short path, too.
    default: bool = False
    #: Why there is no champion.
    reason: str = ""
