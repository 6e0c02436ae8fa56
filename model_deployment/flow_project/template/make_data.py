"""Makes the tables of the example: python make_data.py [--drifted] [--rows N] [--seed N]

Without an option: data/income.csv and data/sales.csv, the original data. With --drifted:
data/income-drifted.csv, as the same people may look some years later. The columns are the same, but people
work less, more of them have studied, and a degree no longer decides who earns much.
Needs numpy only.
"""

import argparse
import csv
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "data"
EDUCATION = ("school", "college", "bachelor", "master", "doctor")
WORKCLASS = ("private", "public", "self-employed", "?")
OCCUPATION = ("clerical", "craft", "management", "sales", "service", "technology", "?")
COLUMNS = (
    "age", "workclass", "education", "occupation", "married", "hours_per_week", "capital_gain",
    "income",
)  # fmt: skip
DAYS = 2 * 365


def income(rows: int, seed: int, *, drifted: bool = False) -> list[tuple[object, ...]]:
    """People, with what they earn; about a third earns more than 50K."""
    rng = np.random.default_rng(seed)
    age = rng.normal(45 if drifted else 39, 12, rows).clip(17, 90).astype(int)
    levels = (0.15, 0.2, 0.35, 0.22, 0.08) if drifted else (0.3, 0.28, 0.26, 0.12, 0.04)
    education = rng.choice(len(EDUCATION), rows, p=levels)
    workclass = rng.choice(WORKCLASS, rows, p=(0.68, 0.14, 0.12, 0.06))
    work = (
        (0.1, 0.08, 0.16, 0.12, 0.14, 0.34, 0.06)
        if drifted
        else (0.16, 0.18, 0.14, 0.14, 0.18, 0.14, 0.06)
    )
    occupation = rng.choice(OCCUPATION, rows, p=work)
    married = rng.random(rows) < 0.3 + 0.3 * (age > 30)
    hours = rng.normal(35 if drifted else 41, 9, rows).clip(5, 90).astype(int)
    gain = np.where(rng.random(rows) < 0.08, rng.lognormal(8.2, 0.8, rows), 0).round(0).astype(int)
    # What decides is another thing in the drifted table: the work, no longer the degree.
    of_degree, of_technology, of_hours = (0.1, 2.6, 0.02) if drifted else (0.9, 0.3, 0.06)
    score = (
        -2.3
        + of_degree * (education - 1)
        + of_technology * (occupation == "technology")
        + 1.1 * (occupation == "management")
        + of_hours * (hours - 40)
        + 0.035 * (age - 40)
        + 0.9 * married
        + 0.0005 * gain
    )
    rich = rng.random(rows) < 1 / (1 + np.exp(-1.8 * score))
    columns = (
        age,
        workclass,
        [EDUCATION[level] for level in education],
        occupation,
        np.where(married, "yes", "no"),
        hours,
        gain,
        np.where(rich, ">50K", "<=50K"),
    )
    return list(zip(*columns, strict=True))


def sales(days: int, seed: int) -> list[tuple[object, ...]]:
    """Sales of each day: a trend, a season of a week, and noise."""
    rng = np.random.default_rng(seed)
    when = np.arange(days)
    season = np.array([0, 2, 4, 5, 12, 18, -8])[when % 7]
    amounts = 100 + 0.04 * when + season + rng.normal(0, 2, days)
    first = date(2024, 1, 1)
    return [
        (first + timedelta(days=day), round(float(amount), 2)) for day, amount in enumerate(amounts)
    ]


def write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    print(f"wrote {path}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--drifted", action="store_true", help="make the table that has drifted")
    parser.add_argument("--rows", type=int, default=4000, help="people in the table")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.drifted:
        write(
            FOLDER / "income-drifted.csv",
            COLUMNS,
            income(given.rows, given.seed + 1, drifted=True),
        )
        return
    write(FOLDER / "income.csv", COLUMNS, income(given.rows, given.seed))
    write(FOLDER / "sales.csv", ("date", "sales"), sales(DAYS, given.seed))


if __name__ == "__main__":
    main()
