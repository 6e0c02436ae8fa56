"""With how many threads a process of a model computes, whatever library computes.

A library reads its variable of the environment when it is loaded. The warm parent has loaded many libraries
with one thread each, so a fork tells those by calls. Two pools need more than one call:

* OpenMP keeps a number for each thread (``omp_set_num_threads`` sets that of the calling thread), and
  PyTorch has MKL do so; every thread that predicts sets its own, see :func:`begin_thread`.
* onnxruntime and CatBoost read no variable; a session or prediction without a number of its own gets ours.

This module needs the standard library of Python 3.8 only. Where there is no ``threadpoolctl`` (a dependency
of scikit-learn), libraries that were loaded before the fork keep the number of their parent.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any

#: The number, for whoever asks for that of a process.
COUNT = "MODEL_DEPLOYMENT_THREADS"
#: What libraries read when they are loaded: OpenMP, and libraries of linear algebra; numexpr; numba;
#: TensorFlow; Polars; programs in Rust (tokenizers); joblib, for n_jobs=-1, and LightGBM through it.
_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
    "POLARS_MAX_THREADS", "RAYON_NUM_THREADS", "LOKY_MAX_CPU_COUNT",
)  # fmt: skip
#: Threads of OpenMP that wait for work sleep: where several teams share the cores, one that spins takes the
#: core of another that computes.
_WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}
_SESSIONS, _CATBOOST = "onnxruntime", "catboost"

#: Each sets the number of the calling thread, for a library of OpenMP that was loaded with another one.
_of_thread: list[Callable[[], None]] = []


def environment(count: int) -> dict[str, str]:
    """The variables of a process that computes with this many threads."""
    return {**dict.fromkeys(_VARIABLES, str(count)), **_WAITING, COUNT: str(count)}


def count() -> int:
    """The number of this process; 0 if nobody has said one."""
    text = os.environ.get(COUNT, "")
    return int(text) if text.isdigit() else 0


def apply(before: int = 1) -> None:
    """Have the libraries of this process compute with :func:`count` threads, before the model is loaded.

    Args:
        before: the number that libraries were loaded with, which are loaded by now; 0 if there are none.
    """
    wanted = count()
    if not wanted:
        return
    if before and wanted != before:
        _tell_loaded(wanted)
    limit_sessions(wanted)
    _once_loaded(_CATBOOST, _limit_catboost, wanted)


def begin_thread() -> None:
    """At the start of a thread that predicts."""
    for set_number in _of_thread:
        set_number()


def _tell_loaded(wanted: int) -> None:
    for name in ("torch", "numexpr"):
        # A module that failed to load, or has a lower limit of its own, keeps its number.
        with contextlib.suppress(Exception):
            if name in sys.modules:
                sys.modules[name].set_num_threads(wanted)
    if "torch" in sys.modules:
        _of_thread.append(_setter(sys.modules["torch"], wanted))
    try:
        import threadpoolctl  # type: ignore[import-untyped]
    except ImportError:
        return
    for one in threadpoolctl.ThreadpoolController().lib_controllers:
        one.set_num_threads(wanted)
        if one.user_api == "openmp":
            _of_thread.append(_setter(one, wanted))


def _setter(library: Any, wanted: int) -> Callable[[], None]:
    return lambda: library.set_num_threads(wanted)


def limit_sessions(wanted: int) -> None:
    """Have sessions of onnxruntime use this many threads, unless their options name a number."""
    _once_loaded(_SESSIONS, _limit_sessions_of, wanted)


def _once_loaded(name: str, change: Callable[[Any, int], None], wanted: int) -> None:
    """Change a module now, or once it is loaded."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        change(loaded, wanted)
    else:
        sys.meta_path.insert(0, _AfterImport(name, change, wanted))


class _AfterImport:
    """Finds a module as the other finders do, and changes it once it is loaded."""

    def __init__(self, name: str, change: Callable[[Any, int], None], wanted: int) -> None:
        self._name = name
        self._change = change
        self._wanted = wanted

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self._name:
            return None
        sys.meta_path.remove(self)
        import importlib.util

        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load, change, wanted = spec.loader.exec_module, self._change, self._wanted

            def load_and_limit(module: Any) -> None:
                load(module)
                change(module, wanted)

            spec.loader.exec_module = load_and_limit  # type: ignore[method-assign]
        return spec


def _limit_sessions_of(module: Any, wanted: int) -> None:
    session = getattr(module, "InferenceSession", None)
    if session is None or hasattr(session, "threads_by_default"):
        return
    begin = session.__init__

    def begin_limited(
        self: Any, path_or_bytes: Any, sess_options: Any = None, *more: Any, **named: Any
    ) -> None:
        if sess_options is None:
            sess_options = module.SessionOptions()
        if sess_options.intra_op_num_threads == 0:
            sess_options.intra_op_num_threads = wanted
        begin(self, path_or_bytes, sess_options, *more, **named)

    session.__init__ = begin_limited
    session.threads_by_default = wanted


def _limit_catboost(module: Any, wanted: int) -> None:
    """Have its models predict with this many threads, unless a call names a number (-1: all processors)."""
    for kind in ("CatBoost", "CatBoostClassifier", "CatBoostRegressor", "CatBoostRanker"):
        made = getattr(module, kind, None)
        for name, method in [*vars(made or object).items()]:
            if name.startswith("predict") and not hasattr(method, "threads_by_default"):
                with contextlib.suppress(TypeError, ValueError):  # another signature
                    setattr(made, name, _with_threads(method, wanted))


def _with_threads(method: Any, wanted: int) -> Any:
    signature = inspect.signature(method)
    if "thread_count" not in signature.parameters:
        return method

    @functools.wraps(method)
    def call(*given: Any, **named: Any) -> Any:
        bound = signature.bind(*given, **named)
        if bound.arguments.get("thread_count", -1) == -1:
            bound.arguments["thread_count"] = wanted
        return method(*bound.args, **bound.kwargs)

    call.threads_by_default = wanted  # type: ignore[attr-defined]
    return call
