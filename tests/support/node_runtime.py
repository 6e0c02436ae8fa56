"""A runtime whose launches are on another machine: the calls go to its node over the network.

It shows what a runtime of many machines has to do: addresses are those of the node, handles hold nothing
that means something here, sync questions are answered from what the node said last, and a node that does
not answer is unknown, not gone.
"""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from model_deployment.core.domain import Address, Exit, Handle, LaunchSpec
from model_deployment.core.measures import Memory, WorkerCounts
from model_deployment.core.options import Options
from model_deployment.runtime.base import OnExit
from model_deployment.runtime.logs import LaunchLogs
from tests.support import node_wire

#: Where nodes are called.
PORT = 7000
#: Seconds until a node that does not answer counts as away, and for which it does then: nobody waits.
PATIENCE, AWAY = 2.0, 0.5


class NodeRuntime:
    """Implements :class:`~model_deployment.runtime.base.Runtime` with one node."""

    def __init__(
        self,
        node: Address,
        logs: LaunchLogs,
        *,
        on_exit: OnExit = lambda: None,
        python: str = sys.executable,
    ) -> None:
        """
        Args:
            node: where the node is called. Its models listen on the same host.
            logs: get copies of what launches have written.
            python: what the node starts models with.
        """
        self._node = node
        self._logs = logs
        self._on_exit = on_exit
        self._python = python
        self._connection: tuple[asyncio.StreamWriter, asyncio.Task[None]] | None = None
        self._connecting = asyncio.Lock()
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._away_until = 0.0
        self._suspended: dict[str, bool] = {}
        self._options: dict[str, Options] = {}

    # The connection

    async def _ask(self, name: str, *arguments: Any) -> Any:
        """
        Raises:
            OSError: the node does not answer, or the call failed there.
        """
        loop = asyncio.get_running_loop()
        if loop.time() < self._away_until:
            raise OSError(f"the node {self._node.host} does not answer")
        number, answer = next(self._numbers), loop.create_future()
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(PATIENCE):
                writer = await self._connect()
                writer.write(node_wire.encode((number, name, arguments)))
                succeeded, value = await answer
        except (TimeoutError, OSError) as error:
            self._away_until = loop.time() + AWAY
            self._hang_up()
            raise OSError(f"the node {self._node.host} does not answer: {error}") from None
        finally:
            self._waiting.pop(number, None)
        if not succeeded:
            raise OSError(*value)
        return value

    async def _connect(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._connection is None:
                reader, writer = await asyncio.open_connection(self._node.host, self._node.port)
                self._connection = writer, asyncio.create_task(self._read(reader))
            return self._connection[0]

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                number, value = await node_wire.receive(reader)
                if number == "exit":
                    self._on_exit()
                elif (answer := self._waiting.get(number)) and not answer.done():
                    answer.set_result(value)
        except (EOFError, OSError) as error:
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(OSError(str(error)))
            self._hang_up()

    def _hang_up(self) -> None:
        if self._connection is not None:
            writer, reading = self._connection
            self._connection = None
            writer.transport.abort()
            if reading is not asyncio.current_task():
                reading.cancel()

    def _outer(self, handle: Handle) -> Handle:
        """A handle as it is known here: only its node understands what is in it."""
        return replace(handle, ref={"node": self._node.host, "inner": dict(handle.ref)})

    def _inner(self, handle: Handle) -> Handle:
        return replace(handle, ref=handle.ref.get("inner", {}))

    # Before a launch

    async def obstacle(self, options: Options) -> str:
        return ""

    def needs_port(self, options: Options) -> bool:
        return True

    def address(self, launch_id: str, port: int | None) -> Address:
        assert port is not None
        return Address(self._node.host, port)

    def occupant(self, port: int) -> str | None:
        with socket.create_connection((self._node.host, self._node.port), PATIENCE) as connection:
            connection.sendall(node_wire.encode((0, "occupant", (port,))))
            with connection.makefile("rb") as file:
                _, (succeeded, value) = node_wire.receive_blocking(file)
        if not succeeded:
            raise OSError(*value)
        found: str | None = value
        return found

    def warming(self, options: Options, model_path: str = "") -> bool:
        return False

    def warming_reason(self, options: Options, model_path: str = "") -> str:
        return "nothing"

    def holds(self, port: int) -> bool:
        return False

    async def release(self, port: int) -> None:
        return

    # A launch

    async def start(self, spec: LaunchSpec) -> Handle:
        self._options[spec.launch_id] = spec.options
        return self._outer(await self._ask("start", spec, self._python))

    async def poll(self, handle: Handle) -> Exit | None:
        options = self._options.get(handle.launch_id, Options())
        try:
            ended, suspended = await self._ask("poll", self._inner(handle), options)
        except OSError:  # unknown, not gone
            return None
        self._suspended[handle.launch_id] = suspended
        found: Exit | None = ended
        return found

    async def stop(self, handle: Handle, *, force: bool) -> None:
        await self._ask("stop_launch", self._inner(handle), force)

    def suspended(self, handle: Handle, options: Options) -> bool:
        self._options[handle.launch_id] = options
        return self._suspended.get(handle.launch_id, False)

    async def listening(self, handle: Handle) -> bool:
        try:
            return bool(await self._ask("listening", self._inner(handle)))
        except OSError:
            return False

    async def list(self) -> list[Handle]:
        return [self._outer(one) for one in await self._ask("list")]

    async def find(self, launch_id: str, options: Options) -> Handle | None:
        found = await self._ask("find", launch_id, options)
        return self._outer(found) if found else None

    # What people want to know

    async def memory(self, handles: Sequence[Handle]) -> Mapping[str, Memory]:
        found: Mapping[str, Memory] = await self._ask("memory", [*map(self._inner, handles)])
        return found

    def workers(self, handle: Handle) -> WorkerCounts | None:
        return None

    def identity(self, handle: Handle) -> Mapping[str, str | int]:
        return {"node": str(handle.ref["node"])} if "node" in handle.ref else {}

    async def update_log(self, launch_id: str) -> None:
        path = self._logs.path(launch_id)
        mark = path.with_suffix(".log.fetched")
        known = int(mark.read_text()) if mark.exists() else 0
        new = await self._ask("read_log", launch_id, known)
        if new:
            # The mark last: after a kill in between, lines are there twice and none is missing.
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as f:
                f.write(new)
            mark.write_text(str(known + len(new)))

    async def tail(self, launch_id: str, lines: int) -> str:
        with contextlib.suppress(OSError):
            await self.update_log(launch_id)
        return await asyncio.to_thread(self._logs.tail, launch_id, lines)

    async def tidy(self, keep: Iterable[str]) -> None:
        kept = [*keep]
        await asyncio.to_thread(self._logs.tidy, kept)
        await self._ask("tidy", kept)

    async def close(self) -> None:
        self._hang_up()
