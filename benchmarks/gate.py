"""Measures the gate: what it costs to read and check one small request, and one large one.

    python benchmarks/gate.py [--check] [--write]

Times are the least of many rounds, since whatever else the machine does can only add to them.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
import report
from report import REPORT, ROOT

sys.path.insert(0, str(ROOT))

from model_deployment.core.signature import Signature
from model_deployment.gate import Gate, Validation, loads

#: Microseconds to read and check one row of ten columns.
SMALL_BAR = 25.0
#: Milliseconds to check 10,000 rows of twenty columns.
LARGE_BAR = 8.0
ROWS = 10_000
TYPES = ("double", "long", "string")


@dataclass(frozen=True)
class Cost:
    """Seconds for one body: orjson alone, strict JSON, and the check."""

    body: str
    parse: float
    strict: float
    check: float

    @property
    def total(self) -> float:
        """What the proxy pays."""
        return self.strict + self.check


def signature(names: list[str]) -> Signature:
    """Columns of three types by turns."""
    inputs = [
        {"name": name, "type": TYPES[place % 3], "required": True}
        for place, name in enumerate(names)
    ]
    return Signature(inputs, None, None)


def cell(column: int, chance: random.Random) -> Any:
    match TYPES[column % 3]:
        case "double":
            return chance.uniform(-1, 1)
        case "long":
            return chance.randrange(10**6)
    return f"text {chance.randrange(1000)}"


def bodies(names: list[str], height: int) -> dict[str, bytes]:
    """The same rows in several forms."""
    chance = random.Random(0)
    rows = [[cell(column, chance) for column in range(len(names))] for _ in range(height)]
    records = [dict(zip(names, row, strict=True)) for row in rows]
    forms: dict[str, Any] = {
        "dataframe_split": {"dataframe_split": {"columns": names, "data": rows}},
        "dataframe_records": {"dataframe_records": records},
        "bare record": records[0],
    }
    return {
        name: json.dumps(body).encode()
        for name, body in forms.items()
        if height == 1 or name != "bare record"
    }


def least(call: Callable[[], object], calls: int, rounds: int) -> float:
    """Seconds for one call in the least disturbed round."""
    best = float("inf")
    for _ in range(rounds):
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        best = min(best, time.perf_counter() - begin)
    return best / calls


def measure(columns: int, height: int, *, calls: int, rounds: int) -> list[Cost]:
    """One row of the table for each form."""
    names = [f"column_{place}" for place in range(columns)]
    mapping = json.loads((ROOT / "type_mapping.json").read_text(encoding="utf-8"))
    gate = Gate(signature(names), mapping, Validation.STRICT)
    costs = []
    for name, body in bodies(names, height).items():
        parsed = loads(body)
        verdict = gate.check(parsed)
        assert (verdict.refused, verdict.rows) == (False, height)
        costs.append(
            Cost(
                name,
                least(lambda body=body: orjson.loads(body), calls, rounds),  # type: ignore[misc]
                least(lambda body=body: loads(body), calls, rounds),  # type: ignore[misc]
                least(lambda parsed=parsed: gate.check(parsed), calls, rounds),  # type: ignore[misc]
            )
        )
    return costs


def table(small: list[Cost], large: list[Cost]) -> str:
    """The figures in Markdown."""
    lines = [
        f"Columns of double, long and string, strict. The bars are {SMALL_BAR:g} µs to read and check "
        f"one row of ten columns, and {LARGE_BAR:g} ms to check {ROWS:,} rows of twenty.",
        "",
        "| rows | body | orjson alone | strict JSON | check | read and check |",
        "| ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for rows, unit, factor, costs in (("1", "µs", 1e6, small), (f"{ROWS:,}", "ms", 1e3, large)):
        for cost in costs:
            figures = (cost.parse, cost.strict, cost.check, cost.total)
            cells = " | ".join(f"{figure * factor:.1f} {unit}" for figure in figures)
            lines.append(f"| {rows} | {cost.body} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail above a bar")
    parser.add_argument("--write", action="store_true", help=f"update {REPORT.name}")
    arguments = parser.parse_args()
    small = measure(10, 1, calls=100, rounds=200)
    large = measure(20, ROWS, calls=1, rounds=25)
    figures = table(small, large)
    print(figures)
    if arguments.write:
        report.write("gate", figures, "## The gate")
    slow = [cost for cost in small if cost.total * 1e6 > SMALL_BAR]
    slow += [cost for cost in large if cost.check * 1e3 > LARGE_BAR]
    if arguments.check and slow:
        sys.exit(f"above the bar: {', '.join(cost.body for cost in slow)}")


if __name__ == "__main__":
    main()
