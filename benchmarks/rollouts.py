"""Measures how often rollouts end as they should: simulated traffic, and real models.

    python benchmarks/rollouts.py [--check] [--write] [--repeats N]

The steps (``endpoints/decide.py``), the guards (``endpoints/guards/judge.py``) and the verdict of a replay
(``endpoints/replay/verdict.py``) are those that serve; requests, latencies and labels are drawn.
"""

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

os.environ.setdefault("OMP_NUM_THREADS", "1")  # noqa: TID251
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # noqa: TID251

import numpy as np
import report
from replayed_models import KINDS, Kind, replayed
from report import ROOT
from simulated_rollouts import (
    End,
    Harm,
    Traffic,
    any_traffic,
    fixed_limit,
    guards,
    rollout,
    shadow,
)

sys.path.insert(0, str(ROOT))

from model_deployment.core.rollout_policy import RolloutPolicy
from model_deployment.endpoints.findings import Outcome
from model_deployment.rendering.numbers import NONE

PAGE = ROOT / "docs" / "rollouts.md"
HARMLESS, COPIES = 1000, 1000
SECTION = """# Rollouts

How often a rollout ends as it should. `python benchmarks/rollouts.py --write` measures it anew.

- The steps, the guards and the verdict of the replay are the code that serves. Requests are drawn: they
  come at random times, latencies have a heavy tail and rise and fall with the load, failures come in
  bursts that hit both versions, and labels come for a part of the answers.
- The guards look once a second. A *fixed limit* is what is usual elsewhere (Flagger's defaults): a check
  each minute fails if less than 99 % of the candidate's requests succeed, and the fifth that fails stops
  the rollout.
- Not measured: callers whose requests always fail. With `X-Route-Key` all requests of such a caller go to
  one version, which then looks worse than the other."""


@dataclass(frozen=True)
class Case:
    """One line of the table of canaries."""

    what: str
    traffic: Callable[[np.random.Generator], Traffic]
    harm: Harm
    #: Share of the rollouts that may be stopped at most, or must be at least.
    most: float | None = None
    least: float | None = None
    #: Requests of both versions after which a stop comes too late.
    requests: int | None = None


def _steady(rate: float, errors: float, labels: float = 0.0) -> Callable[[object], Traffic]:
    return lambda chance: Traffic(rate, errors, labels=labels)


#: 20 requests a second are 18,000 in the three steps; 2.2 a second are 2,000.
CASES = (
    Case("callers of all kinds, the same version twice", any_traffic, Harm(), most=0.01),
    Case("2 requests/s, errors 1 % → 10 %", _steady(2.2, 0.01), Harm(0.10), least=0.95, requests=2000),
    Case("2 requests/s, errors 1 % → 1 %", _steady(2.2, 0.01), Harm(), most=0.02),
    Case("2 requests/s, errors 0 → 50 %", _steady(2.2, 0.0), Harm(0.5), least=0.95),
    Case("20 requests/s, errors 5 % → 5 %", _steady(20, 0.05), Harm(), most=0.02),
    Case("20 requests/s, errors 1 % → 1.2 %", _steady(20, 0.01), Harm(0.012)),
    Case("20 requests/s, errors 1 % → 3 %", _steady(20, 0.01), Harm(0.03), least=0.95),
    Case("20 requests/s, errors 0.1 % → 0.5 %", _steady(20, 0.001), Harm(0.005)),
    Case("20 requests/s, latency x 1.1", _steady(20, 0.001), Harm(latency=1.1)),
    Case("20 requests/s, latency x 1.25", _steady(20, 0.001), Harm(latency=1.25)),
    Case("20 requests/s, latency x 1.5", _steady(20, 0.001), Harm(latency=1.5), least=0.95),
    Case("20 requests/s, latency x 2", _steady(20, 0.001), Harm(latency=2), least=0.95),
    Case("2 requests/s, latency x 2", _steady(2.2, 0.001), Harm(latency=2)),
    Case("20 requests/s, errors of labelled answers x 1.2", _steady(20, 0.0, 0.2), Harm(loss=1.2)),
    Case("20 requests/s, errors of labelled answers x 1.5", _steady(20, 0.0, 0.2), Harm(loss=1.5)),
)  # fmt: skip
#: Share that the champion fails, that the candidate fails, whether the same inputs fail in both.
SHADOWS = (
    (0.01, 0.01, True, None),
    (0.01, 0.01, False, None),
    (0.0, 0.05, True, None),
    (0.01, 0.03, True, None),
    (0.01, 0.10, True, 0.95),
    (0.01, 0.10, False, 0.95),
)


def canary(place: int, fixed: bool, repeat: int) -> End:
    """One rollout of a case."""
    case, policy = CASES[place], RolloutPolicy()
    chance = np.random.default_rng([place, repeat])
    rule = fixed_limit() if fixed else guards(policy)
    return rollout(case.traffic(chance), case.harm, policy, rule, chance)


def copied(place: int, repeat: int) -> int | None:
    """One shadow stage."""
    errors, harm, of_inputs, _ = SHADOWS[place]
    return shadow(COPIES, errors, harm, of_inputs, np.random.default_rng([100 + place, repeat]))


def replay(place: int, name: str, repeat: int) -> tuple[Outcome, bool]:
    """One candidate of real models."""
    warnings.simplefilter("ignore")
    return replayed(KINDS[place], name, repeat)


@dataclass(frozen=True)
class Table:
    """Lines of a table in Markdown, and the bars that were missed."""

    lines: list[str]
    missed: list[str]


def _bar(most: float | None, least: float | None, share: float) -> tuple[str, bool]:
    kept = (most is None or share <= most) and (least is None or share >= least)
    text = "" if most is None else f"at most {most:.0%}"
    text = text if least is None else f"at least {least:.0%}"
    return text if kept else f"{text} **missed**", kept


def _middle(values: Sequence[int]) -> str:
    return f"{int(np.median(values)):,}" if values else NONE


def canaries(pool: ProcessPoolExecutor, repeats: int) -> Table:
    lines = [
        "### Canary",
        "",
        f"The default policy: steps of 5, 25 and 50 %, five minutes each. {HARMLESS:,} rollouts in the "
        f"first line, {repeats} in the others. *After* are medians of those that were stopped.",
        "",
        "| traffic, champion → candidate | stopped | bar | by | after requests | after | fixed limit |",
        "| --- | ---: | --- | --- | ---: | ---: | ---: |",
    ]
    missed = []
    for place, case in enumerate(CASES):
        times = HARMLESS if place == 0 else repeats
        ends = list(pool.map(partial(canary, place, False), range(times), chunksize=5))
        limited = pool.map(partial(canary, place, True), range(min(times, repeats)), chunksize=5)
        others = [one.stopped for one in limited]
        stopped = [
            one for one in ends if one.stopped and one.requests <= (case.requests or one.requests)
        ]
        share = len(stopped) / times
        bar, kept = _bar(case.most, case.least, share)
        if case.requests:
            bar += f" within {case.requests:,} requests"
        if not kept:
            missed.append(case.what)
        by = ", ".join(sorted({one.guard for one in stopped}))
        after = _middle([one.requests for one in stopped])
        seconds = f"{_middle([one.seconds for one in stopped])} s" if stopped else NONE
        lines.append(
            f"| {case.what} | {share:.1%} | {bar} | {by} | {after} | {seconds} | {np.mean(others):.0%} |"
        )
    return Table(lines, missed)


def shadows(pool: ProcessPoolExecutor, repeats: int) -> Table:
    lines = [
        "### Shadow",
        "",
        f"{repeats} rollouts for each line, {COPIES:,} copied requests, one of five requests is copied.",
        "",
        "| errors, champion → candidate | failures | stopped within 200 copies | bar | within "
        f"{COPIES:,} | after copies (median) |",
        "| --- | --- | ---: | --- | ---: | ---: |",
    ]
    missed = []
    for place, (errors, harm, of_inputs, least) in enumerate(SHADOWS):
        ends = list(pool.map(partial(copied, place), range(repeats), chunksize=10))
        found = [one for one in ends if one is not None]
        soon = sum(one <= 200 for one in found) / repeats
        all_of_them = len(found) / repeats
        harmless = 0.01 if errors == harm else None
        bar, kept = _bar(harmless, least, all_of_them if harmless else soon)
        what = f"{errors:.0%} → {harm:.0%}"
        if not kept:
            missed.append(what)
        how = "of the same inputs" if of_inputs else "of any request"
        lines.append(
            f"| {what} | {how} | {soon:.1%} | {bar} | {all_of_them:.1%} | {_middle(found)} |"
        )
    return Table(lines, missed)


def replays(pool: ProcessPoolExecutor, repeats: int) -> Table:
    lines = [
        "### Replay",
        "",
        f"300 labelled requests, {repeats} candidates for each set and line. What passes gets a canary of "
        "3,000 labelled answers.",
        "",
        "| candidate | set | stopped at replay | held at replay | stopped at canary | promoted | bar |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    missed = []
    for place, kind in enumerate(KINDS):
        whole: list[tuple[Outcome, bool]] = []
        for name in kind.sets:
            ends = list(pool.map(partial(replay, place, name), range(repeats), chunksize=5))
            whole += ends
            lines.append(_ends(kind.what, name.replace("_", " "), ends, ""))
        bar, kept = _reached(kind, whole)
        if not kept:
            missed.append(kind.what)
        lines.append(_ends(kind.what, "**all**", whole, bar))
    return Table(lines, missed)


def _reached(kind: Kind, ends: Sequence[tuple[Outcome, bool]]) -> tuple[str, bool]:
    """The bar: how many meet a caller."""
    passed = sum(outcome is Outcome.PASSED for outcome, _ in ends) / len(ends)
    text, kept = _bar(kind.most, kind.least, passed)
    return (f"{text} pass the replay" if text else ""), kept


def _ends(what: str, name: str, ends: Sequence[tuple[Outcome, bool]], bar: str) -> str:
    shares = [
        sum(outcome is Outcome.FAILED for outcome, _ in ends),
        sum(outcome is Outcome.INCONCLUSIVE for outcome, _ in ends),
        sum(outcome is Outcome.PASSED and stopped for outcome, stopped in ends),
        sum(outcome is Outcome.PASSED and not stopped for outcome, stopped in ends),
    ]
    cells = " | ".join(f"{share / len(ends):.0%}" for share in shares)
    return f"| {what} | {name} | {cells} | {bar} |"


def measured(repeats: int) -> tuple[str, list[str]]:
    tables = []
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        for made, times in ((replays, repeats // 2), (shadows, 5 * repeats), (canaries, repeats)):
            tables.append(made(pool, times))
            print("\n".join(tables[-1].lines), flush=True)
    text = "\n\n".join("\n".join(table.lines) for table in tables)
    return text, [one for table in tables for one in table.missed]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if a bar is missed")
    parser.add_argument("--write", action="store_true", help="write docs/rollouts.md")
    parser.add_argument("--repeats", type=int, default=40)
    arguments = parser.parse_args()
    started = time.monotonic()
    figures, missed = measured(arguments.repeats)
    print(f"\n{time.monotonic() - started:.0f} s", file=sys.stderr)
    if arguments.write:
        report.write("rollouts", figures, SECTION, PAGE)
    if arguments.check and missed:
        sys.exit(f"a bar was missed: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
