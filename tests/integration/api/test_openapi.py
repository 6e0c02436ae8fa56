"""The API against its own description, asked what nobody would ask: schemathesis, as an operator."""

import subprocess
import sys
from pathlib import Path

from tests.support.harness import OPERATOR, Controller

#: Reports take seconds each; they have tests of their own.
_NOT = "degradation_report"
#: No pattern can say which times and column names there are.
_UNCHECKED = "positive_data_acceptance"


def test_every_answer_is_as_described_and_every_wrong_question_is_refused(
    guarded: Controller,
) -> None:
    """Positive and negative, stateful, without and with the wrong password, thirteen hundred calls."""
    guarded.deploy("stub-1")
    arguments = [
        "run", f"{guarded.url}/openapi.json", "--auth", ":".join(OPERATOR), "--max-examples", "15",
        "--exclude-path-regex", _NOT, "--exclude-checks", _UNCHECKED, "--request-timeout", "20",
        "--continue-on-failure", "--generation-deterministic", "--no-color",
    ]  # fmt: skip
    done = subprocess.run(
        [Path(sys.executable).with_name("schemathesis"), *arguments],
        cwd=guarded.data, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    assert guarded.running
