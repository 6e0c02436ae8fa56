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
def nap(until: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not until.exists() and time.monotonic() < end:
        time.sleep(0.1)


@flow(name="sleeper")
def sleeper(until: str, leave_child: bool = False) -> None:
    """Ends when a file exists."""
    if leave_child:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    while not Path(until).exists():
        nap(Path(until), 3.0)


@flow(name="glutton")
def glutton(portrait: str) -> None:
    """Write down what the process may use, and take more memory."""
    lines = [
        resource.getrlimit(resource.RLIMIT_DATA)[0],
        os.environ["OMP_NUM_THREADS"],
        Path.cwd(),
    ]
    Path(portrait).write_text("\n".join(map(str, lines)))
    taken = [bytearray(64 * 2**20) for _ in range(64)]
    raise AssertionError(f"took {len(taken)} pieces")
