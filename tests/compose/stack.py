"""The whole compose under a project name and ports of its own: build, start, ask, remove."""

import base64
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.waiting import until_sync

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "model-deployment:0.1.0"
PROJECT = "model-deployment-test"
PROFILES = ("--profile", "monitoring", "--profile", "demo")
#: An address of this machine that is not the loopback: what is published is published for others.
EVERYWHERE = "0.0.0.0"


@dataclass(frozen=True)
class Answer:
    """What came back, an error as well."""

    status: int
    body: bytes
    headers: dict[str, str]

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Stack:
    """One compose project; its commands fail loudly."""

    docker: str = field(default_factory=lambda: os.environ.get("DOCKER", "docker"))
    certificates: Path | None = None
    passwords: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.http, self.https = _free_ports()
        self.grafana_password = secrets.token_hex(8)
        v2 = subprocess.run([self.docker, "compose", "version"], capture_output=True, check=False)
        self._compose = [self.docker, "compose"] if v2.returncode == 0 else ["docker-compose"]

    @property
    def environment(self) -> dict[str, str]:
        given = {
            "COMPOSE_PROJECT_NAME": PROJECT,
            "DOCKER_BUILDKIT": "1",
            "GATEWAY_ADDRESS": EVERYWHERE,
            "HTTP_PORT": str(self.http),
            "HTTPS_PORT": str(self.https),
            "GRAFANA_PASSWORD": self.grafana_password,
            "LOG_LEVEL": "INFO",
        }
        if self.certificates:
            given["CERTIFICATES"] = str(self.certificates)
        return os.environ | given

    def run(self, *command: str, fine: bool = True, **how: Any) -> subprocess.CompletedProcess[str]:
        """A command in the repository's folder; ``fine``: it must succeed."""
        ended = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment,
            text=True,
            capture_output=True,
            check=False,
            timeout=1800,
            **how,
        )
        if fine and ended.returncode:
            raise AssertionError(
                f"{' '.join(command)}:\n{ended.stdout[-3000:]}{ended.stderr[-3000:]}"
            )
        return ended

    def compose(self, *arguments: str, fine: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(*self._compose, *PROFILES, *arguments, fine=fine)

    def exec(self, service: str, *command: str, fine: bool = True, user: str = "") -> str:
        options = ["--user", user] if user else []
        ended = self.run(
            self.docker, "exec", *options, self.container(service), *command, fine=fine
        )
        return ended.stdout if fine else f"{ended.returncode} {ended.stdout}{ended.stderr}"

    def build(self, network: str) -> float:
        """Seconds that it took."""
        began = time.monotonic()
        options = ["--network", network] if network else []
        self.run(self.docker, "build", *options, "--tag", IMAGE, ".")
        return time.monotonic() - began

    def image_size(self) -> str:
        size = self.run(self.docker, "image", "inspect", "--format", "{{.Size}}", IMAGE).stdout
        return f"{int(size) / 1e6:.0f} MB"

    def versions(self) -> str:
        engine = self.run(self.docker, "version", "--format", "{{.Server.Version}}").stdout
        compose = self.run(*self._compose, "version", "--short").stdout
        return f"Docker {engine.strip()}, Compose {compose.strip()}"

    def containers(self) -> dict[str, dict[str, Any]]:
        """What Docker knows of each service's container, those that ended included."""
        label = f"label=com.docker.compose.project={PROJECT}"
        ids = self.run(self.docker, "ps", "--all", "--quiet", "--filter", label).stdout.split()
        if not ids:
            return {}
        known = json.loads(self.run(self.docker, "inspect", *ids).stdout)
        return {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in known}

    def container(self, service: str) -> str:
        return str(self.containers()[service]["Id"])

    def healthy(self, *services: str, timeout: float = 240) -> float:
        """Wait until these are healthy (all that have a check, if none is named); seconds."""
        began = time.monotonic()

        def check() -> bool:
            states = {
                name: one["State"].get("Health", {}).get("Status", one["State"]["Status"])
                for name, one in self.containers().items()
                if name in services or (not services and "Health" in one["State"])
            }
            assert states
            assert all(state == "healthy" for state in states.values()), states
            return True

        until_sync(check, timeout=timeout, interval=0.5, what="healthy containers")
        return time.monotonic() - began

    def call(self, user: str, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """A request through the gateway; an empty user has no password."""
        trust = None
        base = f"http://localhost:{self.http}"
        if self.certificates:
            trust = ssl.create_default_context(cafile=self.certificates / "tls.crt")
            base = f"https://localhost:{self.https}"
        request = urllib.request.Request(
            base + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"} | headers,
        )
        if user:
            pair = f"{user}:{self.passwords[user]}".encode()
            request.add_header("Authorization", "Basic " + base64.b64encode(pair).decode())
        try:
            with urllib.request.urlopen(request, timeout=180, context=trust) as answer:
                return Answer(answer.status, answer.read(), dict(answer.headers))
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read(), dict(error.headers))

    def left(self) -> list[str]:
        """What exists of the project: containers, volumes, networks."""
        label = f"label=com.docker.compose.project={PROJECT}"
        found = self.run(self.docker, "ps", "--all", "--quiet", "--filter", label).stdout.split()
        for kind in ("volume", "network"):
            found += self.run(self.docker, kind, "ls", "--quiet", "--filter", label).stdout.split()
        return found

    def remove(self) -> float:
        """Seconds until all of it was gone, data too."""
        began = time.monotonic()
        self.compose("down", "--volumes", "--remove-orphans")
        if self.certificates:
            shutil.rmtree(self.certificates, ignore_errors=True)
        return time.monotonic() - began


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("", 0)) as one, socket.create_server(("", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]
