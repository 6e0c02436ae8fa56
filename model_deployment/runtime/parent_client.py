"""The connection to the warm parent: starts one where there is none, asks it, and hears what it tells."""

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from model_deployment.runtime import identity
from model_deployment.runtime.parent_process import ParentProcess, retire
from model_deployment.worker import protocol

_log = logging.getLogger(__name__)

#: Seconds until another try after a parent that could not be used, doubling.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
#: Seconds it may take to import everything.
START = 60.0
#: And to tell of an exit that was seen already.
_TOLD = 2.0
#: Exits that are remembered until somebody asks.
_REMEMBERED = 1000


class ParentUnavailable(Exception):
    """There is no warm parent, or it cannot be used; the message says why."""


class ParentRefused(Exception):
    """It answered that it cannot do this."""


class ParentClient:
    """One parent at a time, and another one when that is gone."""

    def __init__(self, program: ParentProcess, *, lost: Callable[[], None]) -> None:
        """Of one program; ``lost`` is called when a parent that was connected is gone."""
        self._program = program
        self._lost = lost
        self._writer: asyncio.StreamWriter | None = None
        self._reader: asyncio.Task[None] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self._exits: dict[tuple[str, int], int] = {}
        self._ended = asyncio.Condition()
        self._pause = _FIRST_PAUSE
        self._not_before = 0.0
        self._greeted = False
        #: Why there is none, after a try that failed.
        self.why = ""
        #: Who listens on the socket, also before it has said hello.
        self._peer: identity.Process | None = None
        #: Counts those that were connected; 0 while there is none.
        self.number = 0
        self._connections = itertools.count(1)
        #: What it said of itself when it was connected.
        self.hello: dict[str, Any] = {}

    @property
    def connected(self) -> bool:
        """Whether there is one now, which has said hello."""
        return self._greeted

    @property
    def resting(self) -> bool:
        """Whether none is tried to have for a while, after one that could not be used."""
        return time.monotonic() < self._not_before

    @property
    def pid(self) -> int:
        """Of the one that was connected last; 0 without one."""
        return self._peer.pid if self._peer is not None else 0

    async def ask(self, op: str, **more: Any) -> dict[str, Any]:
        """Its answer.

        Raises:
            ParentUnavailable: there is none, or it did not answer.
            OSError: what the system said to it.
            ParentRefused: it cannot do that.
        """
        answer = await self._ask(op, **more)
        self._pause = _FIRST_PAUSE
        return answer

    async def connect(self) -> None:
        """Have a parent, started if need be. One caller at a time.

        Raises:
            ParentUnavailable: there is none to be had, now or for a while.
        """
        if self._greeted:
            return
        if self.resting:
            raise ParentUnavailable(self.why)
        try:
            await self._connect_or_start()
        except (OSError, ParentRefused, ValueError) as error:
            self._give_up(f"cannot start the warm parent: {error}")
        except ParentUnavailable as error:
            self._give_up(str(error))

    def _give_up(self, why: str) -> None:
        self.why = why
        self._not_before = time.monotonic() + self._pause
        _log.warning("%s; models are started with 'mlflow models serve' for %g s", why, self._pause)
        self._pause = min(_LONGEST_PAUSE, 2 * self._pause)
        self._drop()
        raise ParentUnavailable(why) from None

    async def _connect_or_start(self) -> None:
        if not await self._open():
            await self._reap()
            self._process = await asyncio.to_thread(self._program.spawn)
            end = time.monotonic() + START
            while not await self._open():
                if (status := self._process.poll()) is not None and not await self._open():
                    raise ParentUnavailable(
                        f"the warm parent ended with status {status}; {self._program.log} tells why"
                    )
                if time.monotonic() > end:
                    await self._reap()
                    raise ParentUnavailable(f"the warm parent was not ready within {START:g} s")
                await asyncio.sleep(0.02)
        await self._greet()
        self._greeted = True
        await self._retire_others()

    async def _greet(self) -> None:
        self.hello = await self._ask("hello")
        if self.hello.get("protocol") != protocol.VERSION:
            raise ParentUnavailable(f"the warm parent speaks protocol {self.hello.get('protocol')}")
        for module, why in self.hello["refused"].items():
            _log.info("%s is not preloaded: it %s", module, why)

    async def _open(self) -> bool:
        """Connect to the socket, if there is one that is listened on."""
        try:
            folder = os.open(self._program.folder, os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return False
        try:
            # However long the path is: an address has room for 108 bytes.
            address = f"/proc/self/fd/{folder}/{self._program.name}"
            reader, self._writer = await asyncio.open_unix_connection(
                address, limit=protocol.LONGEST
            )
        except (FileNotFoundError, ConnectionError):
            return False
        finally:
            os.close(folder)
        own: socket.socket = self._writer.get_extra_info("socket")
        # Of the process that listens there: <linux/socket.h>, struct ucred, begins with its pid.
        credentials = own.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self._peer = identity.read_process(int.from_bytes(credentials[:4], sys.byteorder))
        self.number = next(self._connections)
        self._reader = asyncio.create_task(self._listen(reader, self._writer))
        return True

    async def _retire_others(self) -> None:
        """Parents of another version, or with other modules, end with the last of their launches."""
        for path in self._program.folder.glob("*.sock"):
            if path.name != self._program.name:
                try:
                    await asyncio.to_thread(retire, path)
                except ConnectionRefusedError:
                    path.unlink(missing_ok=True)  # it was killed
                except OSError as error:
                    _log.warning("cannot end the warm parent of %s: %s", path, error)

    async def _ask(self, op: str, **more: Any) -> dict[str, Any]:
        number = next(self._numbers)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            if self._writer is None:
                raise ParentUnavailable("the warm parent is gone")
            self._writer.write(protocol.encode({"op": op, "id": number, **more}))
            async with asyncio.timeout(self._program.patience):
                answer = await future
        except TimeoutError:
            # It would hold the ports of models that it does not start any more.
            await self._kill()
            raise ParentUnavailable(
                f"the warm parent did not answer within {self._program.patience:g} s"
            ) from None
        finally:
            self._waiting.pop(number, None)
        if "error" not in answer:
            return answer
        if answer.get("errno"):
            raise OSError(answer["errno"], answer["error"])
        raise ParentRefused(answer["error"])

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                self._hear(protocol.decode(line))
        except (OSError, ValueError) as error:
            _log.warning("cannot understand the warm parent: %s", error)
        finally:
            writer.close()
            if self._writer is writer:
                self._drop()
                self._lost()
                async with self._ended:
                    self._ended.notify_all()
                await self._collect()

    async def _collect(self) -> None:
        """Leave no zombie of a parent that has hung up."""
        if (process := self._process) is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(process.wait, 5)

    def _hear(self, message: dict[str, Any]) -> None:
        if message.get("event") == "exit":
            self._exits[message["launch_id"], message["pid"]] = int(message["status"])
            while len(self._exits) > _REMEMBERED:
                self._exits.pop(next(iter(self._exits)))
            self._notify()
        elif (future := self._waiting.get(message.get("id", 0))) is not None and not future.done():
            future.set_result(message)

    def _notify(self) -> None:
        async def notify() -> None:
            async with self._ended:
                self._ended.notify_all()

        self._telling = asyncio.ensure_future(notify())

    def seen(self, launch_id: str, pid: int) -> int | None:
        """The status of a launch that ended, if it was told."""
        return self._exits.get((launch_id, pid))

    async def exit_of(self, launch_id: str, pid: int, number: int) -> int | None:
        """The same of a launch of parent ``number`` whose process is gone: it is told in a moment."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TOLD), self._ended:
                await self._ended.wait_for(
                    lambda: (launch_id, pid) in self._exits or number != self.number
                )
        return self.seen(launch_id, pid)

    def _drop(self) -> None:
        writer, self._writer = self._writer, None
        self._greeted = False
        self.number = 0
        if writer is not None:
            writer.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ParentUnavailable("the warm parent is gone"))

    async def _kill(self) -> None:
        """End a parent that does not answer; its launches live on."""
        if self._peer is not None:
            identity.send_signal(self._peer, signal.SIGKILL)
        connected = self.connected
        self._drop()
        await self._reap()
        if connected:
            self._lost()

    async def _reap(self) -> None:
        """Have no child that is not connected to."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
        self._process = None

    async def close(self) -> None:
        """Hang up; the parent goes on as long as it has something to do."""
        self._drop()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._process is not None:
            self._process.returncode = self._process.poll() or 0  # no ResourceWarning
        self._process = None
