"""Real agents in processes of their own, many of them, that a test starts, cuts off and looks at.

What they do is read from their folders, so that looking at many of them costs nothing.
"""

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_deployment_agent.controller import Address, Controller
from model_deployment_agent.enrolment import enrol
from model_deployment_agent.folder import Folder

from tests.support.harness import ROOT
from tests.support.network_node import NetworkNode, ip

PROJECT = "hall"
_ENVIRONMENT = {
    **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
    "PYTHONPATH": str(ROOT / "agent"),
    "PYTHONDONTWRITEBYTECODE": "1",
}
_PREDICT = """
import http.client, json, sys
port, rows = int(sys.argv[1]), json.loads(sys.argv[2])
line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
for row in rows:
    body = json.dumps({"dataframe_split": {"columns": ["a", "b"], "data": [row]}})
    line.request("POST", "/invocations", body, {"Content-Type": "application/json"})
    answer = line.getresponse()
    print(json.dumps([answer.status, json.loads(answer.read())]))
"""


@dataclass
class AgentProcess:
    """One device."""

    name: str
    folder: Path
    groups: tuple[str, ...] = ()
    #: The namespace that it lives in; None: that of this machine.
    network: NetworkNode | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def enrol(self, url: str, code: str) -> None:
        """Register with a code. Where no namespace needs a process for it, it is spared."""
        if self.network is None:
            self.folder.mkdir()
            enrol(
                Controller(Address.of(url, insecure=True)), Folder.at(self.folder), url=url,
                project=PROJECT, code=code, device=self.name, attributes={}, insecure=True,
            )  # fmt: skip
            return
        done = subprocess.run(
            self._command("enrol", url, PROJECT, "-", "--name", self.name, "--insecure"),
            input=code, env=_ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, *options: object) -> None:
        """Start the agent, and do not wait for it."""
        with self.folder.with_suffix(".log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command("run", "--port", 0, *options),
                env=_ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def ask_to_end(self) -> None:
        """SIGTERM, if it was started; :meth:`end` waits."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def end(self) -> int | None:
        """Wait for its end after :meth:`ask_to_end`; its exit status. SIGKILL if it does not end."""
        process, self._process = self._process, None
        if process is None:
            return None
        try:
            return process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def log(self) -> str:
        return self.folder.with_suffix(".log").read_text()

    @property
    def port(self) -> int:
        """The free port that it has taken."""
        found = re.findall(r" predicts at 127\.0\.0\.1:(\d+)", self.log())
        return int(found[-1])

    def predict(self, *rows: Sequence[float]) -> list[Any]:
        """Predictions at the local port, one request for each row."""
        command = [sys.executable, "-S", "-c", _PREDICT, str(self.port), json.dumps(rows)]
        done = subprocess.run(
            self._inside(command), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert {status for status, _ in answers} == {200}, answers
        return [body["predictions"][0] for _, body in answers]

    @property
    def release(self) -> int | None:
        """Number of the release that ``current`` names."""
        try:
            return int((self.folder / "current").readlink().name.split("-")[0])
        except OSError:
            return None

    @property
    def update(self) -> tuple[int, str, str] | None:
        """Number, stage and reason of the update that it last began."""
        path = self.folder / "agent.sqlite3"
        if not path.exists():
            return None
        with (
            contextlib.suppress(sqlite3.OperationalError),
            contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection,
        ):
            found: tuple[int, str, str] | None = connection.execute(
                "SELECT number, state, reason FROM update_row"
            ).fetchone()
            return found
        return None

    @property
    def unsent(self) -> int:
        """Messages that the controller has not acknowledged."""
        path = self.folder / "agent.sqlite3"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            (count,) = connection.execute("SELECT count(*) FROM outbox").fetchone()
        return int(count)

    def has(self, sha256: str) -> int:
        """Bytes of a file that it has, whole or the beginning of it."""
        for name in (sha256, f"{sha256}.part"):
            with contextlib.suppress(OSError):
                return (self.folder / "blobs" / name).stat().st_size
        return 0

    def _command(self, what: str, *arguments: object) -> list[str]:
        command = [sys.executable, "-m", "model_deployment_agent", what, "--folder", self.folder]
        return self._inside([str(one) for one in (*command, *arguments)])

    def _inside(self, command: list[str]) -> list[str]:
        return self.network.command(*command) if self.network else command


def end_all(agents: Sequence[AgentProcess]) -> list[int | None]:
    """End them together; their exit statuses."""
    for one in agents:
        one.ask_to_end()
    return [one.end() for one in agents]


class SlowLine:
    """The line of a namespace: as slow as a radio link, and cut when a test says so."""

    def __init__(self, node: NetworkNode) -> None:
        self.node = node

    def slow(self, bits: int) -> None:
        """Let so many bits a second through to the namespace.

        Raises:
            CalledProcessError: the kernel cannot do that.
        """
        limit = ["rate", f"{bits}bit", "burst", "16k", "latency", "300ms"]
        outer = f"{self.node.name}o"
        subprocess.run(
            ["tc", "qdisc", "replace", "dev", outer, "root", "tbf", *limit],
            check=True, capture_output=True, timeout=20,
        )  # fmt: skip

    @property
    def received(self) -> int:
        """Bytes that have come into the namespace."""
        statistics = Path(f"/sys/class/net/{self.node.name}o/statistics/tx_bytes")
        return int(statistics.read_text())

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """No packet gets through, and nobody is told; addresses of this machine stay."""
        inner = f"{self.node.name}i"
        ip("-n", self.node.name, "link", "set", inner, "down")
        try:
            yield
        finally:
            ip("-n", self.node.name, "link", "set", inner, "up")
