"""Saves a fitted scikit-learn estimator as an MLflow model that loads without the project's code."""

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from mlflow.models.model import ModelInfo

#: Folders of packages that requirements name.
_INSTALLED = frozenset({"site-packages", "dist-packages"})


def log_estimator(
    estimator: Any,
    example: Any,
    params: Mapping[str, Any],
    requirements: Sequence[str] = (),
    module: str = "",
) -> ModelInfo:
    """Save an estimator in the active run, with signature and input example.

    The model is served without the project: classes and functions of all modules that lie in the folder
    of ``module``'s top package are saved by value.
    """
    from mlflow import sklearn

    predicted = estimator.predict(example)
    labels = np.asarray(predicted).dtype == object or np.asarray(predicted).dtype.kind in "US"
    with _by_value(module), _quiet():
        return sklearn.log_model(
            estimator,
            name="model",
            params={name: str(value) for name, value in params.items()},
            signature=infer_signature(example, pd.Series(predicted) if labels else predicted),
            input_example=example,
            serialization_format=sklearn.SERIALIZATION_FORMAT_CLOUDPICKLE,
            pip_requirements=[
                f"mlflow=={mlflow.__version__}",
                *(f"{name}=={version(name)}" for name in ("scikit-learn", "pandas", "numpy")),
                f"cloudpickle=={cloudpickle.__version__}",
                *requirements,
            ],
        )


@contextmanager
def _by_value(name: str) -> Iterator[None]:
    modules = _beside(name)
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def _beside(name: str) -> Sequence[ModuleType]:
    """The loaded modules of a module's top package, and of the folder where that package lies."""
    package = name.partition(".")[0]
    top = sys.modules.get(package)
    places = [*getattr(top, "__path__", ())] or [getattr(top, "__file__", None)]
    folder = Path(places[0]).resolve().parent if places[0] else None
    found = {}
    for known, module in list(sys.modules.items()):
        if known == "__main__" or getattr(module, "__name__", None) != known:
            continue  # another name of a module
        if known.partition(".")[0] == package or (folder and _lies_in(module, folder)):
            found[known] = module
    return [*found.values()]


def _lies_in(module: ModuleType, folder: Path) -> bool:
    """Whether a module lies in a folder, and is not installed there."""
    file = getattr(module, "__file__", None)
    if not file:
        return False
    place = Path(file).resolve()
    return place.is_relative_to(folder) and not _INSTALLED & {*place.parts}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without MLflow's advice to save in a format that knows scikit-learn's own classes only."""
    logger = logging.getLogger("mlflow.sklearn")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
