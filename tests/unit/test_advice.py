"""What helps, by the reason that a deployment has."""

import pytest

from model_deployment.advice import advice, with_advice


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("not ready within 20 s (gave up after 5 tries)", "START_TIMEOUT"),
        ("the process exited with status 1: No module named 'xgboost'", "library"),
        ("the process exited with status 1: no artifacts, no registry", "last lines"),
        ("the process was killed by SIGKILL", "memory"),
        ("the process was killed by SIGSEGV: x", "native code"),
        ("its process is stopped (SIGSTOP)", "SIGSTOP"),
        ("ModuleNotFoundError: No module named 'xgboost' (another start would fail", "uv"),
        ("RuntimeError: no, from ImportError: No module named 'x'", "not installed"),
        ("AttributeError: 'A' object has no attribute 'b'", "another version"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'x'", "Log what it needs"),
        ("ConnectionRefusedError: [Errno 111] Connection refused", "MODEL_ENV"),
        ("MemoryError", "memory"),
        ("LicenceError: no registry, no artifacts, no free port", "own code"),
        ("cannot find out whether requests may be merged: no", "batch_max_rows"),
        ("cannot use the downloaded artifacts: there is no MLmodel file in them", "log_model"),
        ("cannot use the downloaded artifacts: the link a leaves them", "link"),
        (
            "cannot download a-1: cannot reach the MLflow registry at http://r: refused",
            "did not answer",
        ),
        (
            "cannot download a-1: cannot use the MLflow registry at http://r: it wants a user",
            "wrong with",
        ),
        ("cannot download a-1: the registry has no version 1 of a", "deleted"),
        (
            "cannot download a-1: the registry says: Model Version (name=a, version=1) not found",
            "deleted",
        ),
        ("healthy", ""),
        ("undeployed", ""),
        ("making sure of the local artifacts", ""),
    ],
)
def test_there_is_a_remedy_for_each(reason: str, word: str) -> None:
    assert word in advice(reason)
    assert bool(advice(reason)) == bool(word)
    told = with_advice(f"cannot: {reason}", reason)
    assert told.startswith(f"cannot: {reason}")
    assert told.endswith(advice(reason) or reason)
