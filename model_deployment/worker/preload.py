"""Imports what models need before anything is forked, and refuses what starts threads.

A fork has only the thread that forked. What another thread held at that moment, a lock of malloc's or of
a library's, stays held in the child for ever, so the parent must never have had a second one.
"""

import importlib
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

#: Set before anything is imported. One thread for each pool of linear algebra; no thread of pyarrow's
#: allocator, which pandas brings; none that reports MLflow's use.
ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@dataclass
class Preloaded:
    """What was imported, and what was not, and why."""

    modules: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    #: The module that started a thread; the process is spoilt.
    culprit: str = ""


def threads() -> int:
    """How many this process has, those of libraries included."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208


def preload(modules: Iterable[str], refused: Iterable[str] = ()) -> Preloaded:
    """Import one after the other, up to the first that starts a thread."""
    done = Preloaded(refused=dict.fromkeys(refused, "starts threads when it is imported"))
    for module in modules:
        if module in done.refused:
            continue
        try:
            importlib.import_module(module)
        except Exception as error:  # a library may raise anything; a model that needs it will tell
            done.refused[module] = f"cannot be imported: {error!r}"[:300]
        else:
            done.modules.append(module)
        if threads() > 1:
            done.culprit = module
            return done
    return done


def cache_installed_packages() -> None:
    """Have MLflow list the installed packages, which each model's load would take half a second for."""
    utils = sys.modules.get("mlflow.utils.requirements_utils")
    try:
        utils and utils._init_packages_to_modules_map()
    except Exception as error:  # it is MLflow's own, and every load does it again if need be
        print(f"cannot list the installed packages beforehand: {error!r}", flush=True)  # noqa: T201


def thread_names() -> str:
    """What the threads are called, for the log."""
    names = (task / "comm" for task in Path("/proc/self/task").iterdir())
    return ", ".join(sorted(name.read_text().strip() for name in names))
