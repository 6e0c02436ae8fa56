"""What helps, by the reason that a deployment has; of ends of processes see ``test_endings``."""

import pytest

from model_deployment.core.hints import advice


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("not ready within 20 s (gave up after 5 tries)", "START_TIMEOUT"),
        ("the process exited with status 1: No module named 'xgboost'", "library"),
        ("the process exited with status 1: no artifacts, no registry", "last lines"),
        ("cannot find out whether requests may be merged: no", "batch_max_rows"),
        ("cannot use the downloaded artifacts: there is no MLmodel file in them", "log_model"),
        ("cannot use the downloaded artifacts: the link a leaves them", "link"),
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
        ("healthy", ""),
    ],
)
def test_what_helps(reason: str, word: str) -> None:
    assert word in advice(reason)
    assert bool(advice(reason)) == bool(word)
