"""The API against its own description, asked what nobody would ask: schemathesis, as an operator."""

import subprocess
import sys
from pathlib import Path

from tests.support.harness import OPERATOR, Controllers

#: Reports take seconds each; they have tests of their own. The last ones are like others of endpoints.
_NOT = "degradation_report|/(pause|resume|rollback|rollouts)$"
#: No pattern can say which times and column names there are.
_UNCHECKED = "positive_data_acceptance"
#: The first fields of this body are those of a deploy, which all are tried; the rest has unit tests.
_CONFIGURATION = """
[phases.coverage]
unexpected-methods = ["DELETE", "PATCH"]
[[operations]]
include-name = "PUT /endpoints/{name}"
phases.coverage.enabled = false
"""


def test_every_answer_is_as_described_and_every_wrong_question_is_refused(
    controllers: Controllers,
) -> None:
    """Positive and negative, stateful, without and with the wrong password, a thousand calls."""
    guarded = controllers(MLFLOW_WEBHOOK_SECRET="s" * 16).with_users().up()
    guarded.deploy("stub-1")
    (guarded.data / "schemathesis.toml").write_text(_CONFIGURATION)
    arguments = [
        "run", f"{guarded.url}/openapi.json", "--auth", ":".join(OPERATOR), "--max-examples", "6",
        "--exclude-path-regex", _NOT, "--exclude-checks", _UNCHECKED, "--request-timeout", "20",
        "--continue-on-failure", "--generation-deterministic", "--no-color",
    ]  # fmt: skip
    done = subprocess.run(
        [Path(sys.executable).with_name("schemathesis"), *arguments],
        cwd=guarded.data, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    assert guarded.running
