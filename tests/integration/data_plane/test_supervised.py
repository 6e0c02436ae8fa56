"""entrypoint.sh as the first process of a container: it keeps a controller alive."""

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.data_plane import proxies
from tests.support.harness import ROOT, Controller, Controllers
from tests.support.marked_callers import MarkedCallers
from tests.support.waiting import until_sync

#: Becomes the script, as a process that orphans go to, like process 1 of a container: see prctl(2).
AS_PROCESS_1 = """
import ctypes, os, sys
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def supervised(controllers: Controllers, tmp_path: Path) -> Controller:
    """Not started yet."""
    program = tmp_path / "bin" / "model-deployment"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.support.stub_controller "$@"\n')
    program.chmod(0o755)
    controller = controllers(PROXIES=2, forks=None)
    controller.program = [sys.executable, "-c", AS_PROCESS_1, str(ROOT / "entrypoint.sh")]
    path = f"{program.parent}:{os.environ['PATH']}"
    controller.variables |= {"SUPERVISE": "true", "PATH": path}
    return controller


def test_predictions_go_on_while_the_controller_is_killed(supervised: Controller) -> None:
    supervised.up()
    supervised.deploy("stub-1")
    serving = proxies(supervised)
    with MarkedCallers(supervised.port, "stub-1") as callers:
        killed = controller_of(supervised)
        killed.kill()
        killed.wait(10)
        callers.more(100)
        until_sync(lambda: supervised.logged().count("(open it in a browser") == 2, timeout=60)
        supervised.wait_ready()
        callers.more(100)
    assert callers.failed() == []
    assert callers.wrong == []
    assert proxies(supervised) == serving
    # What the killed controller left is reaped: its parent is the script by now.
    orphan = serving[0].pid
    os.kill(orphan, signal.SIGKILL)
    until_sync(lambda: not psutil.pid_exists(orphan), what="the proxy to be reaped")
    supervised.wait_ready()
    assert supervised.terminate() == 0
    assert supervised.leftovers() == []


def test_settings_that_cannot_work_are_said_once(supervised: Controller) -> None:
    supervised.start(PORTS="none")
    assert supervised.wait() == 2
    assert supervised.logged().count("cannot use MODEL_DEPLOYMENT_PORTS") == 1


def controller_of(supervised: Controller) -> psutil.Process:
    """The child of the script that is a controller; the other children were left by one."""
    children = psutil.Process(supervised.pid).children()
    [found] = [one for one in children if "tests.support.stub_controller" in one.cmdline()]
    return found
