"""The demo speaks to people also in a pipe, where a controller logs JSON lines."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Runs the command without training, and starts, instead of the controller, what shows its environment.
PROGRAM = """
import os, sys
from model_deployment.cli import demo, main
demo.ensure_demo_model = lambda *_: None
show = "import os; print(os.environ.get('MODEL_DEPLOYMENT_LOG_FORMAT'))"
execv = os.execv
os.execv = lambda path, command: execv(path, [path, "-c", show])
main.app(["demo", "--data-dir", sys.argv[1]])
"""


@pytest.mark.parametrize(("chosen", "expected"), [("", "text"), ("json", "json")])
def test_demo_controller_logs_text_unless_chosen(
    tmp_path: Path, chosen: str, expected: str
) -> None:
    environment = {"PATH": os.defpath, "MODEL_DEPLOYMENT_LOG_FORMAT": chosen}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "data")],
        env={name: value for name, value in environment.items() if value},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == [expected], done.stderr
