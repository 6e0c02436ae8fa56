"""Starts controllers as forks of a process that has imported their libraries: 0.1 s instead of 2 s.

``python -m tests.support.controller_forks SOCKET`` imports, listens, and ends with its standard input.
Each connection asks for one controller: a line of JSON with its arguments, folder and environment, and
the descriptor of its log. The answers are the controller's pid, and its exit status once it has ended.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.waiting import until_sync

ROOT = Path(__file__).parents[2]


class ForkedProcess:
    """As much of a :class:`subprocess.Popen` as the tests use."""

    def __init__(self, connection: socket.socket) -> None:
        self._answers = connection.makefile("rb", buffering=0)
        connection.close()  # the file keeps it open
        self.pid = int(self._answers.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float) -> int:
        """The exit status, negative for a signal.

        Raises:
            subprocess.TimeoutExpired: it runs still.
        """
        if self.returncode is None:
            if not select.select([self._answers], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            self.returncode = int(self._answers.readline())
            self._answers.close()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class ControllerForks:
    """The process that controllers are forked from; started with the first one."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "controllers.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(
        self, arguments: list[str], folder: Path, environment: dict[str, str], log: int
    ) -> ForkedProcess:
        """Start one controller."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.controller_forks", str(self._path)],
                cwd=ROOT,
                env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
                stdin=subprocess.PIPE,
            )
            until_sync(self._path.exists, timeout=60, what="the parent of controllers")
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self._path))
        request = {"arguments": arguments, "folder": str(folder), "environment": environment}
        line = json.dumps(request).encode() + b"\n"
        sent = socket.send_fds(connection, [line], [log])
        connection.sendall(line[sent:])
        return ForkedProcess(connection)

    def close(self) -> None:
        """End it; controllers that run go on."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(10)


def _serve(path: str) -> None:
    import gc

    import mlflow.tracking  # noqa: F401 - what the controller's first call imports
    import pydantic.v1  # noqa: F401 - what FastAPI imports for the first call that it builds

    from tests.support import stub_controller  # noqa: F401
    from tests.support.prepared_controller import prepare

    prepare()
    assert threading.active_count() == 1, threading.enumerate()
    # A collection in a fork would copy the pages of everything that has been imported.
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path + ".new")
        listener.listen()
        Path(path + ".new").rename(path)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the monitors
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _monitor(connection)
            connection.close()


def _monitor(connection: socket.socket) -> None:
    """Start one controller, and tell of its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    data, (log,), _, _ = socket.recv_fds(connection, 65536, 1)
    while not data.endswith(b"\n"):
        data += connection.recv(65536)
    pid = os.fork()
    if pid == 0:
        connection.close()
        _run(json.loads(data), log)
    os.close(log)
    with suppress(OSError):  # whoever asked has ended
        connection.sendall(b"%d\n" % pid)
        _, status = os.waitpid(pid, 0)
        connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _run(request: dict[str, Any], log: int) -> None:
    """Be the controller, from here to its end."""
    from tests.support import stub_controller

    os.chdir(request["folder"])
    null = os.open(os.devnull, os.O_RDONLY)
    for descriptor, standard in ((null, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, standard)
    os.close(null)
    os.close(log)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["model-deployment", *request["arguments"]]
    sys.path.insert(0, str(ROOT))
    code = 0
    try:
        stub_controller.run()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    # The end of an interpreter, but for its memory.
    import atexit

    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1])
