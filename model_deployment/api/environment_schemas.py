"""The bodies of answers about built environments and warm parents."""

from pydantic import BaseModel, Field

from model_deployment.api.examples import example
from model_deployment.core.names import ModelKey
from model_deployment.core.options import EnvManager
from model_deployment.runtime.environment_views import (
    BuildState,
    BuiltView,
    EnvironmentView,
    ParentView,
)

#: In the place of a launch: the log of the build.
BUILD = "build"

ENVIRONMENT_EXAMPLE = {
    "manager": "uv", "digest": "3f6d0c1a9b2e4d5c6b7a8f90", "state": "building",
    "progress": "installing 41 packages", "python_version": None, "mlflow_version": None,
    "log": "/model/diabetes-1/logs?launch=build",
}  # fmt: skip


_PARENT_EXAMPLE = {
    "environment": "3f6d0c1a9b2e4d5c6b7a8f90", "pid": 4711, "models": 3, "memory": 214_000_000,
}  # fmt: skip
_BUILT_EXAMPLE = {
    "digest": "3f6d0c1a9b2e4d5c6b7a8f90", "python_version": "3.11.7", "mlflow_version": "2.22.0",
    "size": 512_000_000, "needed": True,
}  # fmt: skip


class EnvironmentOut(BaseModel):
    """The environment that a deployment's launches run in, where it is not the controller's own."""

    model_config = example(ENVIRONMENT_EXAMPLE)

    manager: EnvManager
    digest: str | None = Field(
        description="Of the Python version and the requirements; the same for models that share it. Null "
        "while the artifacts are not there, and where they say nothing that can be used."
    )
    state: BuildState = Field(
        description="`missing`: it is built before the next start. `building`. `ready`: a start installs "
        "nothing. `failed`: it could not be built; the next deploy tries again."
    )
    progress: str = Field(description="What is done now, or why it could not be built; else empty.")
    python_version: str | None = Field(description="Null until it is ready.")
    mlflow_version: str | None = Field(
        description="Null until it is ready, and where it has no MLflow."
    )
    log: str | None = Field(
        description="Path of the call that shows the log of its build; null if none began."
    )

    @classmethod
    def of(cls, key: ModelKey, view: EnvironmentView | None) -> "EnvironmentOut | None":
        if view is None:
            return None
        return cls(
            manager=view.manager,
            digest=view.digest or None,
            state=view.state,
            progress=view.progress,
            python_version=view.python_version or None,
            mlflow_version=view.mlflow_version or None,
            log=f"/model/{key.path[1:]}/logs?launch={BUILD}" if view.has_log else None,
        )


class WarmParentOut(BaseModel):
    """A process that has imported what models need, and that models are forked from."""

    model_config = example(_PARENT_EXAMPLE)

    environment: str | None = Field(
        description="Digest of its environment; null for the controller's own."
    )
    pid: int | None = Field(description="Null while it is being started.")
    models: int = Field(description="Model servers that were forked from it and live.")
    memory: int | None = Field(
        description="Bytes that it has written, with what its forks share of them; null where that cannot "
        "be read."
    )

    @classmethod
    def of(cls, view: ParentView) -> "WarmParentOut":
        return cls(
            environment=view.digest or None,
            pid=view.pid or None,
            models=view.launches,
            memory=view.memory,
        )


class BuiltEnvironmentOut(BaseModel):
    """An environment in the data directory."""

    model_config = example(_BUILT_EXAMPLE)

    digest: str
    python_version: str | None
    mlflow_version: str | None = Field(description="Null without MLflow.")
    size: int = Field(description="Bytes on the disk.")
    needed: bool = Field(
        description="Whether a deployment needs it; what nobody needs is removed after a while."
    )

    @classmethod
    def of(cls, view: BuiltView) -> "BuiltEnvironmentOut":
        return cls(
            digest=view.digest,
            python_version=view.python_version or None,
            mlflow_version=view.mlflow_version or None,
            size=view.size,
            needed=view.needed,
        )


class EnvironmentsOut(BaseModel):
    """The warm parents, and the environments on the disk."""

    model_config = example({"parents": [_PARENT_EXAMPLE], "environments": [_BUILT_EXAMPLE]})

    parents: list[WarmParentOut] = Field(description="The controller's own is the first.")
    environments: list[BuiltEnvironmentOut]
