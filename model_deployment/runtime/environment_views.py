"""What is shown of environments and of warm parents."""

from dataclasses import dataclass
from enum import StrEnum

from model_deployment.core.options import EnvManager

#: Characters of a digest that are shown.
_SHOWN = 12


class BuildState(StrEnum):
    """How far the environment of a deployment is."""

    MISSING = "missing"  # it is built before the next start
    BUILDING = "building"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class EnvironmentView:
    """The environment of a deployment, as it is shown."""

    manager: EnvManager
    #: Empty while the artifacts are not there, or say nothing that can be used.
    digest: str
    state: BuildState
    #: What is done now, or why it could not be built.
    progress: str = ""
    python_version: str = ""
    mlflow_version: str = ""
    #: Whether there is a log of its build.
    has_log: bool = False


@dataclass(frozen=True, slots=True)
class BuiltView:
    """A built environment on the disk, as it is shown."""

    digest: str
    python_version: str
    mlflow_version: str
    #: Bytes on the disk.
    size: int
    #: Whether a model that runs, or is to run, has it.
    needed: bool


@dataclass(frozen=True, slots=True)
class ParentView:
    """A warm parent, as it is shown."""

    #: Of its environment; empty: this program's own.
    digest: str
    #: 0 while it is being started.
    pid: int
    #: Launches that were forked from it and live.
    launches: int
    #: Bytes of memory that would be free without it and its forks; None where it cannot be read.
    memory: int | None


def short(digest: str) -> str:
    """A digest as people are shown it."""
    return digest[:_SHOWN]


def versions(python: str, mlflow: str) -> str:
    """What an environment was built with, in words; ``mlflow`` is empty where it has none."""
    return f"Python {python}, MLflow {mlflow}" if mlflow else f"Python {python}"
