"""Which interpreters can run our model server."""

import subprocess
import sys

import pytest

from model_deployment.worker import fitness


@pytest.mark.parametrize(
    ("python", "mlflow"),
    [
        ("3.9.0", "2.9.0"), ("3.9.18", "2.9.2"), ("3.11.7", "2.22.5"), ("3.13.0", "3.17.2"),
        ("3.20.1", "3.99.0"), ("3.12", "3.0"), ("3.10.13", "2.16.2.dev0"),
    ],
)  # fmt: skip
def test_versions_that_fit(python: str, mlflow: str) -> None:
    assert fitness.misfit(python, mlflow) == ""


@pytest.mark.parametrize(
    ("python", "mlflow", "why"),
    [
        ("3.8.18", "2.9.2", "it has Python 3.8.18, and Python 3.9 is needed"),
        ("2.7.18", "1.30.0", "it has Python 2.7.18, and Python 3.9 is needed"),
        ("3.11.7", "2.8.1", "it has MLflow 2.8.1, and MLflow 2.9 or newer, but older than 4.0, is needed"),
        ("3.11.7", "1.30.0", "it has MLflow 1.30.0"),
        ("3.11.7", "4.0.0", "it has MLflow 4.0.0"),
        ("3.11.7", "odd", "it has MLflow odd"),
        ("3.11.7", "", "it has no MLflow"),
    ],
)  # fmt: skip
def test_versions_that_do_not_fit(python: str, mlflow: str, why: str) -> None:
    assert fitness.misfit(python, mlflow).startswith(why)


#: Forks of a process that has imported MLflow, which takes a second.
MISSING = """
import os, sys
import mlflow.version
from model_deployment.worker import fitness
for missing in sys.argv[1:]:
    if os.fork() == 0:
        sys.modules[missing] = None
        print(fitness.obstacle(), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.slow
def test_missing_library_is_named() -> None:
    libraries = ["orjson", "uvicorn", "httptools", "mlflow.version"]
    answer = subprocess.run(
        [sys.executable, "-c", MISSING, *libraries], capture_output=True, text=True, check=True
    )
    said = answer.stdout.splitlines()
    for missing, line in zip(libraries, said, strict=True):
        assert "cannot be imported" in line
        assert missing in line
