"""Starts processes as forks of one that has imported their libraries, for whoever asks at a Unix socket.

A request is a line of JSON with descriptors beside it. Each gets a monitor, which forks, tells the pid, and
later the exit status; as a parent does, it keeps the zombie until whoever asked has taken note of that.
"""

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from model_deployment.worker.process_setup import PADDING_ARGUMENT, PADDING_VARIABLE
from tests.support.waiting import until_sync

ROOT = Path(__file__).parents[2]
#: Bytes for the title and the environment that a fork shows in /proc.
_TITLE_ROOM, _ENVIRONMENT_ROOM = 512, 16 * 1024
_MOST_DESCRIPTORS = 8

#: What a fork does: it gets the request, its descriptors, and what it has to call once it is set up. The
#: exit status.
Run = Callable[[dict[str, Any], list[int], Callable[[], None]], int]


class ForkedProcess:
    """As much of a :class:`subprocess.Popen` as is used of one."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._answers = connection.makefile("rb", buffering=0)
        self.pid = int(self._answers.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, negative for a signal.

        Raises:
            subprocess.TimeoutExpired: it runs still.
        """
        if self.returncode is None:
            waiting = select.poll()
            waiting.register(self._answers, select.POLLIN)
            if not waiting.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self.returncode = int(self._answers.readline())
            self._connection.shutdown(socket.SHUT_WR)
            self._answers.read()  # ends when the zombie is gone
            self._answers.close()
            self._connection.close()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class Forks:
    """The process that others are forked from; started with the first one."""

    def __init__(self, module: str, folder: Path) -> None:
        """
        Args:
            module: a program that calls :func:`serve`.
            folder: for the socket.
        """
        self._module = module
        self._path = folder / f"{module.rpartition('.')[2]}.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def address(self) -> str:
        """Where it is asked, see :func:`ask`."""
        if self._process is None:
            inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
            padding = PADDING_ARGUMENT + "-" * _TITLE_ROOM
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._module, str(self._path), padding],
                cwd=ROOT,
                env={
                    **inherited,
                    "PYTHONUNBUFFERED": "1",
                    # Certificates that nobody needs take long to read.
                    "SSL_CERT_FILE": os.devnull,
                    PADDING_VARIABLE: "-" * _ENVIRONMENT_ROOM,
                },
                stdin=subprocess.PIPE,
            )
            until_sync(self._path.exists, timeout=60, what=f"{self._module}")
        return str(self._path)

    def close(self) -> None:
        """End it; its forks go on."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(10)


def ask(address: str, request: Mapping[str, Any], descriptors: Sequence[int]) -> ForkedProcess:
    """Have a process forked; it is set up when this returns."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    line = json.dumps(request).encode() + b"\n"
    sent = socket.send_fds(connection, [line], descriptors)
    connection.sendall(line[sent:])
    return ForkedProcess(connection)


def serve(run: Run) -> None:
    """Answer requests at the path in the arguments until standard input ends."""
    assert threading.active_count() == 1, threading.enumerate()
    # A collection in a fork would copy the pages of everything that has been imported.
    gc.freeze()
    path = sys.argv[1]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path + ".new")
        listener.listen(64)
        Path(path + ".new").rename(path)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the monitors
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C in a terminal is for whoever asks
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _monitor(connection, run)
            connection.close()


def _monitor(connection: socket.socket, run: Run) -> NoReturn:
    """Start one process, and tell of its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    data, descriptors, _, _ = socket.recv_fds(connection, 65536, _MOST_DESCRIPTORS)
    while not data.endswith(b"\n"):
        data += connection.recv(65536)
    waiting, ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        connection.close()
        os.close(waiting)
        _be(lambda: run(json.loads(data), descriptors, lambda: os.close(ready)))
    for descriptor in (ready, *descriptors):
        os.close(descriptor)
    os.read(waiting, 1)  # ends when it is closed
    with suppress(OSError):  # whoever asked has ended
        connection.sendall(b"%d\n" % pid)
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        killed = ended.si_code != os.CLD_EXITED
        connection.sendall(b"%d\n" % (-ended.si_status if killed else ended.si_status))
        connection.recv(1)
    os.waitpid(pid, 0)
    os._exit(0)


def _be(program: Callable[[], int]) -> NoReturn:
    """Run to its end, which is that of an interpreter, but for its memory."""
    code = 0
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = program()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
