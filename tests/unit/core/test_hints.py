"""What helps, by the reason that a deployment has; of ends of processes see ``test_endings``."""

from pathlib import Path

import pytest

from model_deployment.core.hints import advice
from model_deployment.registry.artifacts import Damaged, _check


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("not ready within 20 s (gave up after 5 tries)", "START_TIMEOUT"),
        ("the process exited with status 1: No module named 'xgboost'", "library"),
        ("ModuleNotFoundError: No module named 'keras'", "model-deployment[series]"),
        ("the process exited with status 1: no artifacts, no registry", "last lines"),
        ("cannot check whether requests may be merged: no", "batch_max_rows"),
        (
            "cannot download a-1: cannot reach the MLflow registry at http://r: refused",
            "did not answer",
        ),
        (
            "cannot download a-1: cannot use the MLflow registry at http://r: it requires a user",
            "wrong with",
        ),
        ("cannot download a-1: the registry has no version 1 of a", "deleted"),
        (
            "cannot download a-1: the registry says: Model Version (name=a, version=1) not found",
            "deleted",
        ),
        ("cannot use the downloaded artifacts: the link a/b leaves their folder", "symbolic link"),
        (
            "cannot start a process: cannot build the model's environment: ERROR: No module named 'x'",
            "PIP_INDEX_URL",
        ),
        (
            "cannot start a process: cannot build the model's environment: it took longer than 2 s "
            "(MODEL_DEPLOYMENT_BUILD_TIMEOUT)",
            "slow",
        ),
        (
            "cannot start a process: cannot pull the base image x: no registry; pull it by hand",
            "MODEL_DEPLOYMENT_IMAGE_BASE",
        ),
        (
            "cannot start a process: cannot use the requirement 'git+x' of the model: only wheels",
            "pip_requirements",
        ),
        ("cannot start a process: Resource temporarily unavailable", "limits"),
        # As earlier releases stored it.
        ("cannot use the downloaded artifacts: the link a/b leaves them", "symbolic link"),
        ("making sure of the local artifacts", ""),
        ("verifying the local artifacts", ""),
        ("waiting for the warm parent, which is importing", ""),
        ("healthy", ""),
        ("ExecutionException: Could not find Conda executable at /x", "not installed"),
    ],
)
def test_what_helps(reason: str, word: str) -> None:
    assert word in advice(reason)
    assert bool(advice(reason)) == bool(word)


def test_artifacts_that_are_no_model_get_a_hint(tmp_path: Path) -> None:
    with pytest.raises(Damaged) as found:
        _check(tmp_path)
    assert "log_model" in advice(str(found.value))
    (tmp_path / "MLmodel").symlink_to("/etc/hostname")
    with pytest.raises(Damaged) as found:
        _check(tmp_path)
    assert "link" in advice(str(found.value))
