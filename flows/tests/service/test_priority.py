"""The place of a run behind everything else on the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import os, sys
from pathlib import Path
from model_deployment_flows.service.options import Priority
from model_deployment_flows.service.run_process import step_back
step_back(Priority(sys.argv[1]))
group = Path("/proc/self/autogroup")
nice = os.getpriority(os.PRIO_PROCESS, 0)
print(os.sched_getscheduler(0), nice, Path("/proc/self/oom_score_adj").read_text().strip())
print(group.read_text().split()[-1] if group.exists() else nice)
"""


@pytest.mark.parametrize(
    ("priority", "policy", "nice"),
    [("idle", os.SCHED_IDLE, 19), ("low", os.SCHED_OTHER, 10), ("normal", os.SCHED_OTHER, 0)],
)
def test_run_steps_back_within_its_session_and_with_it(
    priority: str, policy: int, nice: int, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", _PROGRAM, priority]
    said = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=True, start_new_session=True
    )
    assert said.stdout.split() == [str(policy), str(nice), "1000", str(nice)]
