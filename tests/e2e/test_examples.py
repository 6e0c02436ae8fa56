"""The examples run as the README says, and say what they should."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.timeout(240)
def test_real_drift_is_told_and_explained(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "drift.py"), "report.html"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Verdict: degraded" in done.stdout
    assert "bmi" in done.stdout
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h1>Degraded: worse than it was on 400 labelled rows</h1>" in page
