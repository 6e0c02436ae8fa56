"""Measures what a training does to predictions: their latency before it and beside it.

    python benchmarks/training.py [--check] [--write]

A real controller serves a real model. The training is ``train_flow`` of the example project, in the flows'
environment, which ``make flows`` makes. Requests come at a fixed rate, so that nobody waits for a slow
moment to pass.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import report
import steady
import uvloop
from load import BODY, HOST
from report import REPORT, ROOT
from servers import Server, controller, end_strays
from steady import median

sys.path.insert(0, str(ROOT))

from model_deployment.cli.demo import ensure_demo_model
from tests.support.waiting import until_sync

#: What p95 may become, as a multiple.
BAR = 1.5
#: Requests per second, and how many connections they share.
RATE, CONNECTIONS = 50, 8
ROUNDS = 3
SECONDS = 12.0
#: More than a training gets done in a round: it is cancelled then.
TRIALS = 10_000


@dataclass(frozen=True)
class Seen:
    """One round; latencies in milliseconds."""

    p50: float
    p95: float
    p99: float
    failed: int


@contextmanager
def serving() -> Iterator[Server]:
    """A controller that serves the demo's model, and has the example project."""
    with tempfile.TemporaryDirectory(prefix="training-") as name:
        folder = Path(name)
        project = folder / "project"
        command = [sys.executable, "-m", "model_deployment", "flows", "init", str(project)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        registry = f"sqlite:///{folder / 'registry.db'}"
        made = ensure_demo_model(registry, registry, folder / "artifacts")
        assert made is not None, "a new registry has no models"
        settings = {"MODEL_DEPLOYMENT_FLOWS_PROJECT": str(project)}
        try:
            with controller(registry, *made, {}, folder, settings) as server:
                yield server
        finally:
            end_strays(folder)  # the service of flows outlives its controller


@contextmanager
def training(server: Server) -> Iterator[None]:
    """Beside a training that has begun with its trials."""
    client = httpx.Client(base_url=f"http://{HOST}:{server.port}", timeout=60, trust_env=False)
    body = {"experiment": "income", "trials": TRIALS, "timeout": 3600}
    answer = client.post("/api/run_flow/train_flow", json=body).raise_for_status().json()
    place = f"/api/flow-runs/{answer['id']}"

    def run() -> dict[str, Any]:
        found: dict[str, Any] = client.get(place).raise_for_status().json()
        assert found["state"] not in ("failed", "crashed", "cancelled"), found
        return found

    until_sync(lambda: run()["state"] == "running", timeout=180, interval=0.3, what="the training")
    # Its preparation takes some seconds, in which it reads more than it computes.
    time.sleep(5)
    try:
        yield
        assert run()["state"] == "running"
    finally:
        client.post(f"{place}/cancel").raise_for_status()
        until_sync(
            lambda: client.get(place).json()["state"] == "cancelled", timeout=60, interval=0.3
        )


def calls(server: Server, seconds: float) -> tuple[list[float], int]:
    """Latencies in milliseconds, and how many failed."""
    head = (
        f"POST {server.path} HTTP/1.1\r\nHost: {HOST}:{server.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    ).encode()
    load = steady.calls(server.port, head + BODY, seconds, rate=RATE, connections=CONNECTIONS)
    return uvloop.run(load)


def one_round(server: Server) -> Seen:
    latencies, failed = calls(server, SECONDS)
    cuts = statistics.quantiles(latencies, n=100)
    return Seen(statistics.median(latencies), cuts[94], cuts[98], failed)


def measure() -> dict[bool, list[Seen]]:
    """Without and with a training by turns."""
    seen: dict[bool, list[Seen]] = {False: [], True: []}
    with serving() as server:
        calls(server, 2.0)
        for _ in range(ROUNDS):
            server.settle()
            seen[False].append(one_round(server))
            with training(server):
                seen[True].append(one_round(server))
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail above the bar")
    parser.add_argument("--write", action="store_true", help=f"update {REPORT.name}")
    arguments = parser.parse_args()
    if not (ROOT / ".venv-flows" / "bin" / "python").exists():
        sys.exit("skipped: there is no .venv-flows; make flows makes it")
    seen = measure()
    ratio = median(seen[True], "p95") / median(seen[False], "p95")
    lines = [
        f"{RATE} requests a second on {CONNECTIONS} connections, one row each, to the demo's model, beside "
        f"`train_flow` of the example project; {os.cpu_count()} processors; medians of {ROUNDS} rounds of "
        f"{SECONDS:g} s each, by turns.",
        "",
        "| | p50 ms | p95 ms | p99 ms |",
        "| --- | ---: | ---: | ---: |",
        *(
            f"| {name} | {median(seen[busy], 'p50'):.2f} | {median(seen[busy], 'p95'):.2f} | "
            f"{median(seen[busy], 'p99'):.2f} |"
            for busy, name in ((False, "before"), (True, "during a training"))
        ),
        "",
        f"p95 is {ratio:.2f} times what it is before; the bar is {BAR:g}.",
    ]
    print("\n".join(lines))
    if arguments.write:
        report.write("training", "\n".join(lines), "## Predictions during a training")
    if failed := sum(one.failed for rounds in seen.values() for one in rounds):
        sys.exit(f"{failed} calls failed")
    if arguments.check and ratio > BAR:
        sys.exit(f"p95 is {ratio:.2f} times as long, above the bar of {BAR:g}")


if __name__ == "__main__":
    main()
