"""An environment of models: what it is, and how far it is."""

from dataclasses import dataclass
from pathlib import Path


class BuildFailed(OSError):
    """No environment could be built; the message has the lines that matter."""

    def __init__(self, why: str, *, permanent: bool) -> None:
        """``permanent``: another try would fail the same way."""
        super().__init__(why)
        self.permanent = permanent


@dataclass(frozen=True, slots=True)
class Environment:
    """One that is complete."""

    #: Of the Python version and the requirements; the name of its folder.
    digest: str
    folder: Path
    #: What it was built with, such as ``3.11.7``.
    python_version: str
    #: Empty: without MLflow.
    mlflow_version: str
    #: Import names of the packages that its models require, to preload.
    modules: tuple[str, ...] = ()
    #: Whether it has what our model server needs (uvicorn, orjson and the like). Otherwise its models are
    #: served by MLflow's own.
    serves: bool = True

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"


@dataclass(frozen=True, slots=True)
class Ready:
    """It can be started from."""

    environment: Environment


@dataclass(slots=True)
class Building:
    """It is looked for, and built where it is not there."""

    #: What is done now, such as ``downloading torch (731.2 MiB)``; follows "building the environment: ".
    progress: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """It could not be built. The next who wants it has it tried again."""

    error: BuildFailed


EnvironmentState = Ready | Building | Failed
