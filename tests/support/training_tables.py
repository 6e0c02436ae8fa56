"""Tables of training data with classes, numbers, categories and "?", for tests of their analysis."""

from typing import Any

import numpy as np
import pandas as pd

from model_deployment.degradation.analysis import Analysis, analyse


def people(n: int = 800, seed: int = 0, hours: float = 40) -> pd.DataFrame:
    """A table like a census, with ``income`` to predict."""
    chance = np.random.default_rng(seed)
    age = chance.normal(45, 12, n).round(1)
    worked = chance.normal(hours, 9, n).round(1)
    job = chance.choice(["private", "public", "own", "?"], n, p=[0.6, 0.2, 0.15, 0.05])
    rich = (age - 45) / 12 + (worked - 40) / 9 + chance.normal(0, 0.8, n) > 0
    return pd.DataFrame(
        {
            "age": age,
            "hours": worked,
            "job": job.astype(object),
            "gain": chance.exponential(100, n).round(2),
            "income": np.where(rich, "high", "low").astype(object),
        }
    )


def days(n: int = 200, first: str = "2025-01-01", seed: int = 0) -> pd.DataFrame:
    """A daily series of ``sales``."""
    chance = np.random.default_rng(seed)
    times = pd.date_range(first, periods=n, freq="D")
    sales = 100 + 10 * np.sin(np.arange(n) * 2 * np.pi / 7) + chance.normal(0, 2, n)
    return pd.DataFrame({"day": times.strftime("%Y-%m-%d").astype(object), "sales": sales})


def of_people(new: Any, original: Any = None, **options: Any) -> Analysis:
    original = people(seed=1) if original is None else original
    wanted = {"target": "income", "task": "classification", "missing_values": ["?"]} | options
    return analyse(new, original, **wanted)


def of_days(new: pd.DataFrame, original: pd.DataFrame | None = None) -> Analysis:
    original = days() if original is None else original
    return analyse(new, original, target="sales", task="timeseries", time_column="day")


def codes(found: Analysis) -> list[str]:
    """Each finding as ``code:column:SEVERITY``."""
    return [f"{one.code}:{one.column or ''}:{one.severity.name}" for one in found.findings]
