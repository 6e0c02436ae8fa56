"""The bench of a contract test: one instance, and the runtime objects that serve it in turn."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import psutil

from model_deployment.core.domain import Handle, LaunchSpec
from model_deployment.core.names import ModelKey
from model_deployment.core.options import EnvManager, Options
from model_deployment.runtime.base import Runtime
from model_deployment.runtime.by_method import RuntimeByMethod
from model_deployment.runtime.forkserver import ForkSettings, ForkStarter
from model_deployment.runtime.local import LocalRuntime
from model_deployment.runtime.logs import LaunchLogs
from model_deployment.runtime.mlflow_serve import ServeStarter
from model_deployment.runtime.parent_process import ParentProcess
from model_deployment.runtime.parents import Parents
from model_deployment.settings import Settings
from model_deployment.worker import protocol
from tests.support import audit
from tests.support.ports import free_port
from tests.support.stubs import PROGRAM
from tests.support.waiting import until


class Bench:
    """What a test needs of an implementation, and of the machine below it."""

    def __init__(self, make: "Make", root: Path) -> None:
        self._make = make
        #: Whether the implementation holds the ports of its launches.
        self.holds = make in (make_forkserver, make_by_method)
        #: Whether sockets listen before the launch can answer.
        self.early = self.holds
        #: Whether launches listen on ports.
        self.ports = True
        #: Whether it knows how launches ended that no runtime object watched.
        self.remembers = False
        #: Seconds within which an end is noticed.
        self.patience = 1.0
        #: What the start of a program that is not there is refused with.
        self.not_there = "No such file"
        #: What it noted among the events of deployments.
        self.told: list[str] = []
        self.root = root
        self.logs = root / "logs"
        self.work = root / "work"
        self.logs.mkdir()
        self.work.mkdir()
        self.launch_logs = LaunchLogs(self.logs, 10 * 1024 * 1024)
        self.instance = f"contract-{os.getpid()}-{root.name}"
        #: Set by ``on_exit`` of whichever runtime is at work.
        self.exited = asyncio.Event()
        self._launches = 0
        self.runtime = make(self)

    def spec(self, **faults: Any) -> LaunchSpec:
        """Ask for a launch of a stub with these faults, on a port of its own."""
        self._launches += 1
        launch_id = f"launch{self._launches}"
        model = self.root / f"model-{self._launches}"
        model.mkdir()
        (model / "stub.json").write_text(json.dumps(faults))
        return LaunchSpec(
            launch_id=launch_id,
            key=ModelKey("stub", self._launches),
            model_path=str(model),
            address=self.runtime.address(launch_id, free_port()),
            options=Options(),
        )

    async def start(self, **faults: Any) -> Handle:
        """Start a stub, and do not wait for it."""
        return await self.runtime.start(self.spec(**faults))

    async def serve(self, **faults: Any) -> Handle:
        """Start a stub, and wait until it listens."""
        handle = await self.start(**faults)
        await until(lambda: self.runtime.listening(handle), what="the stub's port")
        # A port that is held for it can be connected to before it is there.
        await until(lambda: self.has_written(handle, "stub: listening"), what="the stub")
        return handle

    async def has_written(self, handle: Handle, text: str) -> bool:
        """Whether a launch has written this, and it can be read."""
        await self.runtime.update_log(handle.launch_id)
        return text in self.log(handle).read_text()

    async def prepare(self) -> None:
        """Have all that starts of launches need, where that takes time."""

    async def ready(self) -> None:
        """Wait for what starts launches."""
        await until(lambda: not self.runtime.warming(Options()), what="the warm parent")

    async def ended(self, handle: Handle) -> Any:
        """Poll until a launch has ended; how."""
        return await until(
            lambda: self.runtime.poll(handle), timeout=5 + self.patience, what="the end of a launch"
        )

    def connect(self, handle: Handle) -> socket.socket:
        """A connection to a launch."""
        return socket.create_connection((handle.address.host, handle.address.port), timeout=5)

    def suspend(self, handle: Handle) -> None:
        """Have a launch stand still, as an administrator does."""
        os.kill(self.main(handle), signal.SIGSTOP)

    def resume(self, handle: Handle) -> None:
        os.kill(self.main(handle), signal.SIGCONT)

    async def replace_runtime(self, program: str = sys.executable) -> None:
        """What a new controller does: another object, which knows nothing of the old one."""
        await self.runtime.close()
        self.runtime = self._make(self, program)

    @property
    def worker(self) -> ParentProcess:
        """The warm parent of this bench, which has imported nothing."""
        return ParentProcess(
            folder=self.root / "worker",
            log=self.logs / "worker.log",
            preload=(),
            environment=Settings().model_environment(EnvManager.LOCAL),
            linger=0.2,
        )

    async def close(self) -> None:
        """Leave nothing of it behind."""
        await self.runtime.close()
        self.end_worker()
        audit.kill_all(self.instance)

    def end_worker(self) -> None:
        """Have the warm parent end with the last of its launches, if there is one."""
        for path in self.worker.folder.glob("*.sock"):
            with contextlib.suppress(OSError):
                retire(path)

    def log(self, handle: Handle) -> Path:
        """Where a launch writes."""
        return self.logs / f"{handle.launch_id}.log"

    def occupied(self, port: int) -> contextlib.AbstractContextManager[object]:
        """A foreign program listens on a port where launches run."""
        return socket.create_server((self.runtime.address("", port).host, port))

    def main(self, handle: Handle) -> int:
        """The pid of the main process of a launch, as this machine shows it."""
        return min(self.pids(handle), key=lambda pid: psutil.Process(pid).create_time())

    def parent_and_child(self, handle: Handle) -> tuple[int, int]:
        """The two processes of a stub that was started with ``wrapper``."""
        child = [pid for pid, cmdline in self.pids(handle).items() if "--wrapped" in cmdline]
        assert len(child) == 1
        return self.main(handle), child[0]

    def pids(self, handle: Handle) -> dict[int, str]:
        """Living processes of a launch with their command lines, as the machine shows them."""
        return {
            process.pid: process.cmdline
            for process in audit.marked_processes(self.instance)
            if process.launch_id == handle.launch_id
        }


def retire(path: Path) -> None:
    """Have the parent that listens on a socket end with the last of its launches."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
            other.settimeout(2)
            other.connect(f"/proc/self/fd/{folder}/{path.name}")
            other.sendall(protocol.encode({"op": "end", "id": 1}))
            other.recv(4096)
    finally:
        os.close(folder)


class Make(Protocol):
    """Makes a runtime object for a bench. ``program`` is what it starts."""

    def __call__(self, bench: Bench, program: str = ...) -> Runtime: ...


def make_serve(bench: Bench, program: str = sys.executable) -> LocalRuntime:
    """The runtime of ``mlflow models serve``, with the stub in its place."""
    return LocalRuntime(
        instance=bench.instance,
        serve=make_serve_starter(bench, program),
        logs=bench.launch_logs,
        on_exit=bench.exited.set,
    )


def make_forkserver(bench: Bench, program: str = sys.executable) -> LocalRuntime:
    """The runtime that forks, with the stub in the place of a model's server."""
    terms = ForkSettings(
        instance=bench.instance,
        logs=bench.logs,
        work=bench.work,
        environment=Settings().model_environment,
        request_timeout=60,
        program=str(PROGRAM),
    )
    return LocalRuntime(
        instance=bench.instance,
        serve=make_serve_starter(bench, program),
        parents=Parents(
            ForkStarter(terms, replace(bench.worker, python=program), bench.exited.set)
        ),
        logs=bench.launch_logs,
        on_exit=bench.exited.set,
        add_event=lambda key, text: bench.told.append(text),
    )


def make_serve_starter(bench: Bench, program: str = sys.executable) -> ServeStarter:
    """Starts the stub as a program."""
    return ServeStarter(
        instance=bench.instance,
        logs=bench.logs,
        work=bench.work,
        command=lambda spec, built: [
            program, str(PROGRAM),
            "--model-uri", spec.model_path,
            "--host", spec.address.host,
            "--port", str(spec.address.port),
        ],
        environment=Settings().model_environment,
    )  # fmt: skip


def make_by_method(bench: Bench, program: str = sys.executable) -> RuntimeByMethod:
    """Forks beside another runtime, which gets none of the launches and must not see them."""
    other = LocalRuntime(
        instance=f"{bench.instance}-other",
        serve=make_serve_starter(bench, program),
        logs=bench.launch_logs,
        on_exit=bench.exited.set,
    )
    return RuntimeByMethod(make_forkserver(bench, program), other)


def open_files(pid: int | str = "self") -> set[str]:
    """What a process has open, by path or by the number of the socket or pipe."""
    folder = Path(f"/proc/{pid}/fd")
    return {str(entry.readlink()) for entry in folder.iterdir() if entry.is_symlink()}
