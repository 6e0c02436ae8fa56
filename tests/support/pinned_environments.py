"""Environments as models pin them: an old MLflow, another Python. Built with uv, once in a run."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from model_deployment.environments.environment import Environment
from tests.support.missing import missing

#: Of the server, beside MLflow; and what old versions of it miss in today's packages.
_SERVER = (
    *("uvicorn", "uvloop", "httptools", "orjson"),
    *("setuptools<81", "starlette<1", "sqlalchemy<2.1"),
)
_IMPORTS = (
    "import mlflow.pyfunc.scoring_server, mlflow.cli, mlflow.models.cli, mlflow.sklearn, uvicorn"
)


@dataclass(frozen=True)
class Pinned:
    """What a model pins."""

    python: str
    mlflow: str
    packages: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"mlflow{self.mlflow}-python{self.python}"


def find_python(version: str) -> str | None:
    """An interpreter of a version, such as ``3.9``."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    folders = [*Path.home().glob(f".pyenv/versions/{version}.*/bin")]
    path = os.pathsep.join(map(str, [*folders, os.environ.get("PATH", os.defpath)]))
    return shutil.which(f"python{version}", path=path)


def find_uv() -> str:
    """The program beside this Python, or another; skips the test where there is none."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    return shutil.which("uv", path=path) or missing("there is no uv, which builds the environment")


def build(pinned: Pinned, root: Path) -> Environment:
    """The environment; skips the test where it cannot be had.

    Args:
        root: shared by all processes of a run.
    """
    uv = find_uv()
    python = find_python(pinned.python)
    if python is None:
        pytest.skip(f"there is no Python {pinned.python} here")
    root.mkdir(parents=True, exist_ok=True)
    folder = root / str(pinned)
    with _alone(folder.with_suffix(".lock")):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _run(uv, "venv", "--quiet", "--python", python, str(folder))
            wanted = [f"mlflow=={pinned.mlflow}", *_SERVER, *pinned.packages]
            if python == sys.executable:  # this process may load what is logged there
                wanted.append(f"scikit-learn=={version('scikit-learn')}")
            _run(uv, "pip", "install", "--quiet", "--python", str(folder), *wanted)
            # Python compiles what is imported: once, and not in each process that is started at first.
            _run(str(folder / "bin" / "python"), "-W", "ignore", "-c", _IMPORTS)
            (folder / "complete").touch()
    modules = ("sklearn", *(name.partition("=")[0] for name in pinned.packages))
    return Environment(str(pinned), folder, pinned.python, pinned.mlflow, modules)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
