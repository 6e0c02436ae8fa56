"""Flows that last as long as a test needs, and tell what their process is like."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from prefect import flow, task


@task
def nap(seconds: float) -> None:
    time.sleep(seconds)


@flow(name="sleeper")
def sleeper(until: str, leave_child: bool = False) -> None:
    """Ends when a file exists."""
    if leave_child:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    while not Path(until).exists():
        nap(0.5)


@flow(name="self_portrait")
def self_portrait(file: str) -> None:
    """Write down what the process may use."""
    lines = [
        resource.getrlimit(resource.RLIMIT_DATA)[0],
        os.environ["OMP_NUM_THREADS"],
        Path.cwd(),
    ]
    Path(file).write_text("\n".join(map(str, lines)))


@flow(name="glutton")
def glutton() -> None:
    """Takes more memory than the project allows."""
    taken = [bytearray(64 * 2**20) for _ in range(64)]
    raise AssertionError(f"took {len(taken)} pieces")
