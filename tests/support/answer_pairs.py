"""A model served both ways, and requests that are put to both."""

import asyncio
import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from model_deployment.core.domain import Address, Handle, LaunchSpec
from model_deployment.core.names import ModelKey
from model_deployment.core.options import EnvManager, Options
from model_deployment.environments.environment import Environment
from model_deployment.runtime.forkserver import ForkSettings, ForkStarter
from model_deployment.runtime.local import LocalRuntime
from model_deployment.runtime.logs import LaunchLogs
from model_deployment.runtime.mlflow_serve import Command, ServeStarter, mlflow_command
from model_deployment.runtime.parent_process import ParentProcess, parent_of
from model_deployment.runtime.parents import Parents
from model_deployment.settings import Settings
from tests.support.audit import kill_all
from tests.support.children import children, collect
from tests.support.harness import ROOT
from tests.support.ports import free_port
from tests.support.runtime_bench import retire
from tests.support.stubs import HOST
from tests.support.waiting import until, until_sync

#: Seconds that both give a prediction.
TIMEOUT = 4

Told = tuple[Any, ...]


@dataclass(frozen=True)
class Pair:
    """The ports of ``mlflow models serve`` and of the fork."""

    serve: int
    fork: int

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = {}
    ) -> tuple[Told, Told]:
        """What both answer, as far as it has to agree."""
        with ThreadPoolExecutor(2) as pool:
            found = [
                pool.submit(_ask, port, method, path, body, headers)
                for port in (self.serve, self.fork)
            ]
        return found[0].result(), found[1].result()


class Pairs(contextlib.ExitStack):
    """The pairs of some models; none of their processes outlives this."""

    def __init__(
        self,
        folder: Path,
        models: Path,
        environment: Environment | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        """
        Args:
            environment: has the Python of both; without one, they run in this one.
            timeout: seconds that both give a prediction.
        """
        super().__init__()
        self._models = models
        self._timeout = timeout
        self._instance = f"pairs-{os.getpid()}"
        self._before = children()
        self._runner = asyncio.Runner()
        self._program = _parent(folder, environment)
        common: dict[str, Any] = {
            "instance": self._instance,
            "logs": folder,
            "work": folder,
            "environment": Settings().model_environment,
        }
        self._told: list[str] = []
        self._forks = ForkStarter(
            ForkSettings(**common, request_timeout=timeout), self._program, lambda: None
        )
        self._runtimes = [
            LocalRuntime(
                instance=self._instance,
                serve=ServeStarter(**common, command=_command(environment, timeout)),
                logs=LaunchLogs(folder, 10 * 1024 * 1024),
                parents=Parents(forks) if forks else None,
                add_event=lambda key, text: self._told.append(text),
            )
            for forks in (None, self._forks)
        ]
        self.callback(self._end)

    def start(self, names: Sequence[str], together: Sequence[str] = ()) -> dict[str, Pair]:
        """Have these models served, all at once.

        Args:
            together: those whose servers of MLflow share a process, which the command does not start.
        """
        # Before anything else keeps the machine busy.
        self._runner.run(until(self._warm, timeout=120, what="the warm parent"))
        serve, fork = self._runtimes
        ports = self._start_together(together)
        ports |= {name: self._launch(name, serve).address.port for name in names}
        pairs = {
            name: Pair(port, self._launch(name, fork).address.port) for name, port in ports.items()
        }
        assert not self._told, self._told
        for name, pair in pairs.items():
            for port in (pair.serve, pair.fork):
                until_sync(partial(_pings, port), timeout=60, what=name)
        return pairs

    def _start_together(self, names: Sequence[str]) -> dict[str, int]:
        """The ports of their servers."""
        ports = {name: free_port() for name in names}
        if names:
            command = [sys.executable, "-m", "tests.support.scoring_servers", str(self._timeout)]
            for name, port in ports.items():
                command += [str(port), str(self._models / name)]
            server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)
            self.callback(server.wait, 10)
            self.callback(server.kill)
        return ports

    def _warm(self) -> bool:
        """Whether there is a parent that forks."""
        self._forks.warming()  # begins it
        return self._forks.parent_pid != 0

    def _launch(self, name: str, runtime: LocalRuntime) -> Handle:
        number = self._runtimes.index(runtime)
        spec = LaunchSpec(
            f"{name}{number}",
            ModelKey(name, 1),
            str(self._models / name),
            Address(HOST, free_port()),
            Options(),
        )
        return self._runner.run(runtime.start(spec))

    def _end(self) -> None:
        for runtime in self._runtimes:
            self._runner.run(runtime.close())
        self._runner.close()
        for path in self._program.folder.glob("*.sock"):
            with contextlib.suppress(OSError):
                retire(path)
        kill_all(self._instance)
        collect(self._before)


def _parent(folder: Path, environment: Environment | None) -> ParentProcess:
    socket, log = folder / "worker", folder / "worker.log"
    variables = Settings().model_environment(EnvManager.LOCAL)
    if environment is None:
        return ParentProcess(socket, log, Settings().preload, variables)
    return parent_of(environment, socket, log, folder / "programs", variables)


def _command(environment: Environment | None, timeout: float) -> Command:
    """``mlflow models serve``, of the environment as well."""
    own = mlflow_command(timeout)
    if environment is None:
        return own
    path = os.pathsep.join((str(environment.python.parent), os.environ.get("PATH", os.defpath)))

    def command(spec: LaunchSpec, _: Environment | None) -> list[str]:
        # MLflow starts programs by name.
        return ["/usr/bin/env", f"PATH={path}", *own(spec, environment)]

    return command


def save(script: Path, folder: Path, python: str = sys.executable) -> None:
    """Save models in a process of its own."""
    done = subprocess.run(
        [python, str(script), str(folder)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, f"cannot save the models:\n{done.stdout}{done.stderr}"


def _pings(port: int) -> bool:
    with contextlib.suppress(OSError):
        return bool(_ask(port, "GET", "/ping", b"", {})[0] == 200)
    return False


def _ask(port: int, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Told:
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    with contextlib.closing(connection):
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.getheader("content-type"), *_content(answer.read())


def _content(content: bytes) -> Told:
    """What an answer says: values with their types, of errors all but data and the stack trace."""
    try:
        found = json.loads(content)
    except ValueError:
        return (content,)
    if isinstance(found, dict) and "error_code" in found:
        message = str(found.get("message"))
        parts = message.partition("'")[0], message.rpartition("Error: ")[2]
        # Sets are written in another order by each process.
        words = [sorted(re.findall(r"\w+", part)) for part in parts]
        return found["error_code"], words, "stack_trace" in found
    return (repr(found),)
