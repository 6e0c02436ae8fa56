"""Measures what listing hundreds of versions with their metrics takes, beside one call for each version.

    python benchmarks/registry.py [--check] [--write]

A real ``mlflow server`` on SQLite; both ways by turns, in one run.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import report
from report import REPORT, ROOT

sys.path.insert(0, str(ROOT))

from model_deployment.registry.client import Registry
from model_deployment.registry.mlflow_client import create_database
from model_deployment.registry.threads import in_time
from tests.support.ports import free_port

NAME, VERSIONS, ROUNDS = "nightly", 300, 3
#: Versions of the first page of the dashboard.
PAGE = 50
#: What a first page, a first and a second list may take, as parts of one call for each version.
NEWEST, FIRST, SECOND = 0.25, 0.5, 0.15


def fill(uri: str) -> None:
    """Register versions, each with a run and a logged model of its own."""
    create_database(uri)
    import mlflow
    from mlflow.entities import Metric

    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient(uri, uri)
    experiment = client.create_experiment(NAME)
    client.create_registered_model(NAME)
    for number in range(VERSIONS):
        run = client.create_run(experiment).info.run_id
        model = client.create_logged_model(experiment, source_run_id=run).model_id
        now = int(time.time() * 1000)
        metrics = [Metric(f"m_{place}", number + place, now, 0) for place in range(8)]
        client.log_batch(run, metrics=metrics)
        client.set_terminated(run)
        client.create_model_version(NAME, f"models:/{model}", run_id=run)


def one_by_one(client: Any) -> None:
    """As it was done before: a call for each version, eight at a time."""
    versions = client.search_model_versions(f"name='{NAME}'", max_results=1000)
    runs = [version.run_id for version in versions]
    found = in_time(client.get_run, runs, threads=8, end=time.monotonic() + 60)
    assert None not in found


async def measure(uri: str) -> dict[str, list[float]]:
    import mlflow

    client = mlflow.MlflowClient(uri, uri)
    took: dict[str, list[float]] = {"each": [], "newest": [], "first": [], "second": []}
    for _ in range(ROUNDS):
        registry = Registry(tracking_uri=uri, registry_uri=uri, timeout=60, download_timeout=60)
        await registry.warm_up()
        began = time.perf_counter()
        await asyncio.to_thread(one_by_one, client)
        took["each"].append(time.perf_counter() - began)
        page = Registry(tracking_uri=uri, registry_uri=uri, timeout=60, download_timeout=60)
        await page.warm_up()
        for which, source, limit in (
            ("newest", page, PAGE),
            ("first", registry, None),
            ("second", registry, None),
        ):
            began = time.perf_counter()
            versions = await source.versions(NAME, limit=limit)
            took[which].append(time.perf_counter() - began)
            assert len(versions) == (limit or VERSIONS)
            assert all(len(version.metrics) == 8 for version in versions)
    return took


def served(database: str) -> dict[str, list[float]]:
    """Start a server, and measure against it."""
    port = free_port()
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database, "--host", "127.0.0.1",
        "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}"
        end = time.monotonic() + 120
        while True:
            try:
                with urlopen(f"{address}/health"):
                    break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)
        return asyncio.run(measure(address))
    finally:
        os.killpg(server.pid, 15)
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail above the bars")
    parser.add_argument("--write", action="store_true", help=f"update {REPORT.name}")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = f"sqlite:///{Path(folder) / 'mlflow.db'}"
        fill(database)
        took = {which: statistics.median(all) for which, all in served(database).items()}
    lines = [
        f"{VERSIONS} versions with a run each, on `mlflow server` (SQLite, one worker); the median of "
        f"{ROUNDS} rounds, by turns.",
        "",
        "| | seconds | of one call for each |",
        "| --- | --- | --- |",
        f"| one call for each version, eight at a time | {took['each']:.2f} | |",
        *(
            f"| `GET /get_model_version_list`, {words} | {took[which]:.2f} | "
            f"{took[which] / took['each']:.0%} (at most {bar:.0%}) |"
            for which, words, bar in (
                ("newest", f"the newest {PAGE}, the first time", NEWEST),
                ("first", "all, the first time", FIRST),
                ("second", "all, then", SECOND),
            )
        ),
    ]
    print("\n".join(lines))
    if arguments.write:
        report.write("registry", "\n".join(lines), "## Lists of versions")
    bars = {"newest": NEWEST, "first": FIRST, "second": SECOND}
    if arguments.check and any(took[which] > bar * took["each"] for which, bar in bars.items()):
        raise SystemExit("above the bar")


if __name__ == "__main__":
    main()
