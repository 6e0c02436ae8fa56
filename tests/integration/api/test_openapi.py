"""The API against its own description, asked what nobody would ask: schemathesis, as an operator."""

import subprocess
import sys
from pathlib import Path

from tests.support.harness import OPERATOR, Controller, Controllers

#: Reports take seconds each; they have tests of their own. The others are like others of endpoints, and of
#: projects. Devices send messages with their tokens only.
_NOT = (
    r"degradation_report|^/endpoints/.*/(pause|resume|rollback|rollouts)$"
    r"|^/projects/.*/(messages|resume|rotate)$"
)
#: No pattern can say which times and column names there are.
_UNCHECKED = "positive_data_acceptance"
#: The fields of these bodies are first those of a deploy, which all are tried; the rest has unit tests.
_CONFIGURATION = """
[phases.coverage]
unexpected-methods = ["DELETE", "PATCH"]
[[operations]]
include-name = ["PUT /endpoints/{name}", "PATCH /model/{name}"]
phases.coverage.enabled = false
"""


def test_every_answer_is_as_described_and_every_wrong_question_is_refused(
    controllers: Controllers,
) -> None:
    """Positive and negative, stateful, without and with the wrong password, thousands of calls."""
    guarded = controllers(MLFLOW_WEBHOOK_SECRET="s" * 16).with_users().up()
    _with_a_device(guarded)
    guarded.deploy("stub-1")
    (guarded.data / "schemathesis.toml").write_text(_CONFIGURATION)
    arguments = [
        "run", f"{guarded.url}/openapi.json", "--auth", ":".join(OPERATOR), "--max-examples", "3",
        "--exclude-path-regex", _NOT, "--exclude-checks", _UNCHECKED, "--request-timeout", "20",
        "--continue-on-failure", "--generation-deterministic", "--no-color",
    ]  # fmt: skip
    done = subprocess.run(
        [Path(sys.executable).with_name("schemathesis"), *arguments],
        cwd=guarded.data, capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    assert guarded.running


def _with_a_device(guarded: Controller) -> None:
    """What the examples of the description name."""
    guarded.post("/projects", 201, {"name": "warehouse", "models": ["stub"]})
    code = guarded.post("/warehouse/enrolments", 201, {"groups": ["canary"]})["code"]
    guarded.post("/warehouse/registerDevice", 201, {"code": code, "device": "camera-7"})
    for _ in range(4):
        guarded.post("/warehouse/setModel", 202, {"version": 1})
