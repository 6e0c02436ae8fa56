"""Gives the end-to-end tests a registry of real models."""

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MODELS = Path(__file__).with_name("models.py")


@pytest.fixture(scope="session")
def registry_template(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Tracking URI of a registry that holds every model of ``models.py``.

    It is made once for a whole run, and all workers share it, so a test that changes something in
    a registry works on a copy of the database file (the artifacts may stay where they are).
    """
    base = tmp_path_factory.getbasetemp()
    # Only a worker's own folder lies in one that belongs to this run: the parent of the main
    # process's is shared with the runs before, whose models may have been others.
    shared = base.parent if hasattr(request.config, "workerinput") else base
    root = shared / "registry_template"
    tracking_uri = f"sqlite:///{root / 'mlflow.db'}"
    complete = root / "complete"
    with (shared / "registry_template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            # A worker may have been killed on the way.
            shutil.rmtree(root, ignore_errors=True)
            _register(root, tracking_uri)
            complete.touch()
    return tracking_uri


def _register(root: Path, tracking_uri: str) -> None:
    """Register in a process of its own: MLflow's warnings would be errors in this one."""
    root.mkdir()
    done = subprocess.run(
        [sys.executable, str(MODELS), tracking_uri, str(root / "artifacts")],
        cwd=root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, f"cannot register the models:\n{done.stdout}{done.stderr}"
