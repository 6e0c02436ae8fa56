"""Gives the end-to-end tests a registry of real models."""

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "support"


@pytest.fixture(scope="session")
def run_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all processes of this run have in common."""
    return _shared_by_all(request.config, tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def registry_template(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Tracking URI of a registry that holds every model of ``flavor_models.py``.

    All workers share it, so a test that changes something in a registry works on a copy of the
    database file (the artifacts may stay where they are).
    """
    return _shared_registry(request.config, tmp_path_factory.getbasetemp(), "flavor_models.py")


@pytest.fixture(scope="session")
def difficult_registry(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Tracking URI of a registry that holds the models of ``difficult_models.py``."""
    return _shared_registry(request.config, tmp_path_factory.getbasetemp(), "difficult_models.py")


@pytest.fixture(scope="session")
def row_wise_registry(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Tracking URI of a registry that holds the models of ``row_wise_models.py``."""
    return _shared_registry(request.config, tmp_path_factory.getbasetemp(), "row_wise_models.py")


def _shared_by_all(config: pytest.Config, base: Path) -> Path:
    # Only a worker's own folder lies in one that belongs to this run: the parent of the main
    # process's is shared with the runs before, whose models may have been others.
    return base.parent if hasattr(config, "workerinput") else base


def _shared_registry(config: pytest.Config, base: Path, script: str) -> str:
    """A registry that is made once for a whole run."""
    shared = _shared_by_all(config, base)
    root = shared / f"registry-{script}"
    tracking_uri = f"sqlite:///{root / 'mlflow.db'}"
    complete = root / "complete"
    with (shared / f"registry-{script}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            # A worker may have been killed on the way.
            shutil.rmtree(root, ignore_errors=True)
            _register(SCRIPTS / script, root, tracking_uri)
            complete.touch()
    return tracking_uri


def _register(script: Path, root: Path, tracking_uri: str) -> None:
    """Register in a process of its own: MLflow's warnings would be errors in this one."""
    root.mkdir()
    done = subprocess.run(
        [sys.executable, str(script), tracking_uri, str(root / "artifacts")],
        cwd=root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, f"cannot register the models:\n{done.stdout}{done.stderr}"
