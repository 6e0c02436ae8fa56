"""The starter of ``mlflow models serve``: one session of processes per launch.

What MLflow starts is a command line tool with a uvicorn server as its child, so a launch is never one
pid. It gets a session of its own, and every signal goes to all of it. Output goes to a file: a child
whose output is piped dies of the broken pipe when the controller is killed.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from model_deployment.core.domain import LaunchSpec
from model_deployment.runtime import identity
from model_deployment.runtime.starter import Environment, Started, launch_environment
from model_deployment.worker.tracking import NO_TRACKING, NO_TRACKING_HINT

Command = Callable[[LaunchSpec], Sequence[str]]


def mlflow_command(request_timeout: float) -> Command:
    """The argument vector of ``mlflow models serve``, from a local path and checked values only.

    https://mlflow.org/docs/latest/api_reference/cli.html#mlflow-models-serve
    """

    def command(spec: LaunchSpec) -> list[str]:
        return [
            sys.executable, "-m", "mlflow", "models", "serve",
            "--model-uri", spec.model_path,
            "--host", spec.endpoint.host,
            "--port", str(spec.endpoint.port),
            "--workers", str(spec.options.workers),
            "--env-manager", str(spec.options.env_manager),
            "--timeout", str(max(1, round(request_timeout))),
        ]  # fmt: skip

    return command


class ServeStarter:
    """Implements :class:`~model_deployment.runtime.starter.Starter` with programs."""

    def __init__(
        self,
        *,
        instance: str,
        logs: Path,
        work: Path,
        command: Command,
        environment: Environment,
    ) -> None:
        self._instance = instance
        self._logs = logs
        self._work = work
        self._command = command
        self._environment = environment

    async def start(self, spec: LaunchSpec) -> Started:
        """See :class:`~model_deployment.runtime.starter.Starter`."""
        return _Program(await asyncio.to_thread(self._spawn, spec))

    def _spawn(self, spec: LaunchSpec) -> subprocess.Popen[bytes]:
        environment = {
            **launch_environment(
                self._instance,
                spec,
                self._environment(spec.options.env_manager),
                identity.SERVE,
            ),
            # uvicorn reads its options from the environment too. Idle connections of the proxy's pool
            # must outlive its own idea of them, or a request meets a server that just hung up.
            "UVICORN_TIMEOUT_KEEP_ALIVE": "75",
            "UVICORN_ACCESS_LOG": "0",
        }
        command = [*self._command(spec)]
        path = self._logs / f"{spec.launch_id}.log"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as log:
            log.write(f"$ {' '.join(command)}\n".encode(errors="replace"))
            if environment.get("MLFLOW_TRACKING_URI") == NO_TRACKING:
                log.write(f"$ # {NO_TRACKING_HINT}\n".encode())
            log.flush()
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                # Not the model's folder: Python puts the working directory on its path, and a file in
                # the artifacts must not stand in for a library.
                cwd=self._work,
                start_new_session=True,
                close_fds=True,
            )


class _Program:
    """Implements :class:`~model_deployment.runtime.starter.Started` with a child of this process."""

    def __init__(self, child: "subprocess.Popen[bytes]") -> None:
        self._child = child

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def method(self) -> str:
        return identity.SERVE

    def running(self) -> bool | None:
        return self._child.poll() is None

    async def code(self) -> int | None:
        return self._child.returncode

    async def destroy(self) -> None:
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        # It is not collected yet: the number is surely its own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def forget(self) -> None:
        self._child.returncode = self._child.poll() or 0  # no ResourceWarning for those that go on
