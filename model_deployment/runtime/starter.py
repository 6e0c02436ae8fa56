"""What starts the processes of launches: there are two ways, behind one runtime."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from model_deployment.core.domain import LaunchSpec
from model_deployment.core.options import EnvManager
from model_deployment.runtime import identity
from model_deployment.worker.tracking import NO_TRACKING

ModelEnvironment = Callable[[EnvManager], Mapping[str, str]]


class LaunchProcess(Protocol):
    """The main process of a launch, which a starter of this controller has started."""

    @property
    def pid(self) -> int:
        """The process leads a session of its own."""

    @property
    def method(self) -> str:
        """How it was started: ``identity.FORK`` or ``identity.SERVE``."""

    async def exit_code(self) -> int | None:
        """The exit status after its end, as Python has it; None if it was not observed."""

    async def destroy(self) -> None:
        """Kill the process and its group, and wait for the end."""

    def forget(self) -> None:
        """Stop watching the process, which goes on."""


class Starter(Protocol):
    """Starts processes in one way."""

    async def start(self, spec: LaunchSpec) -> LaunchProcess:
        """Start a launch; after an error nothing of it is left.

        Raises:
            OSError: it could not be started.
        """


def spawn(
    command: Sequence[str], log: Path, header: str, environment: Mapping[str, str], folder: Path
) -> "subprocess.Popen[bytes]":
    """Start a program in a session of its own, which does not end with this process.

    Args:
        log: takes the output, after ``header``. Not a pipe, which would break when this process is killed.
    """
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as file:
        file.write(header.encode(errors="replace"))
        file.flush()
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
            start_new_session=True,
            close_fds=True,
        )


def launch_environment(
    instance: str, spec: LaunchSpec, environment: Mapping[str, str], method: str
) -> dict[str, str]:
    """The environment of a launch's processes: what is given, the launch's marks, and our own programs."""
    # MLflow starts programs by name: these must be the ones beside this interpreter.
    own = str(Path(sys.executable).parent)
    path = os.pathsep.join(filter(None, [own, environment.get("PATH", os.defpath)]))
    return {
        # Without one, MLflow silently makes a database of its own in the working directory.
        "MLFLOW_TRACKING_URI": NO_TRACKING,
        **environment,
        "PATH": path,
        "PYTHONUNBUFFERED": "1",
        identity.MARKER: f"{instance}/{spec.launch_id}",
        identity.ENDPOINT: f"{spec.address.host}:{spec.address.port}",
        identity.METHOD: method,
    }
