"""The tools that build environments (uv, virtualenv, pyenv, conda): where they are, and what is missing."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from model_deployment.core.options import EnvManager


def path_of(environment: Mapping[str, str]) -> str:
    """``PATH`` of builds: what is installed beside this Python comes first."""
    own = str(Path(sys.executable).parent)
    return os.pathsep.join(filter(None, [own, environment.get("PATH", os.defpath)]))


def find(name: str, environment: Mapping[str, str]) -> str | None:
    """The path of a program that builds can run."""
    return shutil.which(name, path=path_of(environment))


def find_conda(environment: Mapping[str, str]) -> str | None:
    """The ``conda`` that MLflow would run, or what ``MLFLOW_CONDA_CREATE_ENV_CMD`` names in its place."""
    name = environment.get("MLFLOW_CONDA_CREATE_ENV_CMD") or "conda"
    folder = ""
    if home := environment.get("MLFLOW_CONDA_HOME"):
        folder = str(Path(home, "bin"))
    elif program := environment.get("CONDA_EXE"):
        folder = str(Path(program).parent)
    return shutil.which(name, path=folder) if folder else find(name, environment)


def obstacle(manager: EnvManager, environment: Mapping[str, str]) -> str:
    """Why no environment can be built with a manager, and what helps; empty if nothing is missing."""
    if manager is EnvManager.UV and find("uv", environment) is None:
        return (
            f"cannot build environments with uv: there is no program uv in {Path(sys.executable).parent} "
            "or in the PATH of the controller; run: pip install uv"
        )
    if manager is EnvManager.CONDA and find_conda(environment) is None:
        where = environment.get("MLFLOW_CONDA_HOME") or environment.get("CONDA_EXE") or "PATH"
        return (
            f"cannot build environments with conda: there is no program conda in {where}; install conda, "
            "set MLFLOW_CONDA_HOME to its folder, or use --env-manager uv"
        )
    return ""
