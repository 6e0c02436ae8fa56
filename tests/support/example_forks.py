"""Runs examples as forks of a process that has imported MLflow and scikit-learn: seconds less for each.

``python -m tests.support.example_forks`` reads tasks as JSON, one a line, and writes the exit code of each.
"""

import importlib
import json
import os
import runpy
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.harness import ROOT

EXAMPLES = ROOT / "examples"
_PRELOADED = (
    "mlflow.sklearn",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "sklearn.datasets",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "sklearn.pipeline",
)


class ExampleForks:
    """The process that examples are forked from."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.support.example_forks"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        folder: Path,
        name: str,
        *arguments: str,
        environment: Mapping[str, str],
        run_name: str = "__main__",
    ) -> tuple[int, str]:
        """Run one in a folder, with its environment; the exit code, and what it says.

        Args:
            run_name: what its module takes for its name.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        said = folder / f"{Path(name).stem}.said"
        task = {"script": str(EXAMPLES / name), "arguments": arguments, "folder": str(folder),
                "environment": dict(environment), "said": str(said), "run_name": run_name}  # fmt: skip
        print(json.dumps(task), file=self._process.stdin, flush=True)
        code = int(self._process.stdout.readline())
        return code, said.read_text(encoding="utf-8")

    def close(self) -> None:
        self._process.communicate(timeout=60)


def _serve() -> None:
    for name in _PRELOADED:
        importlib.import_module(name)
    assert threading.active_count() == 1, threading.enumerate()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _run(json.loads(line))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.write(1, f"{code}\n".encode())


def _run(task: dict[str, Any]) -> None:
    """Be the program, from here to its end."""
    said = os.open(task["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor, standard in ((os.open(os.devnull, os.O_RDONLY), 0), (said, 1), (said, 2)):
        os.dup2(descriptor, standard)
    os.chdir(task["folder"])
    os.environ.clear()
    os.environ.update(task["environment"])
    sys.argv = [task["script"], *task["arguments"]]
    sys.path[0] = str(Path(task["script"]).parent)
    code = 0
    try:
        runpy.run_path(task["script"], run_name=task["run_name"])
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve()
