"""Measures predictions: the controller, with micro-batching, beside ``mlflow models serve``.

    python benchmarks/serving.py [--check] [--write] [--seconds N]

The same model version is served both ways at once; callers are put on one, then on the other. Any
failed request fails the run, and so does any answer that is not the model's own. In less than 5 s
MLflow looks slower than it is: wrk leaves out the answers that are on their way at the end, which
with many callers are a second's worth.
"""

import argparse
import asyncio
import math
import random
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import load
import report
from load import COLUMNS, Load
from report import REPORT, ROOT
from servers import Server, Way, controller, direct, end_strays

sys.path.insert(0, str(ROOT))

from model_deployment.cli.demo import ensure_demo_model

OPTIONS = {"batch_max_rows": 1000}
CALLERS = (1, 8, 64, 256)
ROWS = (1, 100)
ROUNDS = 3
SECONDS = 5.0
WARM_UP = 1.0
#: Seconds that an answer may take.
PATIENCE = 30
#: Times the requests per second of ``mlflow models serve``, at so many callers of one row.
RATIO_BARS = {64: 15.0, 256: 25.0}
#: Milliseconds more that one caller of one row waits.
WAIT_BAR = 0.5
#: The answers that are compared with the model's own, who asks for them, and beside how many.
SAMPLES, CHECKERS, BESIDE = 400, 8, 64
SECTION = """## Micro-batching: the controller against `mlflow models serve`

MLflow's server predicts once for each request, and most of what that costs is the same for one row
as for hundreds. A deployment with `batch_max_rows` predicts once for all the requests that wait. Model
server, controller and load generator share all cores, as on a small machine."""


@dataclass(frozen=True)
class Cell:
    """The rounds of both ways, with so many callers and rows."""

    #: One round each, by turns.
    rounds: list[tuple[Load, Load]]

    @property
    def direct(self) -> Load:
        """The best round of ``mlflow models serve``: other programs can only make it slower."""
        return max((one for one, _ in self.rounds), key=lambda seen: seen.rate)

    @property
    def batched(self) -> Load:
        """The best round of the controller."""
        return max((other for _, other in self.rounds), key=lambda seen: seen.rate)

    @property
    def ratio(self) -> float:
        """Times the requests per second of ``mlflow models serve``, each at its best."""
        return self.batched.rate / self.direct.rate

    @property
    def added(self) -> float:
        """Milliseconds more at p50, each at its best."""
        return self.batched.p50 - self.direct.p50


#: By the number of rows and of callers.
Cells = dict[tuple[int, int], Cell]


@dataclass(frozen=True)
class Sample:
    """A request, and what the model itself says."""

    body: bytes
    predictions: list[float]

    def matches(self, answer: list[float]) -> bool:
        """Whether an answer is the model's, but for the order of additions."""
        return len(answer) == len(self.predictions) and all(
            math.isclose(got, own, rel_tol=1e-9)
            for got, own in zip(answer, self.predictions, strict=True)
        )


@contextmanager
def serving() -> Iterator[tuple[Way, Way, list[Sample]]]:
    """A model served both ways, and some of its predictions."""
    with tempfile.TemporaryDirectory(prefix="serving-") as name:
        folder = Path(name)
        # MLflow leaves locks among the temporary files.
        before, tempfile.tempdir = tempfile.tempdir, name
        try:
            registry = f"sqlite:///{folder / 'registry.db'}"
            made = ensure_demo_model(registry, registry, folder / "artifacts")
            assert made is not None, "a new registry has no models"
            [model] = (found.parent for found in (folder / "artifacts").rglob("MLmodel"))
            with (
                direct(model, folder) as one,
                controller(registry, *made, OPTIONS, folder) as other,
            ):
                yield Way(one, []), Way(other, []), samples(model)
        finally:
            tempfile.tempdir = before
            end_strays(folder)


def samples(model: Path) -> list[Sample]:
    """Requests of one to five random rows each."""
    import mlflow
    import pandas as pd  # type: ignore[import-untyped]

    predict = mlflow.pyfunc.load_model(str(model)).predict
    chance = random.Random(0)
    made = []
    for _ in range(SAMPLES):
        rows = [[chance.uniform(0, 200) for _ in COLUMNS] for _ in range(chance.randint(1, 5))]
        own = [float(value) for value in predict(pd.DataFrame(rows, columns=COLUMNS))]
        made.append(Sample(load.split(rows), own))
    return made


def wrong_answers(way: Way, wanted: list[Sample]) -> int:
    """How many answers given beside a load are not the model's own."""

    async def compare() -> int:
        left = iter(wanted)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session:
            callers = (_differing(session, way.server, left) for _ in range(CHECKERS))
            return sum(await asyncio.gather(*callers))

    async def run() -> int:
        comparing = asyncio.create_task(compare())
        while not comparing.done():
            await asyncio.to_thread(way.put, WARM_UP, callers=BESIDE, patience=PATIENCE)
        return await comparing

    return asyncio.run(run())


async def _differing(
    session: aiohttp.ClientSession, server: Server, wanted: Iterator[Sample]
) -> int:
    """Ask for one sample after the other, and count the wrong answers."""
    wrong = 0
    for sample in wanted:
        async with session.post(
            server.url, data=sample.body, headers={"Content-Type": "application/json"}
        ) as answer:
            given = await answer.json() if answer.status == 200 else {"predictions": []}
            wrong += not sample.matches(given["predictions"])
    return wrong


def measure(ways: tuple[Way, Way], seconds: float) -> Cells:
    """Both ways by turns, so that a slow moment of the machine hits both."""
    cells: Cells = {(rows, callers): Cell([]) for rows in ROWS for callers in CALLERS}
    for number in range(1, ROUNDS + 1):
        for (rows, callers), cell in cells.items():
            one, other = (_measure(way, ways, seconds, callers, rows) for way in ways)
            cell.rounds.append((one, other))
            print(
                f"round {number}: {callers} callers, {rows} rows: {one.rate:,.0f} and "
                f"{other.rate:,.0f} requests/s",
                file=sys.stderr,
            )
    return cells


def _measure(way: Way, ways: tuple[Way, Way], seconds: float, callers: int, rows: int) -> Load:
    """One way, warmed up, while neither has anything else to do."""
    what = {"callers": callers, "rows": rows, "patience": PATIENCE}
    way.put(min(WARM_UP, seconds), **what)
    for each in ways:
        each.server.settle()
    return way.put(seconds, **what)


def table(cells: Cells, seconds: float) -> str:
    """The figures in Markdown."""
    lines = [
        "A regressor of ten columns (scikit-learn's `Ridge`), served by `mlflow models serve` with its "
        f"default settings and by the controller with `batch_max_rows` {OPTIONS['batch_max_rows']}; "
        f"{load.tool()}, {ROUNDS} rounds of {seconds:g} s each, by turns. Each line has the best round of "
        "either.",
        "",
        "| rows | callers | MLflow requests/s | p50 ms | p99 ms "
        "| controller requests/s | p50 ms | p99 ms | ratio |",
        "| ---: " * 9 + "|",
    ]
    for (rows, callers), cell in cells.items():
        figures = " | ".join(
            f"{way.rate:,.0f} | {way.p50:.2f} | {way.p99:.2f}"
            for way in (cell.direct, cell.batched)
        )
        lines.append(f"| {rows} | {callers} | {figures} | {cell.ratio:.1f} |")
    return "\n".join([*lines, "", _summary(cells)])


def _summary(cells: Cells) -> str:
    """The figures that have bars, and what was compared."""
    ratios = " and ".join(
        f"{cells[1, callers].ratio:.1f} times the requests/s at {callers} callers (the bar is {bar:g})"
        for callers, bar in RATIO_BARS.items()
    )
    return (
        f"With bodies of one row that is {ratios}; the controller adds {cells[1, 1].added:.2f} ms to the "
        f"p50 of a single caller (the bar is {WAIT_BAR:g}). Not one request failed, and {SAMPLES} "
        f"predictions of random rows, from {CHECKERS} callers beside {BESIDE} others, were those of the "
        "model itself."
    )


def short_of(cells: Cells) -> list[str]:
    """The bars that were missed."""
    missed = [
        f"{ratio:.1f} times the requests/s at {callers} callers is below the bar of {bar:g}"
        for callers, bar in RATIO_BARS.items()
        if (ratio := cells[1, callers].ratio) < bar
    ]
    if (added := cells[1, 1].added) > WAIT_BAR:
        missed.append(f"{added:.2f} ms more for one caller is above the bar of {WAIT_BAR:g}")
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail below a bar")
    parser.add_argument("--write", action="store_true", help=f"update {REPORT.name}")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of one measurement")
    arguments = parser.parse_args()
    # So that the servers are ended then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    with serving() as (one, other, wanted):
        if wrong := wrong_answers(other, wanted):
            sys.exit(f"{wrong} of {len(wanted)} answers are not the model's own")
        cells = measure((one, other), arguments.seconds)
    if failed := sum(one.failures + other.failures):
        sys.exit(f"{failed} calls failed")
    figures = table(cells, arguments.seconds)
    print(figures)
    if arguments.write:
        report.write("serving", figures, SECTION)
    if arguments.check and (missed := short_of(cells)):
        sys.exit("; ".join(missed))


if __name__ == "__main__":
    main()
