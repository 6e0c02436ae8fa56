"""Starts stub model servers by hand, without the code under test, and leaves none behind."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.support import audit
from tests.support.ports import free_port
from tests.support.waiting import until_sync

PROGRAM = Path(__file__).with_name("stub_model_server.py")
HOST = "127.0.0.1"


class Answer(NamedTuple):
    """An answer, read to its end."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Stub:
    """One started stub, in a session of its own and with a marker, and its log."""

    def __init__(self, folder: Path, instance: str, faults: dict[str, Any]) -> None:
        model = folder / "diabetes-1"
        model.mkdir(parents=True)
        (model / "stub.json").write_text(json.dumps(faults))
        self.instance = instance
        self.port = free_port()
        self.log = folder / "log"
        command = f"-m {model} -h {HOST} -p {self.port} -w 1 --env-manager local -t 60"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAM), *command.split(" ")],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"PATH": os.defpath, "MODEL_DEPLOYMENT_LAUNCH": f"{instance}/launch"},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def listens(self) -> bool:
        """Whether its port is open; no request is sent."""
        with contextlib.suppress(ConnectionRefusedError), self.connect():
            return True
        return False

    def logged(self, text: str) -> bool:
        return text in self.log.read_text()

    def connect(self) -> socket.socket:
        return socket.create_connection((HOST, self.port), timeout=5)

    def get(self, path: str, timeout: float = 5) -> Answer:
        return self.ask("GET", path, timeout=timeout)

    def predict(self, timeout: float = 5, **body: Any) -> Answer:
        return self.ask("POST", "/invocations", json.dumps(body).encode(), timeout=timeout)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        timeout: float = 5,
        headers: Mapping[str, str] = {},
    ) -> Answer:
        """Send one request on a connection of its own; an iterator as body is sent chunked."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())

    def marked(self) -> list[audit.Marked]:
        """Its living processes, wherever they went."""
        return audit.marked_processes(self.instance)

    def ended(self) -> int:
        """Wait for its end; the exit status."""
        return self.process.wait(timeout=5)

    def destroy(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.ended()
        audit.kill_all(self.instance)  # those that left the group


class Stubs(contextlib.ExitStack):
    """All stubs of a test; none outlives it."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._started = 0

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def launch(self, **faults: Any) -> Stub:
        """Start a stub with faults, and do not wait for it."""
        self._started += 1
        instance = f"stub-{os.getpid()}-{self._folder.name}-{self._started}"
        stub = Stub(self._folder / str(self._started), instance, faults)
        self.callback(stub.destroy)
        return stub

    def serve(self, **faults: Any) -> Stub:
        """Start a stub with faults, and wait until it listens."""
        stub = self.launch(**faults)
        until_sync(stub.listens, what="the stub's port")
        return stub
