"""The bench of a runtime whose launches are in another network namespace, with an address of its own."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from model_deployment.core.domain import Address
from tests.support.network_node import NetworkNode
from tests.support.node_runtime import PORT, NodeRuntime
from tests.support.runtime_bench import Bench

ROOT = Path(__file__).parents[2]


class NodeProgram:
    """The process in a namespace that starts launches there."""

    def __init__(self, network: NetworkNode, instance: str, folder: Path) -> None:
        self._network = network
        #: Marks its launches.
        self.instance = instance
        self.address = Address(network.host, PORT)
        self._arguments = [network.host, str(PORT), instance, str(folder)]
        folder.mkdir(exist_ok=True)
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.support.node_program", *self._arguments]
        self._process = subprocess.Popen(
            self._network.command(*command),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "listening\n"

    def kill(self) -> None:
        """End it as a crash does; what it started goes on."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


class NodeBench(Bench):
    """Each runtime object gets a node program of its own, as after a restart of both."""

    def __init__(self, network: NetworkNode, root: Path) -> None:
        self.network = network
        self._node: NodeProgram | None = None
        super().__init__(self._make_runtime, root)
        self.work = root / "node" / "work"

    def _make_runtime(self, bench: Bench, program: str = sys.executable) -> NodeRuntime:
        if self._node is not None:
            self._node.kill()
        self._node = NodeProgram(self.network, self.instance, self.root / "node")
        self._node.start()
        return NodeRuntime(
            self._node.address, self.launch_logs, on_exit=self.exited.set, python=program
        )

    @property
    def node(self) -> NodeProgram:
        assert self._node is not None
        return self._node

    def occupied(self, port: int) -> contextlib.AbstractContextManager[object]:
        return self._occupied(port)

    @contextlib.contextmanager
    def _occupied(self, port: int) -> Iterator[None]:
        program = (
            "import socket, sys; "
            f"s = socket.create_server(({self.network.host!r}, {port})); print('listening', flush=True); "
            "sys.stdin.read()"
        )
        with subprocess.Popen(
            self.network.command(sys.executable, "-c", program),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "listening\n"
            yield
            process.communicate()

    async def close(self) -> None:
        await super().close()
        self.node.kill()
