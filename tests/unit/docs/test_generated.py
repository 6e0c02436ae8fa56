"""The parts of the documents that come from the code are those of this code."""

import subprocess
import sys
from pathlib import Path

from model_deployment.core.lifecycle import diagram

ROOT = Path(__file__).parents[3]


def test_the_settings_and_the_state_machine_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/docs.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_drawing_is_that_of_the_transitions() -> None:
    assert diagram() in (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
