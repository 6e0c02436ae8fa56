"""Times in the output of processes: whatever ends a process, what it wrote is there."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from model_deployment.runtime.log_lines import untimed
from model_deployment.worker import timed_output

STARTUP = Path(timed_output.__file__).parent / "startup"
PROGRAM = """
import logging, os, signal, sys
print("one\\ntwo")
sys.stdout.write("par"); sys.stdout.write("tial\\n")
sys.stdout.buffer.write(b"bytes\\n")
logging.warning("%s", "careful")
print("half a surrogate: \\ud800")
os.write(1, b"C\\n")
print("last")
os.kill(os.getpid(), signal.SIGKILL)
"""
WRITTEN = [
    "one",
    "two",
    "partial",
    "bytes",
    "WARNING:root:careful",
    "half a surrogate: \\ud800",
    "C",
]


def run(program: str, log: Path, output: int, **more: str) -> int:
    """Run it as a launch runs, and return its exit status."""
    return subprocess.run(
        [sys.executable, "-c", program],
        stdout=output,
        stderr=subprocess.STDOUT,
        env={"PYTHONPATH": os.pathsep.join([str(STARTUP), *more.values()]), timed_output.LOG: str(log)},
        check=False,
    ).returncode  # fmt: skip


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "launch.log"


def write_to(log: Path) -> int:
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def test_lines_have_times_and_none_is_lost(log: Path) -> None:
    assert run(PROGRAM, log, write_to(log)) == -9
    lines = log.read_text().splitlines()
    assert [untimed(line) for line in lines] == [*WRITTEN, "last"]
    form = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ")
    assert [form.match(line) is None for line in lines] == [text == "C" for text in WRITTEN] + [
        False
    ]


def test_a_program_whose_output_is_read_writes_no_times(log: Path) -> None:
    log.touch()
    command = [sys.executable, "-c", "print(1)"]
    environment = {"PYTHONPATH": str(STARTUP), timed_output.LOG: str(log)}
    assert subprocess.check_output(command, env=environment) == b"1\n"


def test_the_environments_own_module_is_imported_too(log: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('own')")
    program = "import sitecustomize, sys; print(sitecustomize.__file__)"
    assert run(program, log, write_to(log), own=str(tmp_path)) == 0
    lines = [untimed(line) for line in log.read_text().splitlines()]
    assert lines == ["own", str(tmp_path / "sitecustomize.py")]


def test_a_full_disk_fails_no_print() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    file = timed_output.TimedFile(full)
    assert file.write(b"x\n") == 2
    os.close(full)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        file.write(b"y\n")
