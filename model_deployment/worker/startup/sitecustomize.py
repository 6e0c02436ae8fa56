"""Python imports this module at its start, if the folder is on ``PYTHONPATH``: logs of launches get times,
and onnxruntime computes with the threads of its launch.

``mlflow models serve`` starts other programs, perhaps with a Python of the model's own. Their output goes
to the same log (https://docs.python.org/3/library/site.html).
"""

# Importing pathlib would take longer than all that is done here.
# ruff: noqa: PTH100, PTH118, PTH120

import contextlib
import importlib.util
import os
import sys

_FOLDER = os.path.dirname(os.path.abspath(__file__))


def _run(name: str, function: str, **arguments: int) -> None:
    """Call a function of a module of the folder above, which is on no path of this program."""
    path = os.path.join(os.path.dirname(_FOLDER), f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"_model_deployment_{name}", path)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        getattr(module, function)(**arguments)


def _import_the_next() -> None:
    """Import the module of this name that the environment has, if any."""
    own = sys.modules.pop("sitecustomize", None)
    path = sys.path[:]
    try:
        sys.path[:] = [one for one in path if os.path.abspath(one or ".") != _FOLDER]
        importlib.import_module("sitecustomize")
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        sys.path[:] = path
        if own is not None:
            sys.modules.setdefault("sitecustomize", own)


with contextlib.suppress(Exception):  # without times, then
    _run("timed_output", "install_if_logging")
with contextlib.suppress(Exception):  # with as many threads as libraries choose, then
    _run("threads", "apply", before=0)
_import_the_next()
