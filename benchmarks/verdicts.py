"""Measures how often the verdicts of degradation reports are right, on five real data sets.

    python benchmarks/verdicts.py [--check] [--write] [--repeats N]

The sets are those that ship with scikit-learn. Windows larger than a set are drawn from it with
replacement, with jitter of a twentieth of a standard deviation, so that rows are not the same; so is
the reference, whose size changes from report to report. Each report has a split of its own: a half
trains the model, the other is what comes in service, and the baseline is measured on a sample of it
that is half as large.
"""

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # noqa: TID251
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # noqa: TID251

import numpy as np
import pandas as pd
import report
from callers import FORMS, called
from report import ROOT
from windows import SETS, World, drawn, flipped, world

sys.path.insert(0, str(ROOT))

from model_deployment.degradation.data.tables import LABEL, PREDICTION, SampledTable
from model_deployment.degradation.job import ReportJob
from model_deployment.degradation.report import ReportInputs, make_report

PAGE = ROOT / "docs" / "verdicts.md"
SIZES = (30, 100, 300, 1000, 5000)
REFERENCES = (500, 2000, 5000)
FALSE_BAR = 0.05
FOUND_BAR = 0.95
SECTION = """# Verdicts

How often a degradation report is right, on the five data sets of scikit-learn.
`python benchmarks/verdicts.py --write` measures it anew.

- Each report has a model of its own, trained on a half of the set. The other half, with a little
  jitter, is what comes in service and what the reference is drawn from (500, 2,000 or 5,000 rows).
  The baseline is measured on a quarter, so it has the luck of a small test set. A column of names
  is added, made from the first column.
- *Moved*: a third of the columns, chosen anew for each report, by so many of their standard
  deviations (sd).
- *Labels wrong*: a quarter of them are another class, or for diabetes two standard deviations off.
  *Permuted* labels stay right more often by chance. Lines without a bar tell where a verdict begins
  to be blind.
- *Training data with target*: the reference has no predictions, so that the classes that are said
  are compared with those of the target; for a regression they are not.
- *Callers of ...*: bodies of these forms go the whole way, from the capture to the report, and have
  truth values, days, codes such as `00501`, telephone numbers and whole numbers beyond floats in them,
  and the reference is read as it was logged. *Refused* requests have a violation for each column.
- What is not in it: rows that depend on one another. Windows of few callers, who send many alike
  rows, drift more easily."""


def made(job: ReportJob, current: pd.DataFrame, reference: pd.DataFrame | None) -> dict[str, Any]:
    """The report."""
    tables = [
        None if one is None else SampledTable(one, len(one), {}) for one in (current, reference)
    ]
    known = current[current[LABEL].notna()] if LABEL in current else pd.DataFrame()
    features = current.drop(columns=[LABEL], errors="ignore")
    inputs = ReportInputs(SampledTable(features, len(features), {}), tables[1], known)
    return make_report(job, inputs)[0]


def unshifted(
    n: int, shift: float = 0.0, training: bool = False
) -> Callable[[World, np.random.Generator], str]:
    """Windows without labels; ``training``: the reference has the target instead of predictions."""

    def one(now: World, chance: np.random.Generator) -> str:
        reference, truth = drawn(now, int(chance.choice(REFERENCES)), chance)
        job = ReportJob(max_columns=1)
        if training:
            reference = reference.drop(columns=PREDICTION).assign(y=truth)
            job = replace(job, task=now.task, target="y")
        window, _ = drawn(now, n, chance, shift)
        return str(made(job, window, reference)["verdict"])

    return one


def with_labels(
    n: int, how: str = "", reference: bool = True, windows: int = 1
) -> Callable[[World, np.random.Generator], str]:
    """Labelled windows, whose labels are right unless ``how`` says otherwise; the last verdict."""

    def one(now: World, chance: np.random.Generator) -> str:
        against = drawn(now, 2000, chance)[0] if reference else None
        job = ReportJob(task=now.task, baseline=now.baseline, max_columns=1)
        result: dict[str, Any] = {}
        for _ in range(windows):
            window, truth = drawn(now, n, chance)
            window[LABEL] = flipped(truth, now.task, chance, how) if how else truth
            result = made(job, window, against)
            job = replace(job, worse_before=dict.fromkeys(result["worse_metrics"], 1))
        return str(result["verdict"])

    return one


def nothing(n: int, kind: str) -> Callable[[World, np.random.Generator], str]:
    """Windows that nothing can be told of."""

    def one(now: World, chance: np.random.Generator) -> str:
        window, truth = drawn(now, n, chance)
        if kind == "no baseline":
            window[LABEL] = truth
        if kind == "few labels":
            window[LABEL] = pd.Series(truth).where(pd.Series(range(n)) < 20).astype(object)
        baseline = {} if kind == "no baseline" else now.baseline
        if kind == "training metrics":
            window[LABEL] = truth
            baseline = {name.replace("test", "training"): v for name, v in baseline.items()}
        job = ReportJob(task=now.task, baseline=baseline, max_columns=1)
        return str(made(job, window, None)["verdict"])

    return one


@dataclass(frozen=True)
class Case:
    """One line of the table: how often a verdict is given, and how often it should be."""

    what: str
    verdict: str
    make: Callable[[World, np.random.Generator], str]
    most: float | None = None
    least: float | None = None


def cases() -> list[Case]:
    return [
        *(Case(f"nothing moved, {n:,} rows", "drift", unshifted(n), most=FALSE_BAR) for n in SIZES),
        Case("a third of the columns moved 1 sd, 100 rows", "drift", unshifted(100, 1.0)),
        Case(
            "a third of the columns moved 1 sd, 300 rows",
            "drift",
            unshifted(300, 1.0),
            least=FOUND_BAR,
        ),
        Case(
            "a third of the columns moved 1 sd, 1,000 rows",
            "drift",
            unshifted(1000, 1.0),
            least=FOUND_BAR,
        ),
        Case("a third of the columns moved 0.5 sd, 300 rows", "drift", unshifted(300, 0.5)),
        Case(
            "a quarter of the labels wrong, 200 rows",
            "degraded",
            with_labels(200, "flipped"),
            least=FOUND_BAR,
        ),
        Case(
            "a quarter of the labels wrong, two windows of 60 rows",
            "degraded",
            with_labels(60, "flipped", windows=2),
        ),
        Case(
            "a quarter of the labels permuted, 200 rows", "degraded", with_labels(200, "permuted")
        ),
        *(
            Case(f"labels right, {n:,} rows", "degraded", with_labels(n), most=0.02)
            for n in (30, 200, 1000)
        ),
        *(
            Case(
                f"labels right, two windows of {n} rows",
                "degraded",
                with_labels(n, windows=2),
                most=0.02,
            )
            for n in (60, 200)
        ),
        Case("labels right, 200 rows, no reference", "ok", with_labels(200, reference=False)),
        *(
            Case(f"no reference, {kind}, 300 rows", "ok", nothing(300, kind), most=0.0)
            for kind in ("no labels", "no baseline", "few labels", "training metrics")
        ),
        Case("a reference, 29 rows", "ok", unshifted(29), most=0.0),
        # The last, so that the figures of the lines above stay: each has the chance of its place.
        *(
            Case(
                f"nothing moved, {n:,} rows, training data with target",
                "drift",
                unshifted(n, training=True),
                most=FALSE_BAR,
            )
            for n in (100, 1000)
        ),
        *of_callers(),
    ]


def of_callers() -> list[Case]:
    """Bodies of all forms, captured as they are in service."""
    callers = "boolean and text columns, callers of {}, reference in {}, 300 rows"
    ways = [(form, "csv") for form in FORMS] + [("mixed", "parquet"), ("mixed", "captured")]
    return [
        *(
            Case(
                callers.format(form, training.replace("csv", "CSV").replace("parquet", "Parquet")),
                "drift",
                called(form, 300, training=training),
                most=FALSE_BAR,
            )
            for form, training in ways
        ),
        *(
            Case(
                f"callers of mixed forms, {share:.0%} of the requests refused, 500 rows",
                "drift",
                called("mixed", 500, refused=share),
                most=FALSE_BAR,
            )
            for share in (0.0, 0.01, 0.02, 0.05)
        ),
        Case(
            "callers of mixed forms, a third of the numbers moved 1 sd, 300 rows",
            "drift",
            called("mixed", 300, shift=1.0),
            least=FOUND_BAR,
        ),
    ]


def run(task: tuple[int, str, int]) -> float:
    """The share of one case on one set."""
    place, name, repeats = task
    warnings.simplefilter("ignore")
    case = cases()[place]
    hits = 0
    for repeat in range(repeats):
        chance = np.random.default_rng([place, SETS.index(name), repeat])
        hits += case.make(world(name, repeat), chance) == case.verdict
    return hits / repeats


@dataclass(frozen=True)
class Line:
    case: Case
    shares: dict[str, float]

    @property
    def share(self) -> float:
        return sum(self.shares.values()) / len(self.shares)

    @property
    def kept(self) -> bool:
        over = self.case.most is not None and self.share > self.case.most
        return not over and (self.case.least is None or self.share >= self.case.least)


def measured(repeats: int) -> list[Line]:
    todo = [(place, name, repeats) for place in range(len(cases())) for name in SETS]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        shares = list(pool.map(run, todo))
    rest = iter(shares)
    return [Line(case, {name: next(rest) for name in SETS}) for case in cases()]


def table(lines: Iterable[Line], repeats: int) -> str:
    names = " | ".join(name.replace("_", " ") for name in SETS)
    rows = [
        f"Share of reports that say the verdict, of {repeats} for each set and line.",
        "",
        f"| window | verdict | {names} | all | bar |",
        f"| --- | --- |{' ---: |' * (len(SETS) + 2)}",
    ]
    for line in lines:
        bar = "" if line.case.most is None else f"at most {line.case.most:.0%}"
        bar = bar if line.case.least is None else f"at least {line.case.least:.0%}"
        shares = " | ".join(f"{line.shares[name]:.0%}" for name in SETS)
        missed = "" if line.kept else " **missed**"
        rows.append(
            f"| {line.case.what} | `{line.case.verdict}` | {shares} | {line.share:.1%} | {bar}{missed} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if a bar is missed")
    parser.add_argument("--write", action="store_true", help="write docs/verdicts.md")
    parser.add_argument("--repeats", type=int, default=40)
    arguments = parser.parse_args()
    started = time.monotonic()
    lines = measured(arguments.repeats)
    figures = table(lines, arguments.repeats)
    print(figures)
    print(f"\n{time.monotonic() - started:.0f} s", file=sys.stderr)
    if arguments.write:
        report.write("verdicts", figures, SECTION, PAGE)
    if arguments.check and not all(line.kept for line in lines):
        sys.exit("a bar was missed")


if __name__ == "__main__":
    main()
