"""What goes in and out over HTTP."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from model_deployment import units
from model_deployment.advice import advice
from model_deployment.controller import Choice
from model_deployment.domain import Counters, Deployment, Desired, Event, State
from model_deployment.names import NAME, VERSION
from model_deployment.options import MAX_CAPTURE_BYTES, EnvManager, StartMethod, Validation

# The patterns are told and not checked here: ModelKey says in its own words what is wrong.
ModelName = Annotated[
    str,
    Path(
        description="Name of a registered model.",
        examples=["diabetes"],
        json_schema_extra={"pattern": f"^{NAME.pattern}$"},
    ),
]
ModelVersion = Annotated[
    str,
    Path(
        description="Version, a whole number.",
        examples=["1"],
        json_schema_extra={"pattern": f"^{VERSION.pattern}$"},
    ),
]
Key = Annotated[
    str,
    Path(
        description="`<model>-<version>`.",
        examples=["diabetes-1"],
        json_schema_extra={"pattern": f"^{NAME.pattern}-{VERSION.pattern}$"},
    ),
]
Wait = Annotated[
    float, Query(ge=0, le=3600, description="Seconds to wait for the outcome; 0 answers at once.")
]


def encodable(text: str) -> str:
    """Text that can be written down: half of a pair of UTF-16 cannot, and JSON lets it in.

    Raises:
        ValueError: it cannot.
    """
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("it has half a character in it") from None
    return text


def _duration(unit: str, number: Any, pattern: str) -> BeforeValidator:
    """A number is taken, and text like ``12h``; the pattern describes what is surely within the limits."""

    def read(value: Any) -> Any:
        return units.duration(value, unit) if isinstance(value, str) else value

    text = Annotated[str, Field(pattern=pattern)]
    return BeforeValidator(read, json_schema_input_type=number | text)


_idle_seconds = Annotated[float, Field(ge=0, le=366 * 86400)]
_kept_days = Annotated[float, Field(gt=0, le=36500)]
IdleTimeout = Annotated[_idle_seconds, _duration("s", _idle_seconds, "^[0-9]{1,3}[smh]$")]
RetentionDays = Annotated[_kept_days, _duration("d", _kept_days, "^[1-9][0-9]{0,2}[hd]$")]
ColumnName = Annotated[str, Field(min_length=1, max_length=250), AfterValidator(encodable)]


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


class DeployOptions(BaseModel):
    """How to serve; what is left out takes the default."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"workers": 2, "validation": "strict", "batch_max_rows": 256}]
        },
    )

    env_manager: EnvManager | None = Field(
        None, description="`--env-manager` of `mlflow models serve`."
    )
    start_method: StartMethod | None = Field(
        None,
        description="`forkserver` forks from a process that has imported MLflow, `serve` runs "
        "`mlflow models serve`, `auto` forks where that is possible.",
    )
    workers: int | None = Field(None, ge=1, le=64, strict=True, description="Server processes.")

    validation: Validation | None = Field(
        None,
        description="How hard requests are checked against the model's signature: `strict` refuses "
        "what does not fit, `coerce` converts what can be converted without doubt, `observe` counts.",
    )
    batch_max_rows: int | None = Field(
        None,
        ge=0,
        le=100_000,
        strict=True,
        description="Requests that wait for the model go to it as one call of up to so many rows; "
        "0 is off. The deploy fails if the model's predictions of rows together and apart differ.",
    )

    capture_rate: float | None = Field(
        None, ge=0, le=1, description="Share of the answered requests that are captured; 1 is all."
    )
    capture_exclude: tuple[ColumnName, ...] | None = Field(
        None, max_length=1000, description="Columns that are not captured."
    )
    capture_hash: tuple[ColumnName, ...] | None = Field(
        None, max_length=1000, description="Columns of which only digests are captured."
    )
    max_capture_bytes: int | None = Field(
        None,
        ge=0,
        le=MAX_CAPTURE_BYTES,
        description="Of larger requests and answers only the fact is captured.",
    )
    retention_days: RetentionDays | None = Field(
        None, description="Days that captures are kept; or text like `12h`."
    )

    idle_timeout: IdleTimeout | None = Field(
        None,
        description="Seconds without a request after which its processes are stopped and its port is "
        "released (`parked`); the next request starts them again and waits. 0 is off. Or text like `30m`.",
    )

    def choice(self) -> Choice:
        """As the controller takes it."""
        return Choice(**dict(self))


class OptionsOut(BaseModel):
    """The options in force."""

    env_manager: EnvManager
    start_method: StartMethod
    workers: int
    validation: Validation
    batch_max_rows: int
    capture_rate: float
    capture_exclude: list[str]
    capture_hash: list[str]
    max_capture_bytes: int
    retention_days: float | None
    idle_timeout: float


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
                    "options": {
                        "env_manager": "local",
                        "start_method": "auto",
                        "workers": 1,
                        "validation": "strict",
                        "batch_max_rows": 0,
                        "capture_rate": 1.0,
                        "capture_exclude": [],
                        "capture_hash": [],
                        "max_capture_bytes": 1048576,
                        "retention_days": 30,
                        "idle_timeout": 0,
                    },
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
    def of(cls, counters: Counters) -> "ServingOut":
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
