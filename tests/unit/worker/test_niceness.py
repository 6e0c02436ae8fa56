"""A process that is to yield does so, whether the kernel counts processes or sessions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_deployment.worker.niceness import yield_to_others

GROUPS = Path("/proc/self/autogroup")
WAITS = "import sys; print('here', flush=True); sys.stdin.read()"


def started(*, session: bool) -> "subprocess.Popen[bytes]":
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", WAITS], stdin=pipe, stdout=pipe, start_new_session=session
    )


@pytest.mark.parametrize("session", [True, False])
def test_process_and_its_own_session_yield(session: bool) -> None:
    before = GROUPS.read_text() if GROUPS.exists() else ""
    with started(session=session) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            yield_to_others(7, child.pid)
            wanted = min(os.getpriority(os.PRIO_PROCESS, 0) + 7, 19)
            assert os.getpriority(os.PRIO_PROCESS, child.pid) == wanted
            if before and session:
                group = Path(f"/proc/{child.pid}/autogroup")
                assert group.read_text().split()[-1] == str(wanted)
            assert not before or GROUPS.read_text() == before, "that of the session above"
        finally:
            child.kill()


@pytest.mark.skipif(not GROUPS.exists(), reason="the kernel has no groups of sessions")
def test_sessions_that_begin_together_all_yield() -> None:
    # The kernel lets a process without this privilege (CAP_SYS_ADMIN) do so now and then only.
    unprivileged = (
        "import ctypes, os, sys; ctypes.CDLL(None).prctl(24, 21, 0, 0, 0);"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    says = (
        "from model_deployment.worker.niceness import yield_to_others; yield_to_others(7);"
        "print(open('/proc/self/autogroup').read().split()[-1])"
    )
    command = [sys.executable, "-ISc", unprivileged, "-c", says]
    children = [
        subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) for _ in range(4)
    ]
    said = [child.communicate(timeout=30)[0].strip() for child in children]
    wanted = min(os.getpriority(os.PRIO_PROCESS, 0) + 7, 19)
    assert said == [str(wanted).encode()] * 4
