"""The distribution of the agent, in an environment that has websockets and nothing else; and its unit."""

import json
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from typing import Any

import pytest

from tests.support.edge_controller import EdgeController
from tests.support.edge_device import EdgeDevice
from tests.support.harness import ROOT
from tests.support.missing import missing
from tests.support.waiting import until_sync

UNIT = ROOT / "agent/model-deployment-agent.service"
PROGRAM = """
import importlib.metadata, json, sys
from model_deployment_agent import __version__, agent, cli
json.dump({
    "version": __version__,
    "installed": [one.name for one in importlib.metadata.distributions()],
    "loaded": sorted({name.partition(".")[0] for name in sys.modules}),
    "unit": importlib.metadata.files("model-deployment-agent") is not None,
}, sys.stdout)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the agent alone."""
    folder = tmp_path_factory.mktemp("agent")
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT / "agent")
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


def test_it_needs_websockets_alone(python: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [python, "-I", "-c", PROGRAM],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert {name.lower() for name in found["installed"]} == {"model-deployment-agent", "websockets"}
    foreign = set(found["loaded"]) - sys.stdlib_module_names - {"__main__"}
    assert foreign == {"model_deployment_agent", "websockets"}
    versions = [
        tomllib.loads((ROOT / file).read_text())["project"]["version"]
        for file in ("pyproject.toml", "agent/pyproject.toml")
    ]
    assert versions == [found["version"]] * 2
    (unit,) = python.parents[1].rglob("model-deployment-agent.service")
    assert unit.read_bytes() == UNIT.read_bytes()


def test_without_onnxruntime_and_mlflow_a_release_fails_in_words(
    edge: EdgeController, python: Path, tmp_path: Path
) -> None:
    device = EdgeDevice(tmp_path / "device", edge, python.with_name("model-deployment-agent"))
    device.enrol()
    edge.want(edge.signer.release(1))
    device.start()
    try:
        edge.until_state(1, "failed")
        assert edge.reason(1) == (
            "cannot run this release: neither onnxruntime nor MLflow is installed; "
            "install model-deployment-agent[onnx]"
        )
        edge.want(edge.signer.release(2, change=lambda m: m.update(onnx={"why_not": "odd"})))
        edge.until_state(2, "failed")
        assert "it has no ONNX form (odd), and MLflow is not installed" in edge.reason(2)
        assert device.predict() == 503
        until_sync(lambda: device.status()["link"]["state"] == "connected")
    finally:
        device.stop()


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        missing("systemd-analyze is not here")
    text = UNIT.read_text()
    copy = tmp_path / UNIT.name
    # The program of the unit is not installed here, and systemd looks for it.
    start = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    copy.write_text(text.replace(start.split()[0], f"ExecStart={shutil.which('true')}"))
    done = subprocess.run(
        [program, "verify", "--man=no", copy],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert start.split()[1:3] == ["run", "--folder"]
    for line in ("Restart=always", "DynamicUser=yes", "NoNewPrivileges=true", "MemoryMax=384M"):
        assert line in text.splitlines()
