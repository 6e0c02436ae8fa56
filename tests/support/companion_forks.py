"""Starts drains and proxies as forks of a process that has imported their libraries, see ``forks.py``.

A fork shows in /proc what a program would: others know it by its environment.
"""

import fcntl
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, cast

from model_deployment.runtime import companions, identity
from model_deployment.worker import process_setup
from tests.support.forks import ROOT, ask, serve

#: The variable of a controller that has its companions forked: where to ask for them.
ADDRESS = "TEST_COMPANION_FORKS"
#: What is imported for each program. Its ``main`` is called.
_MODULES = {
    "model_deployment.proxy": "model_deployment.proxy.__main__",
    "model_deployment.recording.drain": "model_deployment.recording.drain",
}
#: No number of a descriptor that a companion is given.
_HIGH = 512


def start_program(
    module: str,
    stdin: int,
    output: int,
    environment: Mapping[str, str],
    pass_fds: Sequence[int] = (),
) -> "subprocess.Popen[bytes]":
    """In the place of :func:`companions.start_program`."""
    request = {"module": module, "environment": dict(environment), "numbers": [0, 1, *pass_fds]}
    process = ask(os.environ[ADDRESS], request, [stdin, output, *pass_fds])
    return cast("subprocess.Popen[bytes]", process)


def install() -> None:
    """Have this process, a controller, start its companions so if it was told to."""
    if ADDRESS in os.environ:
        companions.start_program = start_program


def _run(request: dict[str, Any], descriptors: list[int], ready: Callable[[], None]) -> int:
    """Be a companion."""
    process_setup.reset_signals()
    os.setsid()
    moved = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, _HIGH) for one in descriptors]
    for descriptor, number in zip(moved, request["numbers"], strict=True):
        os.dup2(descriptor, number)
    os.dup2(1, 2)
    process_setup.replace_environment(request["environment"], (identity.MARKER, companions.BUILD))
    process_setup.set_title(f"{sys.executable} -m {request['module']}", "python")
    process_setup.reseed()
    os.chdir(ROOT)
    ready()
    process_setup.close_all_but({2, *request["numbers"]})
    gc.enable()
    return import_module(_MODULES[request["module"]]).main() or 0


def _serve() -> None:
    import model_deployment.documents.embedded  # noqa: F401 - what a drain connects to

    for module in _MODULES.values():
        import_module(module)
    gc.disable()
    serve(_run)


if __name__ == "__main__":
    _serve()
