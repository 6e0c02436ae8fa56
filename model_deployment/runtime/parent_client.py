"""Finds or starts the warm parent, sends it requests, and remembers the exits that it reports."""

import asyncio
import contextlib
import logging
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model_deployment.runtime import identity
from model_deployment.runtime.parent_connection import (
    Message,
    ParentConnection,
    ParentRefused,
    ParentUnavailable,
    ParentUnfit,
    open_streams,
)
from model_deployment.runtime.parent_process import ParentProcess
from model_deployment.worker import protocol

_log = logging.getLogger(__name__)

#: Seconds within which the parent reports an exit that was already observed.
_EXIT_REPORT = 2.0
#: Seconds that another parent may take to answer that it ends.
_END_TIMEOUT = 2.0
#: Seconds that a parent may take to be gone after SIGKILL.
_KILL_TIMEOUT = 2.0
#: Seconds between two looks whether a parent that was started listens; it imports for seconds.
_LOOK = 0.03
#: Exits that are remembered until somebody asks.
_REMEMBERED = 1000


class ParentClient:
    """One parent at a time. When to have one is decided by its caller."""

    def __init__(self, process: ParentProcess, *, lost: Callable[[], None]) -> None:
        """``lost`` is called when a connection ends that this object did not close."""
        self._settings = process
        self._lost = lost
        self._process: subprocess.Popen[bytes] | None = None
        self.connection: ParentConnection | None = None
        #: What the parent said of itself when it was connected.
        self.hello: Message = {}
        #: Held while a parent is being killed.
        self._killing = asyncio.Lock()
        self._exits: dict[tuple[str, int], int] = {}
        #: Replaced each time it is set: by an exit, and by the end of a connection.
        self._news = asyncio.Event()

    async def connect(self) -> None:
        """Have a parent, started if need be. One caller at a time.

        Raises:
            ParentUnfit: the interpreter cannot run one.
            ParentUnavailable: there is none to be had.
        """
        if self.connection is not None:
            return
        async with self._killing:
            pass  # until the last one is gone
        try:
            # Once: it says which packages are installed, whose files are read for that.
            name = self._settings.name
            self.connection = await self._open(name) or await self._start(name)
            hello = await self.ask("hello")
            if hello.get("protocol") != protocol.VERSION:
                raise ParentUnavailable(f"the warm parent speaks protocol {hello.get('protocol')}")
            if hello.get("code") != protocol.CODE:
                raise ParentUnavailable(
                    "the code of model_deployment changed while the controller runs; restart it"
                )
            await self._retire_others(name)
        except (OSError, ParentRefused, ValueError) as error:
            await self._hang_up()
            raise ParentUnavailable(f"cannot start the warm parent: {error}") from None
        except ParentUnavailable:
            await self._hang_up()
            raise
        for module, why in hello["refused"].items():
            _log.info("cannot preload %s: it %s", module, why)
        self.hello = hello

    async def _open(self, name: str) -> ParentConnection | None:
        streams = await open_streams(self._settings.folder, name)
        return ParentConnection(streams, self._on_event, self._on_close) if streams else None

    async def _start(self, name: str) -> ParentConnection:
        await self._reap()
        self._process = await asyncio.to_thread(self._settings.spawn, name)
        end = time.monotonic() + self._settings.start_timeout
        while True:
            # It may have ended because another controller's parent is there.
            status = self._process.poll()
            if (connection := await self._open(name)) is not None:
                return connection
            if status == protocol.UNFIT:
                raise ParentUnfit(await asyncio.to_thread(_last_line, self._settings.log))
            if status is not None:
                raise ParentUnavailable(
                    f"the warm parent ended with status {status}; {self._settings.log} says why"
                )
            if time.monotonic() > end:
                await self._reap()
                raise ParentUnavailable(
                    f"the warm parent was not ready within {self._settings.start_timeout:g} s"
                )
            await asyncio.sleep(_LOOK)

    async def _retire_others(self, name: str) -> None:
        """Parents of another version, or with other modules, end with the last of their launches."""
        folder = self._settings.folder
        for path in [*folder.glob("*.sock")]:
            if path.name == name:
                continue
            try:
                await self._retire(path)
            except (OSError, ParentUnavailable, ParentRefused) as error:
                _log.warning("cannot end the warm parent of %s: %s", path, error)

    async def _retire(self, path: Path) -> None:
        if (streams := await open_streams(path.parent, path.name)) is None:
            await asyncio.to_thread(path.unlink, missing_ok=True)  # the parent was killed
            return
        connection = ParentConnection(streams, lambda message: None, lambda connection: None)
        try:
            await connection.ask("end", _END_TIMEOUT)
        finally:
            connection.close()
            await connection.wait_closed()

    async def ask(self, op: str, **more: Any) -> Message:
        """The parent's answer to a request.

        Raises:
            ParentUnavailable: there is no parent, or it did not answer and was ended.
            OSError: what the system said to it.
            ParentRefused: it cannot do that.
        """
        if (connection := self.connection) is None:
            raise ParentUnavailable("the warm parent is gone")
        patience = self._settings.patience
        try:
            return await connection.ask(op, patience, **more)
        except TimeoutError:
            await self._kill(connection)
            raise ParentUnavailable(
                f"the warm parent did not answer within {patience:g} s"
            ) from None

    async def _kill(self, connection: ParentConnection) -> None:
        """End a parent that does not answer; its launches live on.

        It would hold the ports of models that it no longer starts. Another one is found or started only
        when it is gone: until then its socket still takes connections.
        """
        if connection is not self.connection:
            return  # another request has noticed it, too
        async with self._killing:
            if connection.peer is not None:
                identity.send_signal(connection.peer, signal.SIGKILL)
            connection.close()
            await self._reap()
            end = time.monotonic() + _KILL_TIMEOUT
            while (peer := connection.peer) and identity.is_running(peer.pid, peer.started):
                if time.monotonic() > end:
                    break
                await asyncio.sleep(0.01)

    def _on_event(self, message: Message) -> None:
        if message["event"] == "exit":
            self._exits[message["launch_id"], message["pid"]] = int(message["status"])
            while len(self._exits) > _REMEMBERED:
                self._exits.pop(next(iter(self._exits)))
            self._tell_waiters()

    def _on_close(self, connection: ParentConnection) -> None:
        if connection is self.connection:
            self.connection = None
            self._tell_waiters()
            self._lost()

    def _tell_waiters(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def seen(self, launch_id: str, pid: int) -> int | None:
        """The exit status of a launch's process, if the parent reported it."""
        return self._exits.get((launch_id, pid))

    async def exit_of(
        self, launch_id: str, pid: int, connection: ParentConnection | None
    ) -> int | None:
        """The exit status of a process that is gone, which its parent reports in a moment."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_REPORT):
                while (launch_id, pid) not in self._exits and connection is not None:
                    if connection is not self.connection:
                        break
                    await self._news.wait()
        return self.seen(launch_id, pid)

    async def _hang_up(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()
            await connection.wait_closed()

    async def _reap(self) -> None:
        """Leave no child that is not connected to."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.kill()
            await asyncio.to_thread(process.wait)

    async def close(self) -> None:
        """Hang up; the parent goes on as long as it has something to do."""
        if (process := await self.detach()) is not None:
            process.returncode = process.poll() or 0  # no ResourceWarning

    async def detach(self) -> "subprocess.Popen[bytes] | None":
        """The same; returns the parent for its end to be collected, if it is a child of this process."""
        await self._hang_up()
        process, self._process = self._process, None
        return process


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").rstrip().splitlines() if log.is_file() else []
    return lines[-1][:500] if lines else "the warm parent did not say why it ended"
