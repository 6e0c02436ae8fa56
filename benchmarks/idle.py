"""Measures what a controller costs that has nothing to do: with 100 ready deployments, and no request.

    python benchmarks/idle.py [--check] [--write] [--models N] [--seconds N]

The processor time of the controller and of the processes that work for it, without the models; then how
long the overview and ``GET /metrics`` take, asked for as a browser and as Prometheus do.
"""

import argparse
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import report
from load import HOST
from report import REPORT, ROOT
from servers import Server, deploy, empty_controller, end_strays

sys.path.insert(0, str(ROOT))

from model_deployment.cli.demo import ensure_demo_model

MODELS, SECONDS, CALLS = 100, 30.0, 20
#: Share of a core, and seconds.
IDLE_BAR, PAGE_BAR = 0.03, 0.1
PAGES = ("/dashboard", "/metrics")
#: Seconds after the last deploy, for what follows it (baselines are fetched from the registry, once, within
#: 30 s); and between two calls of a page.
SETTLE, PAUSE = 40.0, 1.0
SECTION = """## An idle controller

What the control loop, health checks and regular work cost while nobody asks for anything."""


@dataclass(frozen=True)
class Page:
    """The calls of one page."""

    path: str
    seconds: list[float]
    #: Seconds of processor time a call, with what is done anyway in its time taken away.
    spent: float

    @property
    def p50(self) -> float:
        """Seconds until it is there."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Idle:
    """Shares of a core, and the pages."""

    controller: float
    #: The processes that it has started which are no models.
    others: float
    pages: list[Page]


@contextmanager
def ready(count: int) -> Iterator[Server]:
    """A controller with so many ready deployments."""
    with tempfile.TemporaryDirectory(prefix="idle-") as name:
        folder = Path(name)
        before, tempfile.tempdir = tempfile.tempdir, name
        try:
            registry = f"sqlite:///{folder / 'registry.db'}"
            made = _versions(registry, folder / "artifacts", count)
            with empty_controller(registry, count, folder) as server:
                with ThreadPoolExecutor(count) as callers:
                    deploys = [callers.submit(deploy, server, *one, {}) for one in made]
                for done in deploys:
                    done.result()
                time.sleep(SETTLE)
                yield server
        finally:
            tempfile.tempdir = before
            end_strays(folder)


def _versions(registry: str, artifacts: Path, count: int) -> list[tuple[str, int]]:
    """Versions of one model, all with the same files."""
    from mlflow import MlflowClient

    made = ensure_demo_model(registry, registry, artifacts)
    assert made is not None, "a new registry has no models"
    client, (name, first) = MlflowClient(registry, registry), made
    version = client.get_model_version(name, str(first))
    more = [
        client.create_model_version(name, version.source, version.run_id) for _ in range(count - 1)
    ]
    return [made, *((name, int(one.version)) for one in more)]


def measure(server: Server, seconds: float) -> Idle:
    """First without a call, then with the pages."""
    controller, others = _spent(server, seconds)
    pages = [_page(server, path, controller) for path in PAGES]
    return Idle(controller, others, pages)


def _spent(server: Server, seconds: float) -> tuple[float, float]:
    """Shares of a core: the controller's, and those of the processes that work for it."""
    # The models are forks of the warm parent, and so no children of the controller.
    helpers = server.process.children()
    begin = time.perf_counter()
    before, others = _cpu(server.process), sum(map(_cpu, helpers))
    time.sleep(seconds)
    passed = time.perf_counter() - begin
    after = _cpu(server.process), sum(map(_cpu, helpers))
    return (after[0] - before) / passed, (after[1] - others) / passed


def _page(server: Server, path: str, idle: float) -> Page:
    taken, begin, before = [], time.perf_counter(), _cpu(server.process)
    with httpx.Client(base_url=f"http://{HOST}:{server.port}", trust_env=False) as client:
        for _ in range(CALLS):
            called = time.perf_counter()
            client.get(path).raise_for_status()
            taken.append(time.perf_counter() - called)
            time.sleep(PAUSE)
    anyway = idle * (time.perf_counter() - begin)
    return Page(path, taken, (_cpu(server.process) - before - anyway) / CALLS)


def _cpu(process: psutil.Process) -> float:
    """Seconds of processor time; 0 for a process that has ended."""
    with suppress(psutil.NoSuchProcess):
        return float(sum(process.cpu_times()[:2]))
    return 0.0


def table(count: int, seconds: float, seen: Idle) -> str:
    """The figures in Markdown."""
    lines = [
        f"{count} ready deployments (scikit-learn's `Ridge`, each a fork), {seconds:g} s without a "
        f"request: the controller takes {seen.controller:.1%} of a core (the bar is {IDLE_BAR:.0%}), the "
        f"warm parent and the drain {seen.others:.1%}.",
        "",
        "| page | p50 ms | slowest ms | processor ms |",
        "| --- | ---: | ---: | ---: |",
        *(
            f"| `{page.path}` | {page.p50 * 1e3:.0f} | {max(page.seconds) * 1e3:.0f} "
            f"| {page.spent * 1e3:.0f} |"
            for page in seen.pages
        ),
        "",
        f"{CALLS} calls each, one every {PAUSE:g} s; the bar is {PAGE_BAR * 1e3:.0f} ms (p50).",
    ]
    return "\n".join(lines)


def short_of(seen: Idle) -> list[str]:
    """The bars that were missed."""
    missed = [
        f"{page.path} takes {page.p50 * 1e3:.0f} ms, above the bar of {PAGE_BAR * 1e3:.0f} ms"
        for page in seen.pages
        if page.p50 > PAGE_BAR
    ]
    if seen.controller > IDLE_BAR:
        missed.append(f"{seen.controller:.1%} of a core is above the bar of {IDLE_BAR:.0%}")
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail above a bar")
    parser.add_argument("--write", action="store_true", help=f"update {REPORT.name}")
    parser.add_argument("--models", type=int, default=MODELS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="without a request")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    with ready(arguments.models) as server:
        seen = measure(server, arguments.seconds)
    figures = table(arguments.models, arguments.seconds, seen)
    print(figures)
    if arguments.write:
        report.write("idle", figures, SECTION)
    if arguments.check and (missed := short_of(seen)):
        sys.exit("; ".join(missed))


if __name__ == "__main__":
    main()
