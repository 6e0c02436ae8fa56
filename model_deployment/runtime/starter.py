"""What starts the processes of launches: there are two, behind one runtime."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from model_deployment.core.domain import LaunchSpec
from model_deployment.core.options import EnvManager
from model_deployment.runtime import identity
from model_deployment.worker.tracking import NO_TRACKING

Environment = Callable[[EnvManager], Mapping[str, str]]


class Started(Protocol):
    """A process that a starter of this controller has started."""

    @property
    def pid(self) -> int:
        """Its number; it leads a session."""
        ...

    @property
    def method(self) -> str:
        """How it was started: ``identity.FORK`` or ``identity.SERVE``."""
        ...

    def running(self) -> bool | None:
        """Whether it runs; None if that has to be looked up."""
        ...

    async def code(self) -> int | None:
        """Its exit status, after its end, as Python has it; None if nobody saw it."""
        ...

    async def destroy(self) -> None:
        """End it and all of its group, at once, and wait for that."""
        ...

    def forget(self) -> None:
        """Let go of it; it goes on."""
        ...


class Starter(Protocol):
    """Starts processes in one way."""

    async def start(self, spec: LaunchSpec) -> Started:
        """Start one; on an error nothing is left behind.

        Raises:
            OSError: it could not be started.
        """
        ...


def launch_environment(
    instance: str, spec: LaunchSpec, environment: Mapping[str, str], method: str
) -> dict[str, str]:
    """The environment of a launch's processes: what is given, the launch's marks, and our own programs."""
    # MLflow starts programs by name: these must be the ones beside this interpreter.
    own = str(Path(sys.executable).parent)
    path = os.pathsep.join(filter(None, [own, environment.get("PATH", os.defpath)]))
    return {
        # Without one, MLflow makes a database of its own in the working directory, and says nothing.
        "MLFLOW_TRACKING_URI": NO_TRACKING,
        **environment,
        "PATH": path,
        "PYTHONUNBUFFERED": "1",
        identity.MARKER: f"{instance}/{spec.launch_id}",
        identity.ENDPOINT: f"{spec.endpoint.host}:{spec.endpoint.port}",
        identity.METHOD: method,
    }
