"""The distribution of the client, in an environment that has nothing else."""

import json
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from typing import Any

import pandas
import pytest

from tests.support.harness import ROOT, Controller

#: httpx, and what httpx needs.
NEEDS = {"anyio", "certifi", "h11", "httpcore", "httpx", "idna", "typing_extensions"}
#: Where pandas is, for the second half.
PANDAS = Path(pandas.__file__).parents[1]
PROGRAM = """
import importlib.metadata, json, sys
from model_deployment import __version__
from model_deployment.client import Client
client = Client(sys.argv[1])
client.deploy("stub", 1)
bare = client.predict("stub-1", [{"x": 1}, {"x": 2}])
try:
    bare.to_frame()
except ImportError as error:
    refused = str(error)
loaded = sorted(sys.modules)
sys.path.append(sys.argv[2])
import pandas
frame = pandas.DataFrame({"x": [3, 4]}, index=["a", "b"])
series = client.predict("stub-1", frame).to_series()
json.dump({
    "version": __version__,
    "installed": [one.name for one in importlib.metadata.distributions(path=sys.path[:-1])],
    "loaded": loaded, "bare": bare.to_list(), "refused": refused, "frame": series.to_dict(),
}, sys.stdout)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the client alone."""
    folder = tmp_path_factory.mktemp("client")
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT / "client")
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", symlinks=True)
    found = folder / "venv" / "bin" / "python"
    _pip("--python", found, "install", "--constraint", ROOT / "constraints.txt", wheel)
    return found


def _pip(*arguments: object) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_needs_httpx_alone_and_predicts_with_and_without_pandas(
    python: Path, controller: Controller, tmp_path: Path
) -> None:
    done = subprocess.run(
        [python, "-I", "-c", PROGRAM, controller.url, PANDAS],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    installed = {name.lower().replace("-", "_") for name in found["installed"]}
    assert {"httpx", "model_deployment_client"} <= installed <= NEEDS | {"model_deployment_client"}
    rooms = {name.split(".")[1] for name in found["loaded"] if name.startswith("model_deployment.")}
    assert rooms == {"client"}
    assert not {"pandas", "numpy", "mlflow"} & set(found["loaded"])
    assert (found["bare"], found["frame"]) == ([1, 2], {"a": 3, "b": 4})
    assert found["refused"].startswith("cannot make a data frame: pandas is not installed")
    assert found["version"] == _version("client/pyproject.toml") == _version("pyproject.toml")


def _version(file: str) -> str:
    found: str = tomllib.loads((ROOT / file).read_text())["project"]["version"]
    return found
