"""A controller with a model, and processes with simulated devices, as ``devices.py`` drives them."""

import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import steady
import uvloop
from device_load import PROJECT
from load import BODY, HOST
from report import ROOT
from servers import Server

sys.path.insert(0, str(ROOT))

from tests.support.waiting import until_sync

#: Predictions per second, and how many connections they share.
RATE, CONNECTIONS = 50, 8
_LOAD = Path(__file__).with_name("device_load.py")


@dataclass(frozen=True)
class Seen:
    """Predictions of one window (milliseconds), and what the controller and its proxies took meanwhile."""

    p50: float
    p95: float
    p99: float
    failed: int
    #: Shares of a core.
    controller: float
    proxies: float


class LoadProcess:
    """A process with devices, which is told what to do."""

    def __init__(
        self, port: int, known: Sequence[tuple[str, str]], folder: Path, name: str
    ) -> None:
        file = folder / f"{name}.json"
        file.write_text(json.dumps(known))
        with (folder / f"{name}.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(_LOAD), str(port), str(file)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip

    def ask(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the devices have ended; see the log beside their file")
        found: dict[str, Any] = json.loads(line)
        return found

    def end(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


class Bench:
    """A controller with a model and a project, and processes with its devices."""

    def __init__(self, server: Server, model: str, version: int) -> None:
        self.server = server
        self.model, self.version = model, version
        self.client = httpx.Client(
            base_url=f"http://{HOST}:{server.port}", timeout=60, trust_env=False
        )
        self.loads: list[LoadProcess] = []

    def post(self, path: str, body: dict[str, Any]) -> Any:
        answer = self.client.post(path, json=body)
        if not answer.is_success:
            raise RuntimeError(f"{path}: {answer.status_code} {answer.text}")
        return answer.json()

    def get(self, path: str) -> Any:
        return self.client.get(path).raise_for_status().json()

    def register(self, number: int) -> list[tuple[str, str]]:
        """Names and tokens of new devices."""
        self.post("/projects", {"name": PROJECT, "models": [self.model]})

        def one(place: int) -> tuple[str, str]:
            name = f"device-{place}"
            code = self.post(f"/{PROJECT}/enrolments", {})["code"]
            body = {"code": code, "device": name, "attributes": {"place": f"hall {place % 7}"}}
            return name, self.post(f"/{PROJECT}/registerDevice", body)["token"]

        with ThreadPoolExecutor(4) as pool:
            return [*pool.map(one, range(number))]

    def all(self, command: str) -> list[dict[str, Any]]:
        """Have all processes do something at the same time."""
        for load in self.loads:
            load.ask(command)
        return [load.answer() for load in self.loads]

    def presences(self) -> dict[str, int]:
        found: dict[str, int] = self.get(f"/projects/{PROJECT}")["devices"]
        return found

    def until_online(self, number: int, timeout: float) -> float:
        """Seconds until so many devices are online, and the others are not."""
        begun = time.monotonic()
        until_sync(
            lambda: self.presences()["online"] == number,
            timeout=timeout, interval=0.25, what=f"{number} devices to be online",
        )  # fmt: skip
        return time.monotonic() - begun

    def release(self) -> int:
        """Begin a release; its number."""
        body = {"model": self.model, "version": self.version,
                "policy": {"groups": [], "percent": [10]}}  # fmt: skip
        return int(self.post(f"/{PROJECT}/setModel", body)["release"]["number"])

    def window(self, seconds: float) -> Seen:
        """Ask for predictions, and look at what they take."""
        head = (
            f"POST {self.server.path} HTTP/1.1\r\nHost: {HOST}:{self.server.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
        ).encode()
        parts = [[self.server.process], self.proxies()]
        begun, before = time.perf_counter(), [sum(map(_spent, part)) for part in parts]
        latencies, failed = uvloop.run(
            steady.calls(self.server.port, head + BODY, seconds, rate=RATE, connections=CONNECTIONS)
        )
        passed = time.perf_counter() - begun
        spent = [
            (sum(map(_spent, part)) - was) / passed for part, was in zip(parts, before, strict=True)
        ]
        cuts = statistics.quantiles(latencies, n=100)
        return Seen(statistics.median(latencies), cuts[94], cuts[98], failed, *spent)

    def proxies(self) -> list[psutil.Process]:
        found = self.server.process.children(recursive=True)
        return [one for one in found if "model_deployment.proxy" in " ".join(one.cmdline())]

    def memory(self) -> tuple[int, int]:
        """Bytes of the controller, and of its proxies: what would be free without them."""
        return (
            self.server.process.memory_full_info().uss,
            sum(one.memory_full_info().uss for one in self.proxies()),
        )


def _spent(process: psutil.Process) -> float:
    return float(sum(process.cpu_times()[:2]))
