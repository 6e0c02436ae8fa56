"""The bodies of answers about endpoints and rollouts."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from model_deployment.api.examples import example
from model_deployment.api.parameters import encodable
from model_deployment.core.domain import State
from model_deployment.core.endpoints import (
    Order,
    Rollout,
    RolloutEvent,
    RolloutKind,
    RolloutState,
)
from model_deployment.core.rollout_policy import RolloutPolicy
from model_deployment.endpoints.findings import CandidateFinding, Judgement, Outcome
from model_deployment.endpoints.views import EndpointView, ServedVersion, VersionRole

_AT = "2026-01-31T12:00:00Z"
_ROLLOUT = {
    "id": 7, "candidate": 2, "champion": 1, "kind": "forward", "state": "canary", "step": 0,
    "order": "advance", "reason": "12 of 50 requests answered", "active": True,
    "started_at": _AT, "since": _AT, "ended_at": None,
}  # fmt: skip


class ServedVersionOut(BaseModel):
    """A version that the endpoint uses now."""

    version: int
    role: VersionRole
    share: float = Field(description="Share of the endpoint's requests that it answers, 0 to 1.")
    state: State | None = Field(description="State of its deployment; null if there is none.")
    reason: str = Field(description="Reason of the deployment's state.")

    @classmethod
    def of(cls, served: ServedVersion) -> "ServedVersionOut":
        return cls(**asdict(served))


class RolloutOut(BaseModel):
    """A candidate on its way, or how it ended."""

    model_config = example(_ROLLOUT)

    id: int
    candidate: int = Field(description="Version.")
    champion: int | None = Field(
        description="Version that the candidate is compared with; null for the first version."
    )
    kind: RolloutKind = Field(
        description="`back`: the alias moved back to the previous champion, which has proved itself."
    )
    state: RolloutState
    step: int = Field(description="Index of the canary step, from 0.")
    order: Order = Field(description="What an operator wants; `pause` keeps it where it is.")
    reason: str = Field(description="What it waits for, or why it ended.")
    active: bool = Field(description="It is under way.")
    started_at: datetime
    since: datetime = Field(description="When it entered its state, or its canary step.")
    ended_at: datetime | None

    @classmethod
    def of(cls, rollout: Rollout) -> "RolloutOut":
        names = cls.model_fields.keys()
        return cls(**{name: getattr(rollout, name) for name in names})


class RolloutEventOut(BaseModel):
    """Something that happened to an endpoint or its rollout."""

    model_config = example({
        "at": _AT, "rollout_id": 7, "version": 2, "previous": "shadowing", "state": "canary",
        "reason": "200 requests answered alike",
    })  # fmt: skip

    at: datetime
    rollout_id: int | None
    version: int | None = Field(description="Of the candidate, or of the champion.")
    previous: RolloutState | None
    state: RolloutState | None
    reason: str

    @classmethod
    def of(cls, event: RolloutEvent) -> "RolloutEventOut":
        return cls(**asdict(event))


class FindingOut(BaseModel):
    """The outcome of a step."""

    outcome: Outcome
    reason: str
    figures: dict[str, Any]

    @classmethod
    def of(cls, finding: CandidateFinding | None) -> "FindingOut | None":
        return None if finding is None else cls(**finding.as_dict())


class GuardReadingOut(BaseModel):
    """What a guard sees now."""

    guard: str = Field(description="`errors`, `latency` or `quality`.")
    outcome: Outcome
    text: str = Field(description="The figures of both versions, or what is missing.")
    champion: float | None = Field(
        description="Share of failed requests, milliseconds, or error in the metric; null if unknown."
    )
    candidate: float | None
    evidence: float = Field(description="How much the data speak against the candidate.")
    limit: float = Field(description="The evidence at which the candidate is rolled back.")


class GuardsOut(BaseModel):
    """All guards together."""

    outcome: Outcome
    reason: str
    readings: list[GuardReadingOut]

    @classmethod
    def of(cls, judgement: Judgement | None) -> "GuardsOut | None":
        return None if judgement is None else cls(**asdict(judgement))


_ENDPOINT = {
    "name": "diabetes@champion", "model": "diabetes", "alias": "champion",
    "url": "http://127.0.0.1:8000/diabetes@champion", "default": True,
    "short_url": "http://127.0.0.1:8000/diabetes",
    "status": "version 1 serves; version 2 answers 5 % of the requests: 12 of 50 requests answered",
    "champion": 1, "champion_since": _AT, "previous": None, "previous_until": None,
    "alias_version": 2, "notice": "", "deleting": False, "created_at": _AT,
    "policy": RolloutPolicy().as_dict(),
    "versions": [
        {"version": 1, "role": "champion", "share": 0.95, "state": "ready", "reason": "healthy"},
        {"version": 2, "role": "candidate", "share": 0.05, "state": "ready", "reason": "healthy"},
    ],
    "rollout": _ROLLOUT,
    "check": {"outcome": "passed", "reason": "the example is predicted", "figures": {}},
    "replay": None, "guards": None,
}  # fmt: skip


class EndpointOut(BaseModel):
    """An endpoint, what serves it, and what is on its way."""

    model_config = example(_ENDPOINT)

    name: str
    model: str
    alias: str
    url: str = Field(description="Address for predictions, with POST.")
    default: bool = Field(description="It answers at the address without an alias as well.")
    short_url: str | None = Field(description="That address; null if it does not.")
    status: str = Field(description="What serves, and why the rest is where it is, in one line.")
    champion: int | None = Field(description="Version that serves; null until there was one.")
    champion_since: datetime | None
    previous: int | None = Field(
        description="The champion before, which is kept ready for a rollback."
    )
    previous_until: datetime | None
    alias_version: int | None = Field(
        description="Version that the alias named when it was looked at last; null: no such alias."
    )
    notice: str = Field(description="What is wrong with the alias or the registry; else empty.")
    deleting: bool
    created_at: datetime
    policy: RolloutPolicy
    versions: list[ServedVersionOut]
    rollout: RolloutOut | None = Field(
        description="The newest one, whether it is under way or not; null if there was none."
    )
    check: FindingOut | None = Field(description="Of the newest rollout; null if not made.")
    replay: FindingOut | None = Field(description="Of the newest rollout; null if not made.")
    guards: GuardsOut | None = Field(description="Null without a rollout that has counts.")

    @classmethod
    def members(cls, view: EndpointView, base_url: str) -> dict[str, Any]:
        """The fields, for this class and its subclasses."""
        endpoint, base = view.endpoint, base_url.rstrip("/")
        short = endpoint.name.short_path if view.default else None
        same = ("champion", "champion_since", "previous", "previous_until", "alias_version", "notice",
                "deleting", "created_at", "policy")  # fmt: skip
        return {
            "name": str(endpoint.name),
            "model": endpoint.name.model,
            "alias": endpoint.name.alias,
            "url": base + endpoint.name.path,
            "default": view.default,
            "short_url": None if short is None else base + short,
            "status": view.status,
            **{name: getattr(endpoint, name) for name in same},
            "versions": [ServedVersionOut.of(one) for one in view.versions],
            "rollout": None if view.rollout is None else RolloutOut.of(view.rollout),
            "check": FindingOut.of(view.check),
            "replay": FindingOut.of(view.replay),
            "guards": GuardsOut.of(view.judgement),
        }

    @classmethod
    def of(cls, view: EndpointView, base_url: str) -> "EndpointOut":
        return cls(**cls.members(view, base_url))


class EndpointDetailOut(EndpointOut):
    """An endpoint with its history."""

    model_config = example({
        **_ENDPOINT, "rollouts": [_ROLLOUT],
        "events": [{
            "at": _AT, "rollout_id": 7, "version": 2, "previous": None, "state": "deploying",
            "reason": "the alias names version 2",
        }],
    })  # fmt: skip

    rollouts: list[RolloutOut] = Field(description="The newest ones, newest first.")
    events: list[RolloutEventOut] = Field(description="The newest ones, newest first.")

    @classmethod
    def with_history(
        cls,
        view: EndpointView,
        base_url: str,
        rollouts: Sequence[Rollout],
        events: Sequence[RolloutEvent],
    ) -> "EndpointDetailOut":
        return cls(
            **cls.members(view, base_url),
            rollouts=[RolloutOut.of(one) for one in rollouts],
            events=[RolloutEventOut.of(one) for one in events],
        )


class SetModelIn(BaseModel):
    """Which endpoint becomes the default one."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"model": "diabetes", "alias": "champion"}]}
    )

    model: Annotated[str, AfterValidator(encodable)] | None = Field(
        None, description="Name of a registered model; that of the default endpoint if left out."
    )
    alias: Annotated[str, AfterValidator(encodable)]


class SetModelOut(BaseModel):
    """The default endpoint, and which version serves it."""

    model_config = example({
        "name": "diabetes@champion", "model": "diabetes", "alias": "champion", "version": 2,
        "alias_version": 2, "serves": True, "url": "http://127.0.0.1:8000/diabetes@champion",
        "status": "version 2 serves",
    })  # fmt: skip

    name: str
    model: str
    alias: str
    version: int | None = Field(description="Version that serves now; null if none does.")
    alias_version: int | None = Field(description="Version that the alias names.")
    serves: bool = Field(description="The alias's version serves.")
    url: str
    status: str = Field(description="What serves, and why the rest is where it is, in one line.")

    @classmethod
    def of(cls, view: EndpointView, base_url: str) -> "SetModelOut":
        endpoint = view.endpoint
        return cls(
            name=str(endpoint.name),
            model=endpoint.name.model,
            alias=endpoint.name.alias,
            version=endpoint.champion,
            alias_version=endpoint.alias_version,
            serves=endpoint.champion is not None and endpoint.champion == endpoint.alias_version,
            url=base_url.rstrip("/") + endpoint.name.path,
            status=view.status,
        )


class ModelInfoOut(BaseModel):
    """What an endpoint serves now."""

    model_config = example({
        "endpoint": "diabetes@champion", "model": "diabetes", "alias": "champion", "version": 2,
        "since": _AT, "run_id": "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "metrics": {"rmse": 53.4}, "signature": None, "registry": "", "status": "version 2 serves",
    })  # fmt: skip

    endpoint: str
    model: str
    alias: str
    version: int | None = Field(description="Version that serves; null if none does yet.")
    since: datetime | None = Field(description="When it began to serve.")
    run_id: str | None = Field(description="Run that logged the version; null if unknown.")
    metrics: dict[str, float | None] = Field(description="Of that run, from the registry.")
    signature: dict[str, Any] | None = Field(
        description="Inputs, outputs and params in MLflow's form; null if the model has no signature."
    )
    registry: str = Field(
        description="Why the registry did not give the run and its metrics; empty if it did."
    )
    status: str = Field(description="What serves, and why the rest is where it is, in one line.")
