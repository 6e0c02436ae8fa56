"""The runtime that starts ``mlflow models serve``: one session of processes per launch.

What MLflow starts is a command line tool with a uvicorn server as its child, so a launch is never one
pid. It gets a session of its own, and every signal goes to all of it. Output goes to a file: a child
whose output is piped dies of the broken pipe when the controller is killed.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from model_deployment.domain import LOST, Endpoint, EnvManager, Exit, Handle, LaunchSpec
from model_deployment.runtime import identity
from model_deployment.runtime.base import OnExit

Command = Callable[[LaunchSpec], Sequence[str]]
Environment = Callable[[EnvManager], Mapping[str, str]]


def mlflow_command(request_timeout: float) -> Command:
    """The argument vector of ``mlflow models serve``, from a local path and checked values only.

    https://mlflow.org/docs/latest/api_reference/cli.html#mlflow-models-serve
    """

    def command(spec: LaunchSpec) -> list[str]:
        return [
            sys.executable, "-m", "mlflow", "models", "serve",
            "--model-uri", spec.model_path,
            "--host", spec.endpoint.host,
            "--port", str(spec.endpoint.port),
            "--workers", str(spec.options.workers),
            "--env-manager", str(spec.options.env_manager),
            "--timeout", str(max(1, round(request_timeout))),
        ]  # fmt: skip

    return command


class ServeRuntime:
    """Implements :class:`~model_deployment.runtime.base.Runtime` with local processes."""

    def __init__(
        self,
        *,
        instance: str,
        logs: Path,
        work: Path,
        command: Command,
        environment: Environment,
        on_exit: OnExit = lambda: None,
    ) -> None:
        self._instance = instance
        self._logs = logs
        self._work = work
        self._command = command
        self._environment = environment
        self._on_exit = on_exit
        self._boot = identity.boot_id()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._watched: dict[str, int] = {}
        self._asked: set[str] = set()

    async def start(self, spec: LaunchSpec) -> Handle:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        child = await asyncio.to_thread(self._spawn, spec)
        self._children[spec.launch_id] = child
        try:
            leader = identity.look(child.pid)  # not reaped yet, so this is surely our child
            started = leader.started if leader else 0
            handle = Handle(
                spec.launch_id,
                spec.endpoint,
                {"boot": self._boot, "pid": child.pid, "started": started},
            )
            self._watch(handle)
        except BaseException:
            # Whoever is told that nothing was started gives the port to the next launch.
            self._forget(spec.launch_id)
            await asyncio.to_thread(_end, child)
            raise
        return handle

    def _spawn(self, spec: LaunchSpec) -> subprocess.Popen[bytes]:
        environment = {
            **self._environment(spec.options.env_manager),
            identity.MARKER: f"{self._instance}/{spec.launch_id}",
            identity.ENDPOINT: f"{spec.endpoint.host}:{spec.endpoint.port}",
            "PYTHONUNBUFFERED": "1",
            # uvicorn reads its options from the environment too. Idle connections of the proxy's pool
            # must outlive its own idea of them, or a request meets a server that just hung up.
            "UVICORN_TIMEOUT_KEEP_ALIVE": "75",
            "UVICORN_ACCESS_LOG": "0",
        }
        # MLflow starts uvicorn by name: that must be the one beside this interpreter.
        own = str(Path(sys.executable).parent)
        environment["PATH"] = os.pathsep.join(
            filter(None, [own, environment.get("PATH", os.defpath)])
        )
        command = [*self._command(spec)]
        path = self._logs / f"{spec.launch_id}.log"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as log:
            log.write(f"$ {' '.join(command)}\n".encode(errors="replace"))
            log.flush()
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                # Not the model's folder: Python puts the working directory on its path, and a file in
                # the artifacts must not stand in for a library.
                cwd=self._work,
                start_new_session=True,
                close_fds=True,
            )

    async def poll(self, handle: Handle) -> Exit | None:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        if handle.ref.get("boot") != self._boot:
            return LOST
        pid, started = _leader(handle)
        self._watch(handle)
        child = self._children.get(handle.launch_id)
        if (child.poll() is None) if child else identity.is_running(pid, started):
            return None
        left = await asyncio.to_thread(identity.members, self._instance, handle.launch_id, pid)
        if left:
            # Workers live on when their master was killed, and would serve the port for ever. Those of
            # a launch that was asked to end may finish; their time is limited by the caller.
            if handle.launch_id not in self._asked:
                _signal_all(left, signal.SIGKILL)
                asyncio.get_running_loop().call_later(0.05, self._on_exit)
            return None
        self._forget(handle.launch_id)
        return _exit(child.returncode) if child else LOST

    async def stop(self, handle: Handle, *, force: bool) -> None:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        if handle.ref.get("boot", self._boot) != self._boot:
            return
        self._asked.add(handle.launch_id)
        number = signal.SIGKILL if force else signal.SIGTERM
        pid, _ = _leader(handle)
        await asyncio.to_thread(
            lambda: _signal_all(identity.members(self._instance, handle.launch_id, pid), number)
        )

    async def listening(self, handle: Handle) -> bool:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        return await asyncio.to_thread(self._listening, handle)

    def _listening(self, handle: Handle) -> bool:
        pid, _ = _leader(handle)
        address = (handle.endpoint.host, handle.endpoint.port)
        for member in identity.members(self._instance, handle.launch_id, pid):
            with contextlib.suppress(psutil.Error):
                for connection in psutil.Process(member.pid).net_connections("tcp"):
                    if (
                        connection.status == psutil.CONN_LISTEN
                        and tuple(connection.laddr) == address
                    ):
                        return True
        return False

    async def list(self) -> list[Handle]:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        launches: dict[str, list[identity.Process]] = {}
        for launch_id, process in await asyncio.to_thread(
            lambda: [*identity.marked(self._instance)]
        ):
            launches.setdefault(launch_id, []).append(process)
        return [self._handle_of(launch_id, found) for launch_id, found in launches.items()]

    def _handle_of(self, launch_id: str, found: Sequence[identity.Process]) -> Handle:
        # The main process leads its session; where it is gone, the eldest answers for the rest, and
        # the launch is finished off by the first poll.
        leaders = [process for process in found if process.pid == process.session == process.group]
        leader = min(leaders or found, key=lambda process: process.started)
        host, _, port = (identity.variable(leader.pid, identity.ENDPOINT) or "").rpartition(":")
        ref = {"boot": self._boot, "pid": leader.pid, "started": leader.started}
        return Handle(launch_id, Endpoint(host, int(port or 0)), ref)

    async def hold(self, endpoint: Endpoint) -> bool:
        """See :class:`~model_deployment.runtime.base.Runtime`. MLflow binds its port itself."""
        return False

    async def release(self, endpoint: Endpoint) -> None:
        """See :class:`~model_deployment.runtime.base.Runtime`."""

    def holds(self, endpoint: Endpoint) -> bool:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        return False

    async def close(self) -> None:
        """See :class:`~model_deployment.runtime.base.Runtime`."""
        loop = asyncio.get_running_loop()
        for descriptor in self._watched.values():
            if descriptor >= 0:
                loop.remove_reader(descriptor)
                os.close(descriptor)
        self._watched.clear()
        for child in self._children.values():
            child.returncode = child.poll() or 0  # no ResourceWarning for those that go on
        self._children.clear()

    def _watch(self, handle: Handle) -> None:
        """Be told at once when the main process ends; works for adopted ones too (pidfd_open(2))."""
        if handle.launch_id in self._watched:
            return
        pid, started = _leader(handle)
        descriptor = -1
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:  # gone already, or no descriptor to be had: the next poll sees it
            self._watched[handle.launch_id] = -1
            return
        try:
            running = identity.is_running(pid, started)
        except BaseException:
            os.close(descriptor)
            raise
        if not running:
            os.close(descriptor)
            self._watched[handle.launch_id] = -1
            return
        self._watched[handle.launch_id] = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self._ended, handle.launch_id)

    def _ended(self, launch_id: str) -> None:
        self._unwatch(launch_id)
        self._on_exit()

    def _unwatch(self, launch_id: str) -> None:
        descriptor = self._watched.get(launch_id, -1)
        if descriptor >= 0:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)
            self._watched[launch_id] = -1

    def _forget(self, launch_id: str) -> None:
        self._unwatch(launch_id)
        self._watched.pop(launch_id, None)
        self._children.pop(launch_id, None)
        self._asked.discard(launch_id)


def _leader(handle: Handle) -> tuple[int, int]:
    return int(handle.ref.get("pid", -1)), int(handle.ref.get("started", -1))


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a child that is not collected yet, with the group it leads: the number is surely its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _signal_all(found: Sequence[identity.Process], number: signal.Signals) -> None:
    for process in found:
        identity.send(process, number)


def _exit(code: int) -> Exit:
    if code >= 0:
        return Exit(f"the process exited with status {code}", code)
    with contextlib.suppress(ValueError):
        return Exit(f"the process was killed by {signal.Signals(-code).name}", code)
    return Exit(f"the process was killed by signal {-code}", code)
