"""What goes in and out over HTTP."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

from model_deployment.controller import Choice
from model_deployment.domain import Deployment, Desired, EnvManager, Event, State

ModelName = Annotated[str, Path(description="Name of a registered model.", examples=["diabetes"])]
ModelVersion = Annotated[str, Path(description="Version, a whole number.", examples=["1"])]
Key = Annotated[str, Path(description="`<model>-<version>`.", examples=["diabetes-1"])]
Wait = Annotated[
    float, Query(ge=0, le=3600, description="Seconds to wait for the outcome; 0 answers at once.")
]


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
        extra="forbid", json_schema_extra={"examples": [{"env_manager": "local", "workers": 2}]}
    )

    env_manager: EnvManager | None = Field(
        None, description="`--env-manager` of `mlflow models serve`."
    )
    workers: int | None = Field(None, ge=1, le=64, strict=True, description="Server processes.")

    def choice(self) -> Choice:
        """As the controller takes it."""
        return Choice(env_manager=self.env_manager, workers=self.workers)


class OptionsOut(BaseModel):
    """The options in force."""

    env_manager: EnvManager
    workers: int


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
                    "restarts": 0,
                    "created_at": "2026-01-31T12:00:00Z",
                    "ready_at": "2026-01-31T12:00:05Z",
                    "options": {"env_manager": "local", "workers": 1},
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
            "restarts": row.restarts,
            "created_at": row.created_at,
            "ready_at": row.ready_at,
            "options": row.options.as_dict(),
        }

    @classmethod
    def of(cls, row: Deployment, base_url: str) -> "DeploymentOut":
        """From a row."""
        return cls(**cls.members(row, base_url))


class ModelOut(DeploymentOut):
    """A deployment with what its model says of itself."""

    signature: dict[str, Any] | None = Field(
        description="Inputs, outputs and params in MLflow's form; null where the model has none."
    )
    input_example: Any = Field(
        description="The model's own scoring request, null where it has none."
    )
    curl: str = Field(description="A command line that asks for a prediction.")


class EventOut(BaseModel):
    """Something that happened to a deployment."""

    at: datetime
    previous: State | None
    state: State
    launch_id: str | None
    reason: str

    @classmethod
    def of(cls, event: Event) -> "EventOut":
        """From an event."""
        return cls(
            at=event.at,
            previous=event.previous,
            state=event.state,
            launch_id=event.launch_id,
            reason=event.reason,
        )


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


class ReadyOut(BaseModel):
    """Whether the controller does its work."""

    status: str
    last_tick_seconds: float
    deployments: dict[State, int]
    ports: PortsOut
