"""Starts controllers as forks of a process that has imported their libraries: 0.1 s instead of 2 s.

Their drains and proxies are forks as well, see ``companion_forks.py``.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support import companion_forks
from tests.support.forks import ROOT, ForkedProcess, Forks, ask, serve


class ControllerForks:
    """The processes that controllers, and their companions, are forked from; started when needed."""

    def __init__(self, folder: Path) -> None:
        self._controllers = Forks("tests.support.controller_forks", folder)
        self._companions = Forks("tests.support.companion_forks", folder)

    def start(
        self,
        arguments: list[str],
        folder: Path,
        environment: dict[str, str],
        log: int,
        *,
        programs: bool = False,
    ) -> ForkedProcess:
        """Start one controller.

        Args:
            programs: its companions are programs of their own, as with users.
        """
        if not programs:
            environment = environment | {companion_forks.ADDRESS: self._companions.address()}
        request = {"arguments": arguments, "folder": str(folder), "environment": environment}
        return ask(self._controllers.address(), request, [log])

    def close(self) -> None:
        """End them; controllers that run go on."""
        self._controllers.close()
        self._companions.close()


def _serve() -> None:
    import mlflow.tracking  # noqa: F401 - what the controller's first call imports
    import pydantic.v1  # noqa: F401 - what FastAPI imports for the first call that it builds

    from tests.support import stub_controller  # noqa: F401
    from tests.support.prepared_controller import prepare

    prepare()
    serve(_run)


def _run(request: dict[str, Any], descriptors: list[int], ready: Callable[[], None]) -> int:
    """Be a controller."""
    from tests.support import stub_controller

    ready()
    os.chdir(request["folder"])
    (log,) = descriptors
    null = os.open(os.devnull, os.O_RDONLY)
    for descriptor, standard in ((null, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, standard)
    os.close(null)
    os.close(log)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["model-deployment", *request["arguments"]]
    sys.path.insert(0, str(ROOT))
    stub_controller.run()
    return 0


if __name__ == "__main__":
    _serve()
