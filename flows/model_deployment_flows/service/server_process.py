"""Prefect's server as a child process, or one that a killed service has left."""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from model_deployment_flows.service import processes

_log = logging.getLogger(__name__)

#: Below the ports that the kernel gives to connections: the next server needs the same one.
_PORTS = range(20000, 32000)
#: Seconds for a server to end by itself.
_GRACE = 10.0
#: Nice level of the server: before runs, after models.
_NICE = 10


class ServerProcess:
    """The server, alive or not. It keeps its port, since runs that are under way know no other."""

    def __init__(self, host: str, port: int, environment: Mapping[str, str], log: Path) -> None:
        self._host = host
        self._port = port
        self._environment = dict(environment)
        self._log = log
        self._process: psutil.Process | None = None
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def adopt(self, process: psutil.Process) -> None:
        self._process = process

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "--factory",
            "prefect.server.api.server:create_app",
        ]
        command += ["--host", self._host, "--port", str(self._port), "--log-level", "warning"]
        command += ["--timeout-keep-alive", "60", "--timeout-graceful-shutdown", "3"]
        with self._log.open("ab") as output:
            self._child = subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                start_new_session=True,
            )
        self._process = psutil.Process(self._child.pid)
        processes.lower(self._process, _NICE)

    def is_alive(self) -> bool:
        if self._child is not None:
            return self._child.poll() is None
        return self._process is not None and self._process.is_running()

    def stop(self) -> None:
        """Returns when the process is gone."""
        if self._process is None:
            return
        end_process(self._process, self._child)
        self._process = self._child = None


def end_process(process: psutil.Process, child: subprocess.Popen[bytes] | None = None) -> None:
    """SIGTERM, and after a while SIGKILL; returns when the process is gone."""
    with contextlib.suppress(psutil.Error):
        process.terminate()
        try:
            (child or process).wait(timeout=_GRACE)
        except (subprocess.TimeoutExpired, psutil.TimeoutExpired):
            process.kill()
            (child or process).wait(timeout=_GRACE)


def free_port(host: str, wanted: int) -> int:
    """The wanted port if it is free, else another one; 0 wants none.

    Raises OSError if no port is free.
    """
    for port in ([wanted] if wanted else []) + random.sample(_PORTS, 50):
        with contextlib.suppress(OSError), socket.socket() as test:
            test.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            test.bind((host, port))
            return port
    raise OSError(f"cannot find a free port for Prefect's server on {host}; give one with --port")
