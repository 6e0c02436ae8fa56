"""Measures merged requests of tensors: a PyTorch classifier of images, with and without ``batch_max_rows``.

    python benchmarks/tensors.py [--check] [--write] [--seconds N]

Two versions of the same model are served by one controller at once, one of which merges requests. Callers
are put on one, then on the other, by turns. Any failed request fails the run, and so does any answer that
is not the model's own. It needs PyTorch, which is no need of the package: without it nothing is measured.
"""

import argparse
import importlib.util
import json
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import load
import report
from load import Load
from report import REPORT, ROOT
from servers import Server, Way, deploy, empty_controller, end_strays

sys.path.insert(0, str(ROOT))

MODEL = "images"
SHAPE = (3, 32, 32)
MAX_ROWS = 64
CALLERS = (1, 8, 64)
ROUNDS = 3
SECONDS = 5.0
WARM_UP = 1.0
#: Seconds that an answer may take.
PATIENCE = 30
#: Times the requests per second without merging, at so many callers.
RATIO_BARS = {64: 5.0}
#: Answers that are compared with the model's own, and how far they may be apart.
SAMPLES, TOLERANCE = 64, 1e-5
SECTION = """## Merged tensors: a classifier of images

The most that a request of one image costs is the reading of its JSON, and MLflow's server reads and copies
it in Python. Merged requests go to the model as bytes, one call for all that wait. Model, controller and
load generator share all cores; the model computes with one thread."""


#: The rounds without and with merging, by turns, by the number of callers.
Rounds = dict[int, list[tuple[Load, Load]]]


def network() -> Any:
    """A small convolutional network, as tutorials train one for CIFAR-10."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 8 * 8, 64), nn.ReLU(), nn.Linear(64, 10),
    ).eval()  # fmt: skip


def images(count: int) -> Any:
    """Random images, always the same ones."""
    import numpy as np

    return np.random.default_rng(0).random((count, *SHAPE), dtype=np.float32)


def log_versions(registry: str, folder: Path) -> None:
    """Two versions of the same network."""
    import mlflow
    from mlflow.models import infer_signature

    mlflow.set_tracking_uri(registry)
    mlflow.set_registry_uri(registry)
    net, example = network(), images(8)
    experiment = mlflow.create_experiment("images", (folder / "artifacts").as_uri())
    signature = infer_signature(example, example.reshape(8, -1)[:, :10])
    for _ in range(2):
        with mlflow.start_run(experiment_id=experiment):
            mlflow.pytorch.log_model(
                net, name="net", signature=signature, input_example=example,
                registered_model_name=MODEL, pip_requirements=["torch"], serialization_format="pickle",
            )  # fmt: skip


@contextmanager
def serving() -> Iterator[tuple[Way, Way]]:
    """A network served without and with merging."""
    with tempfile.TemporaryDirectory(prefix="tensors-") as name:
        folder = Path(name)
        registry = f"sqlite:///{folder / 'registry.db'}"
        log_versions(registry, folder)
        try:
            with empty_controller(registry, 2, folder) as server:
                ways = []
                for version, most in ((1, 0), (2, MAX_ROWS)):
                    deploy(server, MODEL, version, {"batch_max_rows": most})
                    one = Server(server.port, f"/{MODEL}-{version}", server.process)
                    ways.append(Way(one, []))
                yield ways[0], ways[1]
        finally:
            end_strays(folder)


def body(image: Any) -> bytes:
    return json.dumps({"inputs": [image.tolist()]}).encode()


def wrong_answers(way: Way) -> int:
    """How many answers given beside 64 other callers are not the model's own."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    import torch

    given = images(SAMPLES)
    with torch.no_grad():
        wanted = network()(torch.from_numpy(given)).numpy()
    bodies = [body(image) for image in given]

    def ask(content: bytes) -> Any:
        answer = httpx.post(
            way.server.url, content=content, timeout=PATIENCE, trust_env=False,
            headers={"content-type": "application/json"},
        )  # fmt: skip
        return answer.json()["predictions"][0] if answer.status_code == 200 else [np.nan] * 10

    with ThreadPoolExecutor(SAMPLES) as pool:
        answers = np.array([*pool.map(ask, bodies)])
    return int((~np.isclose(answers, wanted, rtol=1e-4, atol=TOLERANCE).all(axis=1)).sum())


def measure(ways: tuple[Way, Way], seconds: float) -> Rounds:
    """Both by turns, so that a slow moment of the machine hits both."""
    content = body(images(1)[0])
    rounds: Rounds = {callers: [] for callers in CALLERS}
    for number in range(1, ROUNDS + 1):
        for callers, seen in rounds.items():
            what = {"callers": callers, "content": content, "patience": PATIENCE}
            pair = []
            for way in ways:
                way.put(min(WARM_UP, seconds), **what)
                way.server.settle()
                pair.append(way.put(seconds, **what))
            seen.append((pair[0], pair[1]))
            print(
                f"round {number}: {callers} callers: {pair[0].rate:,.0f} and {pair[1].rate:,.0f} "
                "requests/s",
                file=sys.stderr,
            )
    return rounds


def best(seen: list[tuple[Load, Load]]) -> tuple[Load, Load]:
    """The best round of either: other programs can only make it slower."""
    return (
        max((one for one, _ in seen), key=lambda one: one.rate),
        max((other for _, other in seen), key=lambda one: one.rate),
    )


def ratio(seen: list[tuple[Load, Load]]) -> float:
    alone, merged = best(seen)
    return merged.rate / alone.rate


def table(rounds: Rounds, seconds: float) -> str:
    """The figures in Markdown."""
    lines = [
        f"A network of two convolutions for images of {' by '.join(map(str, SHAPE))} numbers in single "
        f"precision ({len(body(images(1)[0])):,} bytes of JSON), with `batch_max_rows` 0 and {MAX_ROWS}; "
        f"{load.tool()}, {ROUNDS} rounds of {seconds:g} s each, by turns. Each line has the best round of "
        "either.",
        "",
        "| callers | alone: requests/s | p50 ms | p99 ms | merged: requests/s | p50 ms | p99 ms | ratio |",
        "| ---: " * 8 + "|",
    ]
    for callers, seen in rounds.items():
        figures = " | ".join(
            f"{one.rate:,.0f} | {one.p50:.2f} | {one.p99:.2f}" for one in best(seen)
        )
        lines.append(f"| {callers} | {figures} | {ratio(seen):.1f} |")
    bars = "; ".join(
        f"at {callers} callers the bar is {bar:g} times" for callers, bar in RATIO_BARS.items()
    )
    checked = f"{SAMPLES} predictions for callers at the same time were the model's own"
    return "\n".join([*lines, "", f"{bars}. Not one request failed, and {checked}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail below a bar")
    parser.add_argument("--write", action="store_true", help=f"update {REPORT.name}")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of one measurement")
    arguments = parser.parse_args()
    if importlib.util.find_spec("torch") is None:
        print("skipped: this needs PyTorch (pip install torch)")
        return
    # So that the servers are ended then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    with serving() as (alone, merged):
        if wrong := wrong_answers(merged):
            sys.exit(f"{wrong} of {SAMPLES} answers are not the model's own")
        rounds = measure((alone, merged), arguments.seconds)
    if failed := sum(alone.failures + merged.failures):
        sys.exit(f"{failed} calls failed")
    figures = table(rounds, arguments.seconds)
    print(figures)
    if arguments.write:
        report.write("tensors", figures, SECTION)
    missed = [
        f"{ratio(rounds[callers]):.1f} times the requests/s at {callers} callers is below {bar:g}"
        for callers, bar in RATIO_BARS.items()
        if ratio(rounds[callers]) < bar
    ]
    if arguments.check and missed:
        sys.exit("; ".join(missed))


if __name__ == "__main__":
    main()
