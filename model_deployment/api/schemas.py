"""The bodies of answers."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from model_deployment.api.options import OptionsOut
from model_deployment.core.domain import Deployment, Desired, Event, ProxyCounters, State
from model_deployment.core.hints import advice
from model_deployment.core.merging import turned_off
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
    status: str = Field(description="Status in the registry; READY if the version can be deployed.")
    run_id: str | None
    created_at: datetime
    metrics: dict[str, float | None]
    state: State | None = Field(description="State of the deployment; null if there is none.")


class DeploymentOut(BaseModel):
    """A deployment."""

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "name": "diabetes-1", "model": "diabetes", "version": 1, "state": "ready", "desired": "running",
        "url": "http://127.0.0.1:8000/diabetes-1", "port": 8001, "pid": 4242, "reason": "healthy",
        "advice": "", "restarts": 0,
        "created_at": "2026-01-31T12:00:00Z", "ready_at": "2026-01-31T12:00:05Z",
        "options": Options(retention_days=30.0).as_dict(),
    }]})  # fmt: skip

    name: str
    model: str
    version: int
    state: State
    desired: Desired
    url: str = Field(description="Address for predictions, with POST.")
    port: int | None
    pid: int | None
    reason: str = Field(description="Reason of the state.")
    advice: str = Field(description="What helps after a failure; else empty.")
    restarts: int = Field(description="Starts since the deploy, not counting the first.")
    created_at: datetime
    ready_at: datetime | None
    options: OptionsOut

    @classmethod
    def members(cls, row: Deployment, base_url: str) -> dict[str, Any]:
        """The fields, for this class and its subclasses."""
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
        return cls(**cls.members(row, base_url))


class ViolationsOut(BaseModel):
    """How often a column did not fit the signature in one way."""

    column: str = Field(description="Empty if the error is not about one column.")
    kind: str
    count: int


class MergingOut(BaseModel):
    """Whether waiting requests are merged into one call of the model."""

    max_rows: int = Field(description="Rows of a merged call, at most; 0: requests are not merged.")
    reason: str = Field(description="Why requests are merged, or why not.")

    @classmethod
    def of(cls, row: Deployment, counters: ProxyCounters) -> "MergingOut | None":
        if row.state is not State.READY:
            return None
        return cls(**asdict(turned_off(row.merging_in_force, counters.unmergeable)))


class ServingOut(BaseModel):
    """What the proxy has counted since this controller began to route to the deployment."""

    checked: bool | None = Field(
        description="Whether requests are checked against a signature; null while not ready."
    )
    refused: int = Field(description="Requests rejected because they did not fit the signature.")
    violations: list[ViolationsOut]
    merging: MergingOut | None = Field(
        description="Whether waiting requests are merged, and why; null while not ready."
    )
    batches: int = Field(description="Calls of the model that carried several requests.")
    batched_rows: int
    unmergeable: str = Field(
        description="Why batching was turned off automatically; empty if it was not."
    )

    @classmethod
    def of(cls, row: Deployment, counters: ProxyCounters) -> "ServingOut":
        return cls(
            checked=counters.checked,
            refused=counters.refused,
            violations=[
                ViolationsOut(column=column, kind=kind, count=count)
                for (column, kind), count in sorted(counters.violations.items())
            ],
            merging=MergingOut.of(row, counters),
            batches=counters.batches,
            batched_rows=counters.batched_rows,
            unmergeable=counters.unmergeable,
        )


class ModelOut(DeploymentOut):
    """A deployment with its model's signature, example, memory and counters."""

    workers_serving: int | None = Field(
        description="Worker processes that have loaded the model, of `options.workers`; null if unknown "
        "(several workers of `mlflow models serve`)."
    )
    signature: dict[str, Any] | None = Field(
        description="Inputs, outputs and params in MLflow's form; null if the model has no signature. An "
        "input that has missing values in the model's example is `nullable`: it accepts null."
    )
    input_example: Any = Field(
        description="The scoring request logged with the model; null if there is none."
    )
    curl: str = Field(
        description="A command line that requests a prediction with the input example, with one row of "
        "the example if only one row fits the signature, or with values made up from the signature."
    )
    rss: int | None = Field(
        description="Resident memory of the processes, in bytes; null if there are none."
    )
    pss: int | None = Field(
        description="Proportional set size of the processes, in bytes: shared memory is divided among the "
        "processes."
    )
    memory_needed: int = Field(
        description="Bytes of memory that the next start is expected to take: the last measurement, or "
        "an estimate."
    )
    serving: ServingOut


class EventOut(BaseModel):
    """A change of state of a deployment."""

    at: datetime
    previous: State | None
    state: State
    launch_id: str | None
    reason: str
    advice: str = Field(description="What helps after a failure; else empty.")

    @classmethod
    def of(cls, event: Event) -> "EventOut":
        return cls(**asdict(event), advice=_advice(event.state, event.reason))


def _advice(state: State, reason: str) -> str:
    return advice(reason) if state in (State.FAILED, State.PENDING) else ""


class PortsOut(BaseModel):
    """The port pool."""

    range: str
    free: int
    leased: int
    quarantined: int
    blocked: list[dict[str, Any]] = Field(description="Ports that other programs listen on.")


class CapturesOut(BaseModel):
    """State of the captures of predictions."""

    spool_bytes: int = Field(
        description="Bytes that wait on the local disk for the document store."
    )
    written: int
    dropped: int = Field(
        description="Captures lost: the spool was full, or the capture was too old or damaged."
    )
    dead: int = Field(
        description="Captures that the document store refused; they are kept with the reason."
    )
    error: str = Field(description="Why the document store accepts no captures; empty if it does.")


class ReadyOut(BaseModel):
    """Whether the controller is ready."""

    status: str
    last_tick_seconds: float
    deployments: dict[State, int]
    ports: PortsOut
    captures: CapturesOut
