"""The starter of ``mlflow models serve``: one session of processes per launch.

MLflow starts a command line tool with a uvicorn server as its child, so a launch is never one pid. The
launch gets a session of its own, and every signal goes to all of it.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_deployment.core.domain import LaunchSpec
from model_deployment.core.options import EnvManager
from model_deployment.environments.environment import Environment
from model_deployment.runtime import identity
from model_deployment.runtime.starter import (
    LaunchProcess,
    ModelEnvironment,
    launch_environment,
    spawn,
)
from model_deployment.worker import timed_output
from model_deployment.worker.timed_output import stamp
from model_deployment.worker.tracking import NO_TRACKING, NO_TRACKING_HINT

#: Seconds that the other threads of a process may outlive the first one.
_LAST_THREAD = 5.0

#: Has a module that Python imports at its start.
_STARTUP = Path(timed_output.__file__).parent / "startup"

#: The argument vector for a launch, in a built environment or in that of this program.
Command = Callable[[LaunchSpec, Environment | None], Sequence[str]]


def mlflow_command(request_timeout: float) -> Command:
    """The argument vector of ``mlflow models serve``, from a local path and checked values only.

    https://mlflow.org/docs/latest/api_reference/cli.html#mlflow-models-serve
    """

    def command(spec: LaunchSpec, built: Environment | None) -> list[str]:
        # What is built needs nothing at a start: MLflow would install it again.
        manager = EnvManager.LOCAL if built else spec.options.env_manager
        return [
            str(built.python) if built else sys.executable, "-m", _module(built), "models", "serve",
            "--model-uri", spec.model_path,
            "--host", spec.address.host,
            "--port", str(spec.address.port),
            "--workers", str(spec.options.workers),
            "--env-manager", str(manager),
            "--timeout", str(max(1, round(request_timeout))),
        ]  # fmt: skip

    return command


def _module(built: Environment | None) -> str:
    """What Python runs as MLflow's command line: before version 2 the package itself could not be run."""
    return "mlflow.cli" if built and built.mlflow_version.startswith("1.") else "mlflow"


@dataclass(frozen=True)
class ServeStarter:
    """Implements :class:`~model_deployment.runtime.starter.Starter` with programs."""

    instance: str
    logs: Path
    work: Path
    command: Command
    environment: ModelEnvironment

    async def start(self, spec: LaunchSpec, built: Environment | None = None) -> LaunchProcess:
        return _ServeProcess(await asyncio.to_thread(self._spawn, spec, built))

    def _spawn(self, spec: LaunchSpec, built: Environment | None) -> subprocess.Popen[bytes]:
        manager = EnvManager.LOCAL if built else spec.options.env_manager
        environment = {
            **launch_environment(
                self.instance,
                spec,
                self.environment(manager),
                identity.SERVE,
                built,
            ),
            # uvicorn reads its options from the environment too. The server must keep idle connections
            # longer than the proxy's pool does, or a request meets a server that just hung up.
            "UVICORN_TIMEOUT_KEEP_ALIVE": "75",
            "UVICORN_ACCESS_LOG": "0",
        }
        log = self.logs / f"{spec.launch_id}.log"
        environment |= _with_times(environment, log)
        command = [*self.command(spec, built)]
        now = stamp(time.time())
        header = f"{now}$ {' '.join(command)}\n"
        if environment.get("MLFLOW_TRACKING_URI") == NO_TRACKING:
            header += f"{now}$ # {NO_TRACKING_HINT}\n"
        # Not in the model's folder: Python puts the working directory on its path, and a file in the
        # artifacts must not stand in for a library.
        return spawn([*_entering(spec), *command], log, header, environment, self.work)


def _entering(spec: LaunchSpec) -> list[str]:
    """What runs a command in the control groups of a launch, in the place of the process that it is."""
    if not spec.control_groups:
        return []
    enter = (
        'for file do [ "$file" = -- ] && break; echo 0 >"$file" || exit 1; shift; done; shift; '
        'exec "$@"'
    )
    return ["/bin/sh", "-c", enter, "sh", *spec.control_groups, "--"]


def _with_times(environment: Mapping[str, str], log: Path) -> Mapping[str, str]:
    """Variables that have every Python of a launch write times to its log."""
    before = environment.get("PYTHONPATH", "")
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(_STARTUP), before])),
        timed_output.LOG: str(log),
    }


class _ServeProcess:
    """Implements :class:`~model_deployment.runtime.starter.LaunchProcess` with a child of this process."""

    method = identity.SERVE

    def __init__(self, child: "subprocess.Popen[bytes]") -> None:
        self._child = child
        self.pid = child.pid

    async def exit_code(self) -> int | None:
        # A process that was killed is gone once its last thread is.
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self._child.wait, _LAST_THREAD)
        return self._child.returncode

    async def destroy(self) -> None:
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        # The process is not reaped yet, so its pid cannot have been reused.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def forget(self) -> None:
        self._child.returncode = self._child.poll() or 0  # no ResourceWarning for those that go on
