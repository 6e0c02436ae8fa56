"""What starts the processes of launches: there are two ways, behind one runtime."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from model_deployment.core.domain import LaunchSpec
from model_deployment.core.options import AUTO, EnvManager
from model_deployment.environments.environment import Environment
from model_deployment.runtime import identity
from model_deployment.worker import threads
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

    async def start(self, spec: LaunchSpec, built: Environment | None = None) -> LaunchProcess:
        """Start a launch; after an error nothing of it is left.

        Args:
            built: the environment that it runs in; None for that of this program.

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


def _computing(spec: LaunchSpec, given: Mapping[str, str]) -> dict[str, str]:
    """The variables for the threads of a launch; what the operator gives goes before our guess."""
    said, guessed = given.get("OMP_NUM_THREADS", ""), spec.options.threads == AUTO
    found = threads.environment(int(said) if guessed and said.isdigit() else spec.threads)
    if guessed:
        found |= {name: given[name] for name in found.keys() & given.keys()}
    return found


def launch_environment(
    instance: str,
    spec: LaunchSpec,
    environment: Mapping[str, str],
    method: str,
    built: Environment | None = None,
) -> dict[str, str]:
    """The variables of a launch's processes: what is given, the launch's marks, and where programs are.

    Args:
        built: the environment that it runs in; None for that of this program.
    """
    marks = {identity.ENVIRONMENT: built.digest} if built else {}
    return {
        **marks,
        # Without one, MLflow silently makes a database of its own in the working directory.
        "MLFLOW_TRACKING_URI": NO_TRACKING,
        **environment,
        **_computing(spec, environment),
        "PATH": path_with(built, environment),
        "PYTHONUNBUFFERED": "1",
        identity.MARKER: f"{instance}/{spec.launch_id}",
        identity.ENDPOINT: f"{spec.address.host}:{spec.address.port}",
        identity.METHOD: method,
    }


def path_with(built: Environment | None, environment: Mapping[str, str]) -> str:
    """``PATH`` with the programs beside the interpreter first, which MLflow starts by name."""
    python = built.python if built else Path(sys.executable)
    return os.pathsep.join(filter(None, [str(python.parent), environment.get("PATH", os.defpath)]))
