"""Python imports this module at its start, if the folder is on ``PYTHONPATH``: logs of launches get times.

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


def _write_times() -> None:
    path = os.path.join(os.path.dirname(_FOLDER), "timed_output.py")
    spec = importlib.util.spec_from_file_location("_model_deployment_timed_output", path)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.install_if_logging()


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
    _write_times()
_import_the_next()
