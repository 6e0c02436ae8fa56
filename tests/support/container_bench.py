"""The bench of a runtime whose launches are containers of a real engine."""

import contextlib
import http.client
import socket
from pathlib import Path

from model_deployment.core.domain import Handle
from model_deployment.core.options import Options
from model_deployment.http.unix_sockets import open_folder
from model_deployment.runtime.container import spec
from model_deployment.runtime.container.build import programs
from model_deployment.runtime.container.container_settings import ContainerSettings
from model_deployment.runtime.container.environment import digest_of, recipe
from model_deployment.runtime.container.runtime import ContainerRuntime
from tests.support import stubs
from tests.support.base_image import SMALL
from tests.support.engine import TestEngine
from tests.support.runtime_bench import Bench
from tests.support.waiting import until

#: Where the image of stubs has their program.
PROGRAM = "/stub/stub_model_server.py"
_BASE = "stub-base"
#: Of the folders of launches, in that of the bench.
FOLDER = "containers"


def stub_image(engine: TestEngine) -> None:
    """Have the engine have an image of the environment that stubs need: a Python, and nothing else."""
    digest = recipe(Path("/nonexistent"), _BASE, digest_of(programs)).digest
    folder = stubs.PROGRAM.parent
    with engine.client() as client:
        if client.images.list(filters={"label": f"{spec.ENVIRONMENT}={digest}"}):
            return
    files = {f"{spec.PACKAGE}/{name}": content for name, content in programs()}
    files |= {f"/stub/{name}": (folder / name).read_bytes() for name in _STUB}
    engine.make_base("stubs", SMALL, files, {spec.ENVIRONMENT: digest})


_STUB = ("stub_model_server.py", "stub_protocol.py")


class ContainerBench(Bench):
    """Launches are stubs in containers."""

    def __init__(
        self, engine: TestEngine, root: Path, *, program: str = PROGRAM, url: str = ""
    ) -> None:
        """
        Args:
            program: what launches run, as the container has it.
            url: what the runtime takes for the engine, if that is not the engine.
        """
        self.engine = engine
        self.url = url or engine.url
        self._program = program
        stub_image(engine)
        super().__init__(self._make_runtime, root)
        self.work = Path("/tmp")
        self.ports = False
        self.early = True
        self.remembers = True
        self.patience = 20.0
        self.not_there = "cannot pull the base image"

    def _make_runtime(self, bench: Bench, program: str = _BASE) -> ContainerRuntime:
        settings = ContainerSettings(
            instance=self.instance,
            root=self.root / FOLDER,
            url=self.url,
            base=program,
            request_timeout=60,
            network="none",
            program=self._program,
            environment=lambda: {"GRANTED": "to models", "PATH": "/of/the/controller"},
        )
        return ContainerRuntime(settings, self.launch_logs, on_exit=self.exited.set)

    async def prepare(self) -> None:
        await until(
            lambda: not self.runtime.warming(Options(), str(self.root)),
            timeout=60,
            what="the image",
        )

    async def replace_runtime(self, program: str = _BASE) -> None:
        await super().replace_runtime(program)
        await self.prepare()

    def ask(self, handle: Handle, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """The answer of a launch, on a connection of its own."""
        client = http.client.HTTPConnection("localhost")
        with contextlib.closing(client):
            client.sock = self.connect(handle)
            client.request(method, path, body, {"Content-Type": "application/json"})
            answer = client.getresponse()
            return answer.status, answer.read()

    def connect(self, handle: Handle) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(5)
        path = Path(handle.address.path)
        with open_folder(path.parent) as folder:
            connection.connect(f"{folder}/{path.name}")
        return connection

    def pids(self, handle: Handle) -> dict[int, str]:
        """Without the first process of the container, which only starts and reaps the others."""
        with self.engine.client() as client, contextlib.suppress(Exception):
            found = client.api.top(handle.ref["id"], "-eo pid,ppid,args")
            rows = [(int(row[0]), row[2]) for row in found["Processes"]]
            first = int(client.api.inspect_container(handle.ref["id"])["State"]["Pid"])
            return {pid: args for pid, args in rows if pid != first and "<defunct>" not in args}
        return {}

    def suspend(self, handle: Handle) -> None:
        with self.engine.client() as client:
            client.api.pause(handle.ref["id"])

    def resume(self, handle: Handle) -> None:
        with self.engine.client() as client:
            client.api.unpause(handle.ref["id"])

    async def close(self) -> None:
        await self.runtime.close()
        with self.engine.client() as client:
            for one in client.containers.list(all=True, filters={"label": spec.INSTANCE}):
                if one.labels[spec.INSTANCE].startswith(self.instance):
                    with contextlib.suppress(Exception):
                        one.remove(force=True)
