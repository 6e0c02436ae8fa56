"""Whether an interpreter can run our model server, which needs a Python, an MLflow and a few libraries.

Where it cannot, MLflow's own server does it. This module needs the standard library of Python 3.8 only.
"""

import importlib
import sys
from typing import Tuple  # noqa: UP035 - Python 3.8

#: The oldest Python and the oldest MLflow, and the first MLflow that is not known to fit.
OLDEST_PYTHON, OLDEST_MLFLOW, UNKNOWN_MLFLOW = (3, 9), (2, 9), (4, 0)
#: What serves. They import uvicorn, uvloop, httptools, orjson, NumPy, pandas.
_SERVING = ("model_deployment.worker.scoring", "model_deployment.worker.fast_path")


def misfit(python: str, mlflow: str) -> str:
    """Why these versions do not fit, as a sentence; empty if they do.

    Args:
        python: such as ``3.11.7``.
        mlflow: such as ``2.9.2``; empty without MLflow.
    """
    if not mlflow:
        return "it has no MLflow"
    if _numbers(python) < OLDEST_PYTHON:
        return f"it has Python {python}, and Python {_text(OLDEST_PYTHON)} is needed"
    if not OLDEST_MLFLOW <= _numbers(mlflow) < UNKNOWN_MLFLOW:
        known = f"{_text(OLDEST_MLFLOW)} or newer, but older than {_text(UNKNOWN_MLFLOW)}"
        return f"it has MLflow {mlflow}, and MLflow {known}, is needed"
    return ""


def obstacle() -> str:
    """Why this interpreter cannot serve, as a sentence; empty if it can. Imports what serves."""
    python = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:  # it may not even have an MLflow
        return misfit(python, "0")
    try:
        from mlflow.version import VERSION
    except Exception as error:  # its requirements may be missing, or of versions that do not fit
        return f"MLflow cannot be imported: {error!r}"[:300]
    why = misfit(python, str(VERSION))
    for module in () if why else _SERVING:
        try:
            importlib.import_module(module)
        except Exception as error:
            return f"{module.rpartition('.')[2]} cannot be imported: {error!r}"[:300]
    return why


def _text(version: Tuple[int, int]) -> str:  # noqa: UP006 - Python 3.8
    return f"{version[0]}.{version[1]}"


def _numbers(version: str) -> Tuple[int, int]:  # noqa: UP006 - Python 3.8
    parts = [part for part in version.split(".")[:2] if part.isdigit()]
    return (int(parts[0]), int(parts[1])) if len(parts) == 2 else (0, 0)
