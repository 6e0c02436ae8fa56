"""A real agent in a process of its own, as a test drives it."""

import contextlib
import http.client
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

from model_deployment_agent import cli

from tests.support.harness import ROOT
from tests.support.ports import claim_ports
from tests.support.waiting import until_sync

#: No cache of byte code where the repository is, and the package from there.
_ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'agent'}:{os.environ.get('PYTHONPATH', '')}"}


_FROM_HERE = [sys.executable, "-m", "model_deployment_agent"]


class GivesCodes(Protocol):
    """A controller that an agent can be enrolled at."""

    @property
    def url(self) -> str:
        """Its address."""

    def code(self) -> str:
        """A code that is good once, for the project ``hall``."""


class EdgeDevice:
    """Enrols, starts, kills and asks an agent."""

    def __init__(self, folder: Path, controller: GivesCodes, program: Path | None = None) -> None:
        """
        Args:
            program: an agent that is installed; None: the one of the repository.
        """
        self.folder = folder
        self._program: list[str | Path] = [program] if program else [*_FROM_HERE]
        self._environment = {**os.environ} if program else _ENVIRONMENT
        self.controller = controller
        self.port = claim_ports(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder.with_name(f"{folder.name}.log")

    def command(self, *arguments: object, status: int = 0) -> str:
        """Run a command of the agent to its end; what it says."""
        done = subprocess.run(
            [*self._program, *map(str, arguments)],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def enrol(self, *more: object) -> str:
        """Enrol with a new code; what the command says, which runs in this process if it can."""
        command = [
            "enrol", self.controller.url, "hall", self.controller.code(), "--name", "camera-7",
            "--folder", str(self.folder), *map(str, more),
        ]  # fmt: skip
        if self._environment is not _ENVIRONMENT:
            return self.command(*command)
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            assert cli.run(command) == 0, said.getvalue()
        return said.getvalue()

    def start(self, *options: object) -> None:
        """Start the agent, and wait until it answers."""
        arguments = ["run", "--folder", self.folder, "--port", self.port, *options]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._program, *map(str, arguments)],
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        until_sync(lambda: self.ask("GET", "/status")[0] == 200, timeout=20, what="the agent")

    @property
    def pid(self) -> int:
        """Process id of the agent."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL, at once."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def stop(self) -> int | None:
        """SIGTERM, if it runs; its exit status."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(20)
        self._process = None
        return status

    def ended(self) -> int:
        """Wait until the agent has ended by itself; its exit status."""
        assert self._process is not None
        status = self._process.wait(20)
        self._process = None
        return status

    def log(self) -> str:
        """What the agent wrote."""
        return self._log.read_text() if self._log.exists() else ""

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """A call at the local port."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            given = {"Content-Type": "application/json", **(headers or {})}
            connection.request(method, path, body=content, headers=given)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def status(self) -> dict[str, Any]:
        """``GET /status``."""
        found: dict[str, Any] = self.ask("GET", "/status")[1]
        return found

    def release(self) -> int | None:
        """Number of the release that serves."""
        serving = self.status()["serving"]
        return serving and int(serving["release"])

    def predict(self, *rows: list[Any]) -> Any:
        """Predictions, or the status of an error."""
        split = {"columns": ["a", "b"], "data": list(rows) or [[1.0, 2.0]]}
        status, body = self.ask("POST", "/invocations", {"dataframe_split": split})
        return body["predictions"] if status == 200 else status

    def until_running(self, number: int, timeout: float = 30) -> None:
        """Wait until a release serves, and its proof is stored."""
        until_sync(
            lambda: self.release() == number and self.stage() == (number, "running"),
            timeout=timeout,
            what=f"release {number} to run; {self.log()[-1500:]}",
        )

    def until_stage(self, number: int, *stages: str) -> None:
        """Wait until the row of the update says so."""
        wanted = [(number, stage) for stage in stages]
        until_sync(lambda: self.stage() in wanted, timeout=20, what=str(wanted))

    def stage(self) -> tuple[int, str] | None:
        """The row of the update: number and stage, read beside the agent."""
        connection = sqlite3.connect(f"file:{self.folder / 'agent.sqlite3'}?mode=ro", uri=True)
        try:
            found: tuple[int, str] | None = connection.execute(
                "SELECT number, state FROM update_row"
            ).fetchone()
            return found
        except sqlite3.OperationalError:
            return None
        finally:
            connection.close()
