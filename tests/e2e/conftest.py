"""Gives the end-to-end tests a registry of real models."""

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.left_out import leave_evidently_out

_SUPPORT = Path(__file__).parents[1] / "support"
#: What registers models.
SCRIPTS = [str(_SUPPORT / f"{name}_models.py") for name in ("flavor", "difficult", "row_wise")]
#: Runs them one after the other, as programs: MLflow is imported, and its tables are made, once.
_PROGRAM = "import runpy, sys; [runpy.run_path(one, run_name='__main__') for one in sys.argv[3:]]"


@pytest.fixture(scope="session")
def run_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all processes of this run have in common."""
    base = tmp_path_factory.getbasetemp()
    # Only a worker's own folder lies in one that belongs to this run: the parent of the main
    # process's is shared with the runs before, whose models may have been others.
    return base.parent if hasattr(request.config, "workerinput") else base


@pytest.fixture
def quick_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs make reports without the page of Evidently."""
    leave_evidently_out(monkeypatch)


@pytest.fixture(scope="session")
def registry_template(run_folder: Path) -> str:
    """Tracking URI of a registry that holds every model of the scripts.

    All workers share it, so a test that changes something in a registry works on a copy of the
    database file (the artifacts may stay where they are).
    """
    root = run_folder / "registry"
    tracking_uri = f"sqlite:///{root / 'mlflow.db'}"
    complete = root / "complete"
    with (run_folder / "registry.lock").open("w") as lock:
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
        [sys.executable, "-c", _PROGRAM, tracking_uri, str(root / "artifacts"), *SCRIPTS],
        cwd=root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, f"cannot register the models:\n{done.stdout}{done.stderr}"
