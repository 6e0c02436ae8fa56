"""Runs the child of reports as forks of a process that has imported its libraries: 1.4 s less for each.

``python -m tests.support.report_forks`` reads folders, one a line, and writes the exit code of each.
"""

import importlib
import os
import subprocess
import sys
from pathlib import Path

from model_deployment.degradation.__main__ import main

ROOT = Path(__file__).parents[2]


class ReportForks:
    """The process that children are forked from."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.report_forks"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run(self, folder: Path) -> int:
        """Make the report of a folder; the exit code, as of a process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(folder, file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=60)


def _serve() -> None:
    for name in ("build", "job", "data.collect"):
        importlib.import_module(f"model_deployment.degradation.{name}")
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = main(Path(line.rstrip("\n")))
            sys.stderr.flush()
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.write(1, f"{code}\n".encode())


if __name__ == "__main__":
    _serve()
