"""Windows for ``verdicts.py``: a model on a real data set, and rows as callers would send them."""

import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from report import ROOT
from sklearn import datasets
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(ROOT))

from model_deployment.degradation.data.labels import labelled
from model_deployment.degradation.data.tables import PREDICTION
from model_deployment.degradation.statistics.metrics import measure

SETS = ("diabetes", "wine", "breast_cancer", "digits", "iris")
COLUMNS = 24


@dataclass(frozen=True)
class World:
    """A model, what it was trained for, and what comes in service."""

    task: str
    model: Any
    live: np.ndarray
    truth: np.ndarray
    baseline: dict[str, float]
    integers: bool
    #: Of the first column, for a column of names.
    quartiles: np.ndarray


@cache
def loaded(name: str) -> tuple[np.ndarray, np.ndarray]:
    return getattr(datasets, f"load_{name}")(return_X_y=True)


@cache
def world(name: str, repeat: int) -> World:
    """The same for every line of the table, so that training is not most of the time."""
    chance = np.random.default_rng([SETS.index(name), repeat])
    x, y = loaded(name)
    widest = np.sort(np.argsort(-x.std(axis=0), kind="stable")[:COLUMNS])
    x = x[:, widest]
    order = chance.permutation(len(x))
    train, live = np.split(order, [len(x) // 2])
    # The baseline has the luck of a test set of a quarter, and comes from what is served later.
    test = chance.choice(live, len(x) // 4)
    regression = name == "diabetes"
    last = Ridge() if regression else LogisticRegression(max_iter=500)
    model = make_pipeline(StandardScaler(), last).fit(x[train], y[train])
    task = "regression" if regression else "classification"
    rows = labelled(pd.Series(y[test]), pd.DataFrame({PREDICTION: model.predict(x[test])}), task)
    kept = ("rmse", "mae", "r2") if regression else ("accuracy", "f1")
    measured = measure(rows)
    baseline = {f"test_{metric}": measured[metric].value for metric in kept}
    quartiles = np.quantile(x[:, 0], [0.25, 0.5, 0.75])
    return World(task, model, x[live], y[live], baseline, name == "digits", quartiles)


def drawn(
    one: World, n: int, chance: np.random.Generator, shift: float = 0.0
) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows as a caller sends them, and their truth.

    Args:
        shift: standard deviations that a third of the columns has moved by.
    """
    places = chance.integers(0, len(one.live), n)
    x = one.live[places].astype(float)
    spread = one.live.std(axis=0)
    if not one.integers:
        x += chance.normal(0, 0.05, x.shape) * spread
    if shift:
        able = np.flatnonzero(spread > 0)
        moved = chance.choice(able, max(len(able) // 3, 1), replace=False)
        x[:, moved] += shift * spread[moved]
    frame = pd.DataFrame(x, columns=[f"c{place}" for place in range(x.shape[1])])
    frame["names"] = np.array(list("abcd"))[np.searchsorted(one.quartiles, x[:, 0])]
    frame[PREDICTION] = one.model.predict(x)
    return frame, one.truth[places]


def flipped(truth: np.ndarray, task: str, chance: np.random.Generator, how: str) -> np.ndarray:
    """A quarter of the labels wrong: another class, or two standard deviations off."""
    wrong = chance.permutation(len(truth))[: len(truth) // 4]
    result = truth.copy()
    if how == "permuted":
        result[wrong] = truth[chance.permutation(wrong)]
    elif task == "regression":
        result[wrong] += 2 * truth.std() * chance.choice([-1, 1], len(wrong))
    else:
        classes = np.unique(truth)
        steps = chance.integers(1, len(classes), len(wrong))
        places = np.searchsorted(classes, truth[wrong]) + steps
        result[wrong] = classes[places % len(classes)]
    return result
