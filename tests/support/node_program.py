"""The program of a node: the local runtime of a machine, whose calls come over the network.

Started as ``python -m tests.support.node_program HOST PORT INSTANCE FOLDER``. What it starts outlives it.
It writes ``listening`` to standard output once it can be called.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from model_deployment.core.domain import Exit, Handle, LaunchSpec
from model_deployment.core.options import Options
from model_deployment.environments.environment import Environment
from model_deployment.runtime.local import LocalRuntime
from model_deployment.runtime.logs import LaunchLogs
from model_deployment.runtime.mlflow_serve import ServeStarter
from model_deployment.settings import Settings
from tests.support import node_wire
from tests.support.stubs import PROGRAM


class Node:
    """Carries out calls; every connection is told of exits."""

    def __init__(self, host: str, instance: str, folder: Path) -> None:
        self._logs = LaunchLogs(folder / "logs", 10 * 1024 * 1024)
        self._python = sys.executable
        self._writers: set[asyncio.StreamWriter] = set()
        work = folder / "work"
        for one in (self._logs.root, work):
            one.mkdir(exist_ok=True)
        self.runtime = LocalRuntime(
            instance=instance,
            serve=ServeStarter(
                instance=instance,
                logs=self._logs.root,
                work=work,
                command=self._command,
                environment=Settings().model_environment,
            ),
            logs=self._logs,
            host=host,
            on_exit=self._tell_of_exit,
        )

    def _command(self, spec: LaunchSpec, built: Environment | None) -> list[str]:
        return [
            self._python, str(PROGRAM),
            "--model-uri", spec.model_path,
            "--host", spec.address.host,
            "--port", str(spec.address.port),
        ]  # fmt: skip

    def _tell_of_exit(self) -> None:
        for writer in self._writers:
            writer.write(node_wire.encode(("exit", None)))

    async def start(self, spec: LaunchSpec, python: str) -> Handle:
        self._python = python
        return await self.runtime.start(spec)

    async def poll(self, handle: Handle, options: Options) -> tuple[Exit | None, bool]:
        """How it ended, and whether it is suspended."""
        ended = await self.runtime.poll(handle)
        return ended, ended is None and self.runtime.suspended(handle, options)

    async def stop_launch(self, handle: Handle, force: bool) -> None:
        await self.runtime.stop(handle, force=force)

    async def occupant(self, port: int) -> str | None:
        return await asyncio.to_thread(self.runtime.occupant, port)

    async def read_log(self, launch_id: str, offset: int) -> bytes:
        """What a launch has written from an offset on."""
        path = self._logs.path(launch_id)
        if not path.exists():
            return b""
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection, one call after another."""
        self._writers.add(writer)
        try:
            while True:
                number, name, arguments = await node_wire.receive(reader)
                writer.write(node_wire.encode((number, await self._call(name, arguments))))
                await writer.drain()
        except (EOFError, OSError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _call(self, name: str, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
        """Whether it succeeded, and what it returned or raised."""
        call = getattr(self, name, None) or getattr(self.runtime, name)
        try:
            return True, await call(*arguments)
        except OSError as error:
            return False, (error.errno, error.strerror or str(error))


async def main(host: str, port: str, instance: str, folder: str) -> None:
    node = Node(host, instance, Path(folder))
    server = await asyncio.start_server(node.serve, host, int(port))
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
