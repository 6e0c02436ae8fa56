"""Evidently's page. The only module that imports Evidently, which is slow to import.

Evidently gets harmonised columns with explicit types and methods. By default it infers types, and chooses
distances that find drift in every small window.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from model_deployment.degradation.data.columns import CATEGORY, NUMBER, ColumnPair, Sample
from model_deployment.degradation.job import ReportJob
from model_deployment.degradation.statistics.drift import MIN_ROWS, MIN_ROWS_PSI

_MAX_ROWS = 10_000
_MAX_COLUMNS = 30
_MAX_CATEGORIES = 50
#: Letters with a meaning in scripts or markup, and harmless letters that look like them.
_HARMLESS = str.maketrans('<>&"\\', "\u2039\u203a\uff06\u201d\uff3c")


def page(columns: Sequence[ColumnPair], job: ReportJob) -> str | None:
    """The page as HTML; None if no column can be compared. The first columns are shown."""
    comparable = [
        one
        for one in columns
        if not one.skipped
        and one.kind in (NUMBER, CATEGORY)
        and min(len(one.reference.present), len(one.current.present)) >= MIN_ROWS
    ]
    shown = comparable[: min(job.max_columns, _MAX_COLUMNS)]
    if not shown:
        return None
    named = dict(zip(_names(shown), shown, strict=True))
    current = {name: _values(one, one.current, job.seed) for name, one in named.items()}
    reference = {name: _values(one, one.reference, job.seed) for name, one in named.items()}
    kinds = {name: one.kind for name, one in named.items()}
    return _run(pd.DataFrame(current), pd.DataFrame(reference), kinds)


def _names(columns: Sequence[ColumnPair]) -> list[str]:
    """Unique names that are safe inside a script."""
    names: list[str] = []
    for place, column in enumerate(columns):
        plain = safe(column.name).removeprefix("__")[:60] or f"column {place}"
        names.append(plain if plain not in names else f"{plain} ({place})")
    return names


def safe(text: str) -> str:
    """A text that cannot end a script or an attribute, wherever Evidently puts it."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain.translate(_HARMLESS)


def _values(column: ColumnPair, side: Sample, seed: int) -> Any:
    values = side.values
    if len(values) > _MAX_ROWS:
        random = np.random.default_rng(seed)
        values = values[np.sort(random.choice(len(values), _MAX_ROWS, replace=False))]
    if column.kind == NUMBER:
        return values
    reference, current = column.counts
    kept = set(np.argsort(-(reference + current), kind="stable")[:_MAX_CATEGORIES].tolist())
    texts = [
        safe(name) if place in kept else "(other)" for place, name in enumerate(column.categories)
    ]
    return np.array([*texts, None], dtype=object)[values]


def _run(current: pd.DataFrame, reference: pd.DataFrame, kinds: dict[str, str]) -> str:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset, DataSummaryPreset

    numbers = [name for name, kind in kinds.items() if kind == NUMBER]
    categories = [name for name, kind in kinds.items() if kind == CATEGORY]
    definition = DataDefinition(
        numerical_columns=numbers,
        categorical_columns=categories,
        datetime_columns=[],
        text_columns=[],
    )
    many = min(len(current), len(reference)) >= MIN_ROWS_PSI
    drift = DataDriftPreset(
        columns=[*numbers, *categories],
        num_method="psi" if many else "ks",
        cat_method="psi" if many else "chisquare",
        num_threshold=0.1 if many else 0.01,
        cat_threshold=0.1 if many else 0.01,
    )
    result = Report([drift, DataSummaryPreset()]).run(
        Dataset.from_pandas(current, definition), Dataset.from_pandas(reference, definition)
    )
    return str(result.get_html_str(as_iframe=False))
