"""Measures replicas: a model that computes, served by one process and by several.

    python benchmarks/replicas.py [--check] [--write] [--seconds N]

All are deployments of one controller, asked by turns. Requests per second grow only as far as there are
cores; where there are fewer than replicas, the processor time of the model's processes says what several
cores would give: the busiest replica is what limits the others.
"""

import argparse
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import load
import psutil
import report
from load import HOST, Load
from report import REPORT, ROOT
from servers import Server, deploy, empty_controller, end_strays

sys.path.insert(0, str(ROOT))

COUNTS = (1, 2, 4)
CALLERS, ROUNDS, SECONDS, WARM_UP, PATIENCE = 16, 3, 5.0, 1.0, 30
#: Share of the requests per second that as many single replicas would answer, with a core for each.
BAR = 0.8
SECTION = """## Replicas

A model that computes in Python for each request, served by several processes. A request goes to the replica
with the least in flight."""


@dataclass(frozen=True)
class Round:
    """One load on one deployment."""

    seen: Load
    #: Seconds of processor time that each replica has taken.
    spent: list[float]

    @property
    def each(self) -> float:
        """Milliseconds of processor time of a request."""
        return 1000 * sum(self.spent) / self.seen.answers

    @property
    def possible(self) -> float:
        """Requests per second with a core for each replica: the busiest one works without a pause."""
        return self.seen.answers / max(self.spent)

    @property
    def share(self) -> float:
        """Share of the work that the busiest replica has done."""
        return max(self.spent) / sum(self.spent)


@dataclass(frozen=True)
class Replicated:
    """A deployment with so many replicas."""

    count: int
    server: Server
    name: str
    rounds: list[Round]

    def put(self, seconds: float) -> Round:
        """Put a load on it."""
        workers = self._workers()
        before = [_spent(one) for one in workers]
        seen = load.put(
            self.server.port, f"/{self.name}", seconds, callers=CALLERS, patience=PATIENCE
        )
        spent = [_spent(one) - was for one, was in zip(workers, before, strict=True)]
        return Round(seen, spent)

    def _workers(self) -> list[psutil.Process]:
        url = f"http://{HOST}:{self.server.port}/model/{self.name}"
        launches = httpx.get(url, trust_env=False).json()["launches"]
        pids = [one["pid"] for one in launches if one["state"] == "ready"]
        if len(pids) != self.count:
            raise RuntimeError(f"{self.name} has {len(pids)} replicas, not {self.count}")
        return [psutil.Process(pid) for pid in pids]

    def median(self, figure: str) -> float:
        """The median of a figure of the rounds."""
        return statistics.median(getattr(one, figure) for one in self.rounds)

    @property
    def rate(self) -> float:
        """Requests per second of the best round: other programs can only make it slower."""
        return max(one.seen.rate for one in self.rounds)


def _spent(process: psutil.Process) -> float:
    """Seconds of processor time of a process and its children."""
    return sum(sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True)))


@contextmanager
def deployments() -> Iterator[list[Replicated]]:
    """One version of the model for each number of replicas."""
    with tempfile.TemporaryDirectory(prefix="replicas-") as name:
        folder = Path(name)
        # MLflow leaves locks among the temporary files.
        before, tempfile.tempdir = tempfile.tempdir, name
        try:
            registry = f"sqlite:///{folder / 'registry.db'}"
            register(registry, folder, len(COUNTS))
            with empty_controller(registry, sum(COUNTS) + 1, folder) as server:
                for version, count in enumerate(COUNTS, 1):
                    deploy(server, "busy", version, {"replicas": count, "batch_max_rows": 0})
                yield [
                    Replicated(count, server, f"busy-{version}", [])
                    for version, count in enumerate(COUNTS, 1)
                ]
        finally:
            tempfile.tempdir = before
            end_strays(folder)


def register(registry: str, folder: Path, versions: int) -> None:
    """Register a model that computes for some milliseconds."""
    import mlflow

    class Busy(mlflow.pyfunc.PythonModel):
        """Adds numbers in Python, which takes the interpreter's lock."""

        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            """One number for each row."""
            total = 0.0
            for number in range(150_000):
                total += number % 7
            return [total] * len(model_input)

    mlflow.set_tracking_uri(registry)
    mlflow.set_registry_uri(registry)
    model = folder / "model"
    mlflow.pyfunc.save_model(str(model), python_model=Busy(), pip_requirements=["mlflow"])
    client = mlflow.MlflowClient(registry, registry)
    client.create_registered_model("busy")
    for _ in range(versions):
        client.create_model_version("busy", str(model))


def table(found: list[Replicated], seconds: float) -> str:
    """The figures in Markdown."""
    one, cores = found[0], psutil.cpu_count() or 1
    lines = [
        f"A model that adds numbers in Python, each replica a fork with one process; {CALLERS} callers of "
        f"one row ({load.tool()}), {ROUNDS} rounds of {seconds:g} s each, by turns, on {cores} cores that "
        "controller and load generator share. With a core for each: requests per second of the "
        "processor time of the busiest replica.",
        "",
        "| replicas | requests/s | p50 ms | processor ms a request | the busiest replica's share "
        "| with a core for each, requests/s | ratio (at least) |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for each in found:
        ratio = each.median("possible") / one.median("possible")
        bar = "" if each is one else f" ({BAR * each.count:g})"
        p50 = min(round.seen.p50 for round in each.rounds)
        lines.append(
            f"| {each.count} | {each.rate:.0f} | {p50:.0f} | {each.median('each'):.1f} "
            f"| {each.median('share'):.0%} | {each.median('possible'):.0f} | {ratio:.2f}{bar} |"
        )
    return "\n".join(lines)


def misses(found: list[Replicated]) -> list[str]:
    """The bars that are missed, in words."""
    one = found[0].median("possible")
    slow = [
        f"{each.count} replicas could answer {each.median('possible') / one:.2f} times what one could; the "
        f"bar is {BAR * each.count:g}"
        for each in found[1:]
        if each.median("possible") < BAR * each.count * one
    ]
    failed = sum(round.seen.failed for each in found for round in each.rounds)
    return [*slow, *([f"{failed} requests failed"] if failed else [])]


def main() -> int:
    """Measure, and print or write the figures."""
    parser = argparse.ArgumentParser(description="Measures a model with several replicas.")
    parser.add_argument("--check", action="store_true", help="fail where a bar is missed")
    parser.add_argument("--write", action="store_true", help=f"write {REPORT.relative_to(ROOT)}")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each round")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with deployments() as found:
        for each in found:
            each.put(WARM_UP)
        for _ in range(ROUNDS):
            for each in found:
                each.rounds.append(each.put(asked.seconds))
    figures = table(found, asked.seconds)
    print(figures)
    if asked.write:
        report.write("replicas", figures, SECTION)
    missed = misses(found)
    for miss in missed:
        print(miss, file=sys.stderr)
    return 1 if asked.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
