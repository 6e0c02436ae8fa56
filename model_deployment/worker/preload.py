"""Imports what models need before the first fork, and refuses modules that forks cannot share.

A fork has only the thread that forked. A lock that another thread held at that moment, of malloc or of a
library, is never released in the child, so the parent must never have had a second thread. Connections,
event loops and devices that a module has opened belong to one process, and forks close what they inherit.

A module of a model's environment may do anything when it is imported: so the time is limited that a module
may take, and that all of them may.
"""

import gc
import importlib
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from model_deployment.worker import process_setup, shareable
from model_deployment.worker.threads import environment as threads_environment

#: With which libraries are loaded here: a pool of more would have threads.
THREADS = 1
#: Set before the first import. One thread for each pool of linear algebra, no thread of pyarrow's allocator
#: (pandas imports pyarrow), and none that reports the use of MLflow.
ENVIRONMENT = {
    **threads_environment(THREADS),
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
#: Seconds that one import may take, and all of them together. The controller waits for longer.
LONGEST_IMPORT, LONGEST_IMPORTS = 30.0, 50.0


@dataclass
class Preloaded:
    modules: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    #: The module that forks cannot share, so that this process cannot fork any longer, and why.
    culprit: str = ""
    why: str = ""


def threads() -> int:
    """The number of threads of this process, including those of libraries."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208


class TookTooLong(BaseException):
    """Raised in an import. No library takes it for an error of its own."""


def preload(
    modules: Iterable[str],
    refused: Mapping[str, str] = MappingProxyType({}),
    longest: float = LONGEST_IMPORT,
    altogether: float = LONGEST_IMPORTS,
) -> Preloaded:
    """Import one after the other, up to the first that starts a thread, or keeps something open for itself.

    Args:
        refused: those that are left out, and why.
        longest, altogether: seconds that one of them and all of them may take.
    """
    done = Preloaded(refused=dict(refused))
    end = time.monotonic() + altogether
    before = shareable.Opened()
    for module in modules:
        if module in done.refused:
            continue
        opened = shareable.Opened()
        left = min(longest, end - time.monotonic())
        try:
            with _within(left):
                importlib.import_module(module)
        except TookTooLong:
            done.refused[module] = f"was not imported within {max(0.0, left):.0f} s"
        except (Exception, SystemExit) as error:
            # A library may raise anything; a model that needs it reports it.
            done.refused[module] = f"cannot be imported: {error!r}"[:300]
        else:
            done.modules.append(module)
        if why := _obstacle(opened):
            done.culprit, done.why = module, why
            return done
    for number in before.numbers():
        process_setup.keep(number)
    return done


def _obstacle(opened: shareable.Opened) -> str:
    """Why forks cannot share what an import has begun, in words behind its name; empty if they can."""
    if threads() > 1:
        return f"starts threads ({thread_names()})"
    if why := opened.obstacle():
        # A file that was forgotten in a cycle is closed by the collector, which is off here.
        gc.collect()
        why = opened.obstacle()
    return why


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Limit the time of what follows, as far as it runs in Python or waits for something."""
    if seconds <= 0:
        raise TookTooLong

    def give_up(*_: object) -> None:
        raise TookTooLong

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


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
