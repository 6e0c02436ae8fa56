"""Measures predictions: a deployment with default options, beside other servers of the same model.

    python benchmarks/peers.py [--check] [--write] [--seconds N] [--rounds N]

The others are ``mlflow models serve``, MLServer with adaptive batching, and FastAPI by hand. All run at
once; callers are put on one after the other. Any failed request fails the run.
"""

import argparse
import json
import math
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import load
import report
from load import ROW, Load
from peer_servers import BATCH_ROWS, BATCH_TIME, fastapi, install_mlserver, mlserver
from report import REPORT, ROOT
from servers import Server, controller, direct, end_strays

sys.path.insert(0, str(ROOT))

from model_deployment.cli.demo import ensure_demo_model

OURS, MLFLOW, MLSERVER, FASTAPI = (
    "this controller", "`mlflow models serve`", "MLServer", "FastAPI by hand",
)  # fmt: skip
CALLERS = (1, 16, 64, 256)
ROUNDS = 3
SECONDS = 5.0
WARM_UP = 1.0
#: Seconds that an answer may take.
PATIENCE = 30
#: Callers at which there are bars, and times the requests per second of MLflow and of the best peer.
BARRED, MLFLOW_BAR, PEER_BAR = (64, 256), 20.0, 2.5
#: One row in the form of the Open Inference Protocol, which MLServer speaks.
INFERENCE = json.dumps(
    {"inputs": [{"name": "rows", "shape": [1, len(ROW)], "datatype": "FP64", "data": ROW}]}
).encode()
SECTION = """## A default deployment against other servers

The same scikit-learn model, and bodies of one row. Model servers and load generator share all cores, as on
a small machine."""


@dataclass
class Peer:
    """One way to serve the model, and what callers of it saw."""

    server: Server
    content: bytes
    #: The rounds, by number of callers.
    seen: dict[int, list[Load]] = field(default_factory=dict)

    def put(self, seconds: float, callers: int) -> Load:
        port, path = self.server.port, self.server.path
        return load.put(
            port, path, seconds, callers=callers, patience=PATIENCE, content=self.content
        )

    def best(self, callers: int) -> Load:
        """The best round: other programs can only make it slower."""
        return max(self.seen[callers], key=lambda seen: seen.rate)

    def prediction(self) -> float:
        """What it predicts for the row."""
        answer = httpx.post(
            self.server.url,
            content=self.content,
            headers={"Content-Type": "application/json"},
            timeout=PATIENCE,
            trust_env=False,
        ).json()
        found = answer["outputs"][0]["data"] if "outputs" in answer else answer["predictions"]
        return float(found[0])


@contextmanager
def serving() -> Iterator[tuple[dict[str, Peer], str]]:
    """Every way to serve the model by its name, and why one is missing."""
    with tempfile.TemporaryDirectory(prefix="peers-") as name, ExitStack() as stack:
        folder = Path(name)
        # MLflow leaves locks among the temporary files.
        before, tempfile.tempdir = tempfile.tempdir, name
        try:
            registry = f"sqlite:///{folder / 'registry.db'}"
            made = ensure_demo_model(registry, registry, folder / "artifacts")
            assert made is not None, "a new registry has no models"
            [model] = (found.parent for found in (folder / "artifacts").rglob("MLmodel"))
            file = _dumped(model, folder / "model.joblib")
            servers = {
                OURS: controller(registry, *made, {}, folder),
                MLFLOW: direct(model, folder),
                FASTAPI: fastapi(file, folder),
            }
            peers = {
                which: Peer(stack.enter_context(server), load.BODY)
                for which, server in servers.items()
            }
            if not (missing := install_mlserver()):
                try:
                    peers[MLSERVER] = Peer(stack.enter_context(mlserver(file, folder)), INFERENCE)
                except RuntimeError as error:
                    print(error, file=sys.stderr)
                    missing = "it does not start here"
            yield peers, missing
        finally:
            stack.close()
            tempfile.tempdir = before
            end_strays(folder)


def _dumped(model: Path, file: Path) -> Path:
    """The scikit-learn model itself, in a file that needs no MLflow."""
    import joblib
    import mlflow

    joblib.dump(mlflow.sklearn.load_model(str(model)), file)
    return file


def measure(peers: dict[str, Peer], seconds: float, rounds: int) -> None:
    """All ways by turns, so that a slow moment of the machine hits all."""
    for number in range(1, rounds + 1):
        for callers in CALLERS:
            for name, peer in peers.items():
                peer.put(min(WARM_UP, seconds), callers)
                for each in peers.values():
                    each.server.settle()
                seen = peer.put(seconds, callers)
                peer.seen.setdefault(callers, []).append(seen)
                print(
                    f"round {number}: {callers} callers: {name}: {seen.rate:,.0f} requests/s",
                    file=sys.stderr,
                )


def ratios(peers: dict[str, Peer], callers: int) -> tuple[float, float]:
    """Times the requests per second of MLflow, and of the best of the others."""
    ours = peers[OURS].best(callers).rate
    others = [one.best(callers).rate for name, one in peers.items() if name not in (OURS, MLFLOW)]
    return ours / peers[MLFLOW].best(callers).rate, ours / max(others)


def table(peers: dict[str, Peer], missing: str, seconds: float, rounds: int) -> str:
    """The figures in Markdown."""
    lines = [
        "A regressor of ten columns (scikit-learn's `Ridge`), one row in each request; the controller, "
        "`mlflow models serve` and FastAPI with their defaults (one process for the model), MLServer with "
        f"`max_batch_size` {BATCH_ROWS} and `max_batch_time` {BATCH_TIME:g}; {load.tool()}, {rounds} "
        f"rounds of {seconds:g} s each, by turns. Each cell is of the best round.",
        "",
        "| callers | "
        + " | ".join(f"{name} requests/s | p50 ms | p99 ms" for name in peers)
        + " |",
        "| ---: " * (1 + 3 * len(peers)) + "|",
    ]
    for callers in CALLERS:
        best = [peer.best(callers) for peer in peers.values()]
        cells = " | ".join(f"{one.rate:,.0f} | {one.p50:.2f} | {one.p99:.2f}" for one in best)
        lines.append(f"| {callers} | {cells} |")
    said = " ".join(_said(callers, *ratios(peers, callers)) for callers in BARRED)
    skipped = f" MLServer is left out: {missing}." if missing else ""
    return "\n".join([*lines, "", f"{said}{skipped}"])


def _said(callers: int, mlflow: float, peer: float) -> str:
    return (
        f"At {callers} callers the controller answers {mlflow:.1f} times the requests of MLflow's server "
        f"(the bar is {MLFLOW_BAR:g}) and {peer:.1f} times those of the best other (the bar is "
        f"{PEER_BAR:g})."
    )


def short_of(peers: dict[str, Peer]) -> list[str]:
    """The bars that were missed."""
    missed = []
    for callers in BARRED:
        for ratio, bar, whom in zip(
            ratios(peers, callers), (MLFLOW_BAR, PEER_BAR), ("MLflow", "the best peer"), strict=True
        ):
            if ratio < bar:
                missed.append(f"{ratio:.1f} times {whom} at {callers} callers is below {bar:g}")
    ours, theirs = peers[OURS].best(1).p50, peers[MLFLOW].best(1).p50
    if ours >= theirs:
        missed.append(f"p50 of one caller is {ours:.2f} ms, and {theirs:.2f} ms with MLflow")
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail below a bar")
    parser.add_argument("--write", action="store_true", help=f"update {REPORT.name}")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    # So that the servers are ended then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    with serving() as (peers, missing):
        said = {name: peer.prediction() for name, peer in peers.items()}
        if not all(math.isclose(one, said[MLFLOW], rel_tol=1e-9) for one in said.values()):
            sys.exit(f"they predict differently: {said}")
        measure(peers, arguments.seconds, arguments.rounds)
    failed = sum(
        one.failed for peer in peers.values() for each in peer.seen.values() for one in each
    )
    if failed:
        sys.exit(f"{failed} calls failed")
    figures = table(peers, missing, arguments.seconds, arguments.rounds)
    print(figures)
    if arguments.write:
        report.write("peers", figures, SECTION)
    if arguments.check and (missed := short_of(peers)):
        sys.exit("; ".join(missed))


if __name__ == "__main__":
    main()
