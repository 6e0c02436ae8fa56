"""The warm parent: holds the sockets of models, forks their processes, and reports how these ended.

One thread and one loop over descriptors, not the event loop of a library: a fork must not continue what the
parent was in the middle of.
"""

import contextlib
import errno
import json
import os
import select
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from model_deployment.worker import child, protocol, socket_copy
from model_deployment.worker.connections import ControllerConnections
from model_deployment.worker.timed_output import stamp

#: Connections that wait for a process that is down, or not up yet.
BACKLOG = 2048
#: Seconds that a fork may take to set itself up.
_FORK = 10.0
#: Times ``linger`` that a parent waits for a controller while it holds sockets for one.
_HOLDING = 12

Address = tuple[str, int]


class Parent:
    """Answers controllers, one message at a time."""

    def __init__(self, listener: socket.socket, hello: dict[str, Any], linger: float) -> None:
        """``linger``: seconds without launches and controllers after which the parent ends."""
        self._hello = hello
        self._linger = linger
        self._selector = selectors.DefaultSelector()
        self._connections = ControllerConnections(listener, self._selector, self._answer)
        self._held: dict[Address, socket.socket] = {}
        self._children: dict[str, tuple[int, Address]] = {}
        self._ending = False
        self._needed_at = time.monotonic()
        self._operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "hello": self._on_hello,
            "hold": self._on_hold,
            "release": self._on_release,
            "start": self._on_start,
            "kill": self._on_kill,
            "end": self._on_end,
        }

    def run(self) -> None:
        """Serve until the parent is told to end, or is no longer needed."""
        wake, self._wake = socket.socketpair()
        for end in (wake, self._wake):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        self._selector.register(wake, selectors.EVENT_READ, self._on_signal)
        while not self._over():
            for key, events in self._selector.select(1.0):
                key.data(key.fileobj, events)

    def _over(self) -> bool:
        if self._children or (self._connections and not self._ending):
            self._needed_at = time.monotonic()
            return False
        patience = self._linger * (_HOLDING if self._held else 1)
        return self._ending or time.monotonic() - self._needed_at >= patience

    def _on_signal(self, wake: socket.socket, _: int) -> None:
        with contextlib.suppress(BlockingIOError):
            wake.recv(4096)
        self._reap()

    def _reap(self) -> None:
        names = {pid: launch_id for launch_id, (pid, _) in self._children.items()}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (launch_id := names.get(pid)) is None:
                continue
            _, address = self._children.pop(launch_id)
            if self._ending:
                self._release(address)
            code = os.waitstatus_to_exitcode(status)
            self._connections.send_to_all(
                {"event": "exit", "launch_id": launch_id, "pid": pid, "status": code}
            )

    def _answer(self, line: bytes) -> dict[str, Any]:
        number: Any = None
        try:
            message = protocol.decode(line)
            number = message.get("id")
            operation = self._operations.get(str(message.get("op")))
            if operation is None:
                raise ValueError(f"cannot do {str(message.get('op'))[:50]!r}: no such operation")
            return {"id": number, "ok": True, **operation(message)}
        except OSError as error:
            return {"id": number, "error": error.strerror or str(error), "errno": error.errno}
        except Exception as error:  # no request may end the parent
            return {"id": number, "error": f"{type(error).__name__}: {error}"[:500]}

    def _on_hello(self, _: dict[str, Any]) -> dict[str, Any]:
        launches = {launch_id: pid for launch_id, (pid, _) in self._children.items()}
        return {**self._hello, "launches": launches, "held": [[*address] for address in self._held]}

    def _on_hold(self, message: dict[str, Any]) -> dict[str, Any]:
        self._hold(_address(message), [int(pid) for pid in message.get("pids", ())])
        return {"held": True}

    def _hold(self, address: Address, pids: list[int]) -> socket.socket:
        if (found := self._held.get(address)) is not None:
            found.listen(BACKLOG)  # a process may have shut the socket down at its end
            return found
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            taken = socket_copy.listener(pids, address) if error.errno == errno.EADDRINUSE else None
            if taken is None:
                raise
            listener = taken  # its flags are those of the process that serves with it
        self._held[address] = listener
        return listener

    def _on_release(self, message: dict[str, Any]) -> dict[str, Any]:
        self._release(_address(message))
        return {}

    def _release(self, address: Address) -> None:
        if (listener := self._held.pop(address, None)) is not None:
            listener.close()

    def _on_end(self, _: dict[str, Any]) -> dict[str, Any]:
        self._ending = True
        used = {address for _, address in self._children.values()}
        for address in [*self._held]:
            if address not in used:
                self._release(address)
        return {}

    def _on_kill(self, message: dict[str, Any]) -> dict[str, Any]:
        self._reap()
        # The child is not reaped yet, so its pid cannot have been reused.
        if (found := self._children.get(str(message["launch_id"]))) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(found[0], signal.SIGKILL)
        return {}

    def _on_start(self, message: dict[str, Any]) -> dict[str, Any]:
        order = child.LaunchOrder.from_message(message)
        if self._ending:
            raise ValueError("the warm parent is about to exit")
        if order.launch_id in self._children:
            raise ValueError(f"launch {order.launch_id} is already running")
        before = order.address in self._held
        try:
            pid = self._fork(order, self._hold(order.address, []))
        except BaseException:
            if not before:
                self._release(order.address)
            raise
        self._children[order.launch_id] = (pid, order.address)
        return {"pid": pid}

    def _fork(self, order: child.LaunchOrder, listener: socket.socket) -> int:
        log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        reading, writing = os.pipe()
        try:
            header = (
                f"{stamp(time.time())}$ # a fork of the warm parent {os.getpid()}: {order.name}\n"
            )
            os.write(log, header.encode(errors="replace"))
            sys.stdout.flush()
            sys.stderr.flush()
            pid = os.fork()
            if pid == 0:
                self._become(order, listener, log, writing)
        finally:
            os.close(writing)
            os.close(log)
        try:
            said = _first_report(reading)
        finally:
            os.close(reading)
        if said != child.READY:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise OSError(errno.ECHILD, f"the fork failed: {said.decode(errors='replace')}")
        return pid

    def _become(
        self, order: child.LaunchOrder, listener: socket.socket, log: int, report: int
    ) -> NoReturn:
        """In the fork: detach from what is the parent's, so that nothing of it is closed, and serve."""
        number = listener.detach()
        self._connections.detach()
        for other in self._held.values():
            if other is not listener:
                other.detach()
        child.run(order, number, log, report)


def serve(folder: Path, name: str, hello: dict[str, Any], linger: float) -> None:
    """Be the warm parent of that name, unless there is one.

    The process works in ``folder``, since the address of a Unix socket has room for 108 bytes only.
    """
    os.chdir(folder)
    lock = os.open(f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    import fcntl

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    with contextlib.suppress(FileNotFoundError):
        Path(name).unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Under another name first: a controller that finds the file can connect.
    listener.bind(f"{name}.new")
    listener.listen(16)
    Path(f"{name}.new").rename(name)
    print(json.dumps({"ready": name, **hello}), flush=True)  # noqa: T201 - that is its log
    try:
        Parent(listener, hello, linger).run()
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()


def _address(message: dict[str, Any]) -> Address:
    return str(message["host"]), int(message["port"])


def _first_report(reading: int) -> bytes:
    """What a fork reports when it is set up, or why it cannot be."""
    ready, _, _ = select.select([reading], [], [], _FORK)
    return os.read(reading, 4096) if ready else b"it did not answer"
