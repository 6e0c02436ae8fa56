"""Imports what models need before the first fork, and refuses modules that start threads.

A fork has only the thread that forked. A lock that another thread held at that moment, of malloc or of a
library, is never released in the child, so the parent must never have had a second thread.
"""

import importlib
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

#: Set before the first import. One thread for each pool of linear algebra, no thread of pyarrow's allocator
#: (pandas imports pyarrow), and none that reports the use of MLflow.
ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@dataclass
class Preloaded:
    modules: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    #: The module that started a thread; this process cannot fork any longer.
    culprit: str = ""


def threads() -> int:
    """The number of threads of this process, including those of libraries."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208


def preload(modules: Iterable[str], refused: Iterable[str] = ()) -> Preloaded:
    """Import one after the other, up to the first that starts a thread."""
    done = Preloaded(refused=dict.fromkeys(refused, "starts threads when it is imported"))
    for module in modules:
        if module in done.refused:
            continue
        try:
            importlib.import_module(module)
        except Exception as error:  # a library may raise anything; a model that needs it reports it
            done.refused[module] = f"cannot be imported: {error!r}"[:300]
        else:
            done.modules.append(module)
        if threads() > 1:
            done.culprit = module
            return done
    return done


def cache_installed_packages() -> None:
    """Have MLflow list the installed packages once, which would delay the load of each model by 0.5 s."""
    utils = sys.modules.get("mlflow.utils.requirements_utils")
    try:
        utils and utils._init_packages_to_modules_map()
    except Exception as error:  # a private name of MLflow; each load lists them itself then
        print(f"cannot list the installed packages beforehand: {error!r}", flush=True)  # noqa: T201


def thread_names() -> str:
    names = (task / "comm" for task in Path("/proc/self/task").iterdir())
    return ", ".join(sorted(name.read_text().strip() for name in names))
