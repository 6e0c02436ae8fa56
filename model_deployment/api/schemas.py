"""The bodies of answers."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from model_deployment.api.change_schemas import ReplacementOut
from model_deployment.api.environment_schemas import EnvironmentOut
from model_deployment.api.examples import example
from model_deployment.api.launch_schemas import (
    LAUNCH_EXAMPLE,
    NOT_MEASURED,
    CurrentLaunchOut,
    LaunchFigures,
    ReplicasOut,
    current_launches,
    identity_of,
)
from model_deployment.api.options import OptionsOut
from model_deployment.api.registry_schemas import RegisteredOut
from model_deployment.core.domain import Deployment, Desired, State
from model_deployment.core.events import Event
from model_deployment.core.hints import advice
from model_deployment.core.measures import ProxyCounters
from model_deployment.core.merging import turned_off
from model_deployment.core.options import Options
from model_deployment.runtime.base import Identify
from model_deployment.runtime.environment_views import EnvironmentView


class HealthOut(BaseModel):
    """Whether predictions can be answered."""

    model_config = example({"status": "ok"})

    status: str
    controller: str | None = Field(
        None, description="`away` while a proxy answers without a controller; else left out."
    )


class VersionOut(BaseModel):
    """Versions of the controller and of MLflow."""

    model_config = example({"model_deployment": "0.1.0", "mlflow": "3.17.2"})

    model_deployment: str
    mlflow: str


_DEPLOYMENT = {
    "name": "diabetes-1", "model": "diabetes", "version": 1, "state": "ready", "desired": "running",
    "url": "http://127.0.0.1:8000/diabetes-1", "port": 8001, "pid": 4242, "container": None, "threads": 2,
    "reason": "healthy", "advice": "", "restarts": 0, "replicas": {"wanted": 1, "ready": 1},
    "created_at": "2026-01-31T12:00:00Z", "ready_at": "2026-01-31T12:00:05Z",
    "options": Options(retention_days=30.0).as_dict(), "deployed_by": "ann", "replacement": None,
    "launches": [{**LAUNCH_EXAMPLE, "memory": None, "in_flight": None}], "environment": None,
}  # fmt: skip


class DeploymentOut(BaseModel):
    """A deployment."""

    model_config = example(_DEPLOYMENT)

    name: str
    model: str
    version: int
    state: State
    desired: Desired
    url: str = Field(description="Address for predictions, with POST.")
    port: int | None = Field(description="Of the replica that stands for the deployment.")
    pid: int | None = Field(description="Likewise; null for a container.")
    container: str | None = Field(description="Likewise; null for a process.")
    threads: int | None = Field(
        description="Likewise: threads that each of its worker processes computes with; null if unknown."
    )
    reason: str = Field(description="Reason of the state.")
    advice: str = Field(description="What helps after a failure; else empty.")
    restarts: int = Field(description="Starts since the deploy, not counting the first.")
    replicas: ReplicasOut
    created_at: datetime
    ready_at: datetime | None
    options: OptionsOut
    deployed_by: str | None = Field(
        description="The user, or `endpoint <name>`; null if that is not known."
    )
    replacement: ReplacementOut | None = Field(
        description="A change of options or a restart that is under way or has failed; else null."
    )
    launches: list[CurrentLaunchOut] = Field(
        description="Its launches now: replicas, then one that is to prove a change, then those that "
        "finish their requests."
    )
    environment: EnvironmentOut | None = Field(
        description="The environment of its own that it runs in (`env_manager` `uv`, `virtualenv` or "
        "`conda`); null where it runs in the controller's, or in a container."
    )

    @classmethod
    def members(
        cls,
        row: Deployment,
        base_url: str,
        identify: Identify,
        environment: EnvironmentView | None,
        figures: LaunchFigures = NOT_MEASURED,
    ) -> dict[str, Any]:
        """The fields, for this class and its subclasses."""
        identity = identity_of(row.handle, identify)
        return {
            "name": str(row.key),
            "model": row.key.model,
            "version": row.key.version,
            "state": row.state,
            "desired": row.desired,
            "url": base_url.rstrip("/") + row.key.path,
            "port": row.port,
            "pid": identity["pid"],
            "container": identity["container"],
            "threads": identity["threads"],
            "reason": row.reason,
            "advice": _advice(row.state, row.reason),
            "restarts": row.restarts,
            "replicas": ReplicasOut.of(row),
            "created_at": row.created_at,
            "ready_at": row.ready_at,
            "options": row.options.as_dict(),
            "deployed_by": row.deployed_by,
            "replacement": ReplacementOut.of(row),
            "launches": current_launches(row, identify, figures),
            "environment": EnvironmentOut.of(row.key, environment),
        }

    @classmethod
    def of(
        cls,
        row: Deployment,
        base_url: str,
        identify: Identify,
        environment: EnvironmentView | None,
    ) -> "DeploymentOut":
        return cls(**cls.members(row, base_url, identify, environment))


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

    model_config = example({
        **_DEPLOYMENT, "launches": [LAUNCH_EXAMPLE], "workers_serving": 1,
        "signature": {"inputs": [{"name": "age", "type": "double", "required": True}], "outputs": None,
                      "params": None},
        "input_example": {"dataframe_split": {"columns": ["age"], "data": [[0.03]]}},
        "curl": "curl -X POST http://127.0.0.1:8000/diabetes-1 -d '{\"age\": 0.03}'",
        "rss": 210_000_000, "pss": 29_000_000, "memory_needed": 29_000_000,
        "serving": {
            "checked": True, "refused": 4,
            "violations": [{"column": "age", "kind": "type", "count": 4}],
            "merging": {"max_rows": 256, "reason": "each row is predicted by itself"},
            "batches": 12, "batched_rows": 300, "unmergeable": "",
        },
    })  # fmt: skip

    workers_serving: int | None = Field(
        description="Worker processes that have loaded the model, of `options.workers` in each replica; "
        "null if unknown "
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
        description="Resident memory of the processes of all launches, in bytes; null if there are none."
    )
    pss: int | None = Field(
        description="Proportional set size of the processes of all launches, in bytes: shared memory is "
        "divided among the processes."
    )
    registered: RegisteredOut | None = Field(
        description="What the registry says of the version; null if it does not answer and was never asked."
    )
    memory_needed: int = Field(
        description="Bytes of memory that the next start is expected to take: the last measurement, or "
        "an estimate."
    )
    serving: ServingOut


class EventOut(BaseModel):
    """A change of state of a deployment."""

    model_config = example({
        "at": "2026-01-31T12:00:05Z", "previous": "starting", "state": "ready",
        "launch_id": "6b1c0f9e2d", "replica": 0, "reason": "healthy", "advice": "",
    })  # fmt: skip

    at: datetime
    previous: State | None
    state: State
    launch_id: str | None
    replica: int | None = Field(
        description="Number of the replica that it happened to; null if it happened to the deployment."
    )
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


class MemoryOut(BaseModel):
    """Memory that the controller and its models can use, in bytes: of the machine, or of its container."""

    total: int
    available: int = Field(description="What can be taken without swapping.")


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

    model_config = example({
        "status": "ready", "last_tick_seconds": 0.4, "deployments": {"ready": 3, "parked": 1},
        "ports": {"range": "8001-8100", "free": 97, "leased": 3, "quarantined": 0, "blocked": []},
        "memory": {"total": 16_000_000_000, "available": 9_000_000_000},
        "captures": {"spool_bytes": 0, "written": 1200, "dropped": 0, "dead": 0, "error": ""},
    })  # fmt: skip

    status: str
    last_tick_seconds: float
    deployments: dict[State, int]
    ports: PortsOut
    memory: MemoryOut | None = Field(description="Null where it cannot be read.")
    captures: CapturesOut
