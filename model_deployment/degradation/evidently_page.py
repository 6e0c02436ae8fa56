"""Evidently's own pages. The only module that imports it, since it is heavy and needs care.

It is given what was harmonised, an explicit definition of the columns and explicit methods: left to
itself it infers types, and chooses distances that call every small window drift.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from model_deployment.degradation.columns import CATEGORY, NUMBER, Column, Side
from model_deployment.degradation.drift import FEWEST, MANY
from model_deployment.degradation.job import Job

_ROWS = 10_000
_COLUMNS = 30
_CATEGORIES = 50
#: Letters that mean something in a script or in markup, and others that look like them.
_HARMLESS = str.maketrans('<>&"\\', "\u2039\u203a\uff06\u201d\uff3c")


def page(columns: Sequence[Column], job: Job) -> str | None:
    """The page as HTML; None if no column can be compared.

    Args:
        columns: the worst first.
        job: with the limits.
    """
    shown = [one for one in columns if not one.skipped and one.kind in (NUMBER, CATEGORY)]
    shown = [one for one in shown if _rows(one) >= FEWEST][: min(job.max_columns, _COLUMNS)]
    if not shown:
        return None
    names = _names(shown)
    kinds = {name: one.kind for name, one in zip(names, shown, strict=True)}
    frames = [
        pd.DataFrame(
            {
                name: _values(one, getattr(one, side), job.seed)
                for name, one in zip(names, shown, strict=True)
            }
        )
        for side in ("current", "reference")
    ]
    return _run(frames[0], frames[1], kinds)


def _rows(column: Column) -> int:
    return min(len(column.reference.present), len(column.current.present))


def _names(columns: Sequence[Column]) -> list[str]:
    """Names that are safe inside a script, each once."""
    names: list[str] = []
    for place, column in enumerate(columns):
        plain = safe(column.name).removeprefix("__")[:60] or f"column {place}"
        names.append(plain if plain not in names else f"{plain} ({place})")
    return names


def safe(text: str) -> str:
    """A text that ends no script and no attribute, wherever Evidently puts it."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain.translate(_HARMLESS)


def _values(column: Column, side: Side, seed: int) -> Any:
    values = side.values
    if len(values) > _ROWS:
        chance = np.random.default_rng(seed)
        values = values[np.sort(chance.choice(len(values), _ROWS, replace=False))]
    if column.kind == NUMBER:
        return values
    counts = np.zeros(len(column.categories), dtype=np.int64)
    for one in (column.reference, column.current):
        counts += np.bincount(one.present, minlength=len(counts))
    kept = set(np.argsort(-counts, kind="stable")[:_CATEGORIES].tolist())
    texts = [
        safe(name) if place in kept else "(other)" for place, name in enumerate(column.categories)
    ]
    return np.array([*texts, None], dtype=object)[values]


def _run(current: pd.DataFrame, reference: pd.DataFrame, kinds: dict[str, str]) -> str:
    _mend_pandas()
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
    many = min(len(current), len(reference)) >= MANY
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


def _mend_pandas() -> None:
    """Evidently 0.7 imports a name that pandas 3.1 no longer has; one old test of it uses that."""
    from pandas.core.dtypes import common

    if not hasattr(common, "infer_dtype_from_object"):
        common.infer_dtype_from_object = lambda kind: np.dtype(kind).type
