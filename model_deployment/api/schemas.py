"""What comes out over HTTP."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from model_deployment.api.options import OptionsOut
from model_deployment.core.domain import Deployment, Desired, Event, ProxyCounters, State
from model_deployment.core.hints import advice
from model_deployment.core.options import Options


class RegisteredModelOut(BaseModel):
    """A registered model."""

    name: str
    latest_version: int | None
    aliases: dict[str, int] = Field(description="Version of each alias.")
    description: str
    tags: dict[str, str]
    deployed_versions: list[int]


class RegisteredVersionOut(BaseModel):
    """A version of a registered model."""

    version: int
    aliases: list[str]
    status: str = Field(description="The registry's own, READY where it can be deployed.")
    run_id: str | None
    created_at: datetime
    metrics: dict[str, float | None]
    state: State | None = Field(description="State of its deployment, null where there is none.")


class DeploymentOut(BaseModel):
    """A deployment."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "diabetes-1",
                    "model": "diabetes",
                    "version": 1,
                    "state": "ready",
                    "desired": "running",
                    "url": "http://127.0.0.1:8000/diabetes-1",
                    "port": 8001,
                    "pid": 4242,
                    "reason": "healthy",
                    "advice": "",
                    "restarts": 0,
                    "created_at": "2026-01-31T12:00:00Z",
                    "ready_at": "2026-01-31T12:00:05Z",
                    "options": Options(retention_days=30.0).as_dict(),
                }
            ]
        }
    )

    name: str
    model: str
    version: int
    state: State
    desired: Desired
    url: str = Field(description="Where predictions are asked for, with POST.")
    port: int | None
    pid: int | None
    reason: str = Field(description="Why it is in this state.")
    advice: str = Field(description="What helps where it failed or is tried again; else empty.")
    restarts: int = Field(description="Starts after the first since it was deployed.")
    created_at: datetime
    ready_at: datetime | None
    options: OptionsOut

    @classmethod
    def members(cls, row: Deployment, base_url: str) -> dict[str, Any]:
        """The fields of a deployment, for this class and those that extend it."""
        return {
            "name": str(row.key),
            "model": row.key.model,
            "version": row.key.version,
            "state": row.state,
            "desired": row.desired,
            "url": base_url.rstrip("/") + row.key.path,
            "port": row.port,
            "pid": row.handle.ref.get("pid") if row.handle else None,
            "reason": row.reason,
            "advice": _advice(row.state, row.reason),
            "restarts": row.restarts,
            "created_at": row.created_at,
            "ready_at": row.ready_at,
            "options": row.options.as_dict(),
        }

    @classmethod
    def of(cls, row: Deployment, base_url: str) -> "DeploymentOut":
        """From a row."""
        return cls(**cls.members(row, base_url))


class ViolationsOut(BaseModel):
    """How often one column was wrong in one way."""

    column: str = Field(description="Empty for what is no column of the signature.")
    kind: str
    count: int


class ServingOut(BaseModel):
    """What the proxy has counted since this controller began to route to the deployment."""

    checked: bool | None = Field(
        description="Whether there is a signature to check requests against; null while not ready."
    )
    refused: int = Field(description="Requests that were refused for not fitting the signature.")
    violations: list[ViolationsOut]
    batches: int = Field(description="Calls of the model that carried several requests.")
    batched_rows: int
    unmergeable: str = Field(description="Why micro-batching turned itself off, if it did.")

    @classmethod
    def of(cls, counters: ProxyCounters) -> "ServingOut":
        """From the proxy's counters."""
        return cls(
            checked=counters.checked,
            refused=counters.refused,
            violations=[
                ViolationsOut(column=column, kind=kind, count=count)
                for (column, kind), count in sorted(counters.violations.items())
            ],
            batches=counters.batches,
            batched_rows=counters.batched_rows,
            unmergeable=counters.unmergeable,
        )


class ModelOut(DeploymentOut):
    """A deployment with what its model says of itself."""

    workers_serving: int | None = Field(
        description="Server processes that have loaded the model, of `options.workers`; null where that "
        "cannot be told: several workers of `mlflow models serve`."
    )
    signature: dict[str, Any] | None = Field(
        description="Inputs, outputs and params in MLflow's form; null where the model has none. An "
        "input in which its own example has missing values is `nullable`: it takes null."
    )
    input_example: Any = Field(
        description="The model's own scoring request, null where it has none."
    )
    curl: str = Field(
        description="A command line that asks for a prediction: with the input example, with a row of "
        "it where only that passes the check, or with a request made from the signature."
    )
    rss: int | None = Field(
        description="Resident memory of its processes, in bytes; null where there are none."
    )
    pss: int | None = Field(
        description="The same with what is shared divided among those who share it."
    )
    memory_needed: int = Field(
        description="Bytes it is expected to take when it is started next: as last measured, or a guess."
    )
    serving: ServingOut


class EventOut(BaseModel):
    """Something that happened to a deployment."""

    at: datetime
    previous: State | None
    state: State
    launch_id: str | None
    reason: str
    advice: str = Field(description="What helps where it failed or is tried again; else empty.")

    @classmethod
    def of(cls, event: Event) -> "EventOut":
        """From an event."""
        return cls(
            at=event.at,
            previous=event.previous,
            state=event.state,
            launch_id=event.launch_id,
            reason=event.reason,
            advice=_advice(event.state, event.reason),
        )


def _advice(state: State, reason: str) -> str:
    return advice(reason) if state in (State.FAILED, State.PENDING) else ""


class Problem(BaseModel):
    """An error (RFC 9457, `application/problem+json`)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, Any]] = Field(default_factory=list)


class PortsOut(BaseModel):
    """The port pool."""

    range: str
    free: int
    leased: int
    quarantined: int
    blocked: list[dict[str, Any]] = Field(description="Ports that other programs listen on.")


class CapturesOut(BaseModel):
    """How the captures of predictions fare."""

    spool_bytes: int = Field(description="Waiting on the local disk for the document store.")
    written: int
    dropped: int = Field(description="Lost: no room in the spool, too old, or damaged.")
    dead: int = Field(description="Refused by the store, and kept aside with the reason.")
    error: str = Field(description="Why the document store takes nothing; empty while it does.")


class ReadyOut(BaseModel):
    """Whether the controller does its work."""

    status: str
    last_tick_seconds: float
    deployments: dict[State, int]
    ports: PortsOut
    captures: CapturesOut
