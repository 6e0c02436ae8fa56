"""A controller started as a user starts it: the installed command line, real MLflow behind it."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.audit import kill_all, marked_processes, read_state
from tests.support.ports import claim_range, free_port
from tests.support.waiting import until_sync

#: Seconds within which it answers, on a machine that does much else.
_START = 120


class Program:
    """``model-deployment serve`` on a data directory and a range of ports of its own."""

    def __init__(self, folder: Path, tracking_uri: str) -> None:
        self.data = folder / "data"
        self.ports = claim_range(20)
        self._log = folder / "controller.log"
        self._tracking_uri = tracking_uri
        self._process: subprocess.Popen[bytes] | None = None
        self._http = httpx.Client(timeout=150, verify=False)
        self.url = f"http://127.0.0.1:{free_port()}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()
        instance = self.instance
        assert self._process is not None
        self._process.terminate()
        try:
            status = self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait(10)
        left = [str(process) for process in marked_processes(instance)]
        kill_all(instance)
        if kind is None:
            assert status == 0, self._log.read_text()
            assert not left, f"left behind: {left}"
            assert "Traceback" not in self._log.read_text(), self._log.read_text()

    @property
    def instance(self) -> str:
        """The name that its model processes carry."""
        return read_state(self.data / "state.db").instance or ""

    def start(self) -> None:
        """Start it, and wait until it answers."""
        host, port = self.url.removeprefix("http://").split(":")
        environment = {
            **os.environ,
            "MODEL_DEPLOYMENT_PORTS": f"{self.ports[0]}-{self.ports[1]}",
            "MLFLOW_TRACKING_URI": self._tracking_uri,
        }
        command = [
            sys.executable,
            "-m",
            "model_deployment",
            "serve",
            "--host",
            host,
            "--port",
            port,
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--data-dir", str(self.data)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            until_sync(self._answers, timeout=_START, what="the controller's /ready")
        except BaseException:
            self._process.kill()
            self._process.wait(10)
            raise

    def kill(self) -> None:
        """SIGKILL, as the out-of-memory killer sends it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def get(self, path: str) -> httpx.Response:
        """GET."""
        return self._http.get(self.url + path)

    def post(self, path: str, **more: Any) -> httpx.Response:
        """POST."""
        return self._http.post(self.url + path, **more)

    def run_shell(self, line: str) -> str:
        """What a user sees who pastes a line into a shell."""
        done = subprocess.run(
            ["sh", "-c", line.replace("curl ", "curl -sS ", 1)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(self._log.read_text())
        try:
            return self._http.get(f"{self.url}/ready").status_code == 200
        except httpx.HTTPError:
            return False
