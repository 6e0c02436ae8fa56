"""Jobs and tables for the tests of reports."""

from typing import Any

import numpy as np
import pandas as pd

from model_deployment.degradation.data.tables import LABEL, TIME, SampledTable, is_prediction
from model_deployment.degradation.job import ReportJob, parse
from model_deployment.degradation.report import ReportInputs, make_report

#: Metrics that a run recorded for its model.
RUN = {"test_rmse": 0.1, "test_mae": 0.08}
HOSTILE = "</script><script>alert(1)</script>"


def frame(n: int, seed: int = 0, shift: float = 0.0) -> pd.DataFrame:
    """Two numbers, one of which may be shifted, a category, and predictions."""
    chance = np.random.default_rng(seed)
    a = chance.normal(0, 1, n)
    return pd.DataFrame(
        {
            "a": a + shift,
            "b": chance.normal(5, 2, n),
            "c": chance.choice(["x", "y", "z"], n),
            "__prediction": a + chance.normal(0, 0.1, n),
        }
    )


def with_labels(table: pd.DataFrame, error: float, seed: int = 0) -> pd.DataFrame:
    """Its predictions are wrong by so much."""
    chance = np.random.default_rng(seed)
    times = pd.date_range("2026-01-01", periods=len(table), freq="1min", tz="UTC")
    labels = table["__prediction"] + chance.normal(0, error, len(table))
    return table.assign(**{LABEL: labels, TIME: times})


def report(
    current: pd.DataFrame,
    reference: pd.DataFrame | None = None,
    *,
    earlier: pd.DataFrame | None = None,
    **job: Any,
) -> dict[str, Any]:
    """The report on these tables."""
    wanted: ReportJob = parse(job)
    tables = [
        None if one is None else SampledTable(one, len(one), {})
        for one in (current, reference, earlier)
    ]
    known = pd.DataFrame()
    if LABEL in current:
        names = [name for name in current if name in (LABEL, TIME) or is_prediction(name)]
        known = current.loc[current[LABEL].notna(), names]
    assert tables[0] is not None
    return make_report(wanted, ReportInputs(tables[0], tables[1], known, tables[2]))[0]


def codes(found: dict[str, Any]) -> list[str]:
    """What it has to say."""
    return [reason["code"] for reason in found["reasons"]]
