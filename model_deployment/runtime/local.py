"""The runtime of this machine: starts launches in one of two ways, and finds all of them by identity.

``mlflow models serve`` and forks of the warm parent carry the same marker, so everything but their start
is the same: polling, stopping, listing, adopting.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence

import psutil

from model_deployment.core.domain import LOST, Address, Exit, Handle, LaunchSpec
from model_deployment.core.measures import Memory, WorkerCounts
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.runtime import identity, sockets
from model_deployment.runtime.base import OnExit
from model_deployment.runtime.exit_reasons import of_status
from model_deployment.runtime.forkserver import ForkStarter
from model_deployment.runtime.launch_memory import LaunchMemory
from model_deployment.runtime.logs import LaunchLogs
from model_deployment.runtime.parent_connection import ParentUnavailable
from model_deployment.runtime.starter import LaunchProcess, Starter
from model_deployment.runtime.suspended import SuspensionDetector
from model_deployment.runtime.worker_counts import worker_counts

#: Model servers listen here and nowhere else, if nothing else is said.
HOST = "127.0.0.1"
#: In the place of a pidfd, for a launch that need not or cannot be watched.
_NO_DESCRIPTOR = -1

_NO_CONTAINERS = "this controller starts no containers"

AddEvent = Callable[[ModelKey, str], None]


class LocalRuntime:
    """Implements :class:`~model_deployment.runtime.base.Runtime` with local processes."""

    def __init__(
        self,
        *,
        instance: str,
        serve: Starter,
        logs: LaunchLogs,
        forks: ForkStarter | None = None,
        host: str = HOST,
        on_exit: OnExit = lambda: None,
        add_event: AddEvent = lambda key, text: None,
    ) -> None:
        """For the launches of one instance.

        Args:
            serve: starts ``mlflow models serve``.
            logs: where the starters have launches write.
            forks: starts forks of a warm parent; without it, ``serve`` starts all launches.
            host: address of this machine that launches listen on.
            on_exit: called when a launch has probably ended.
            add_event: adds a line to the events of a deployment.
        """
        self._instance = instance
        self._serve = serve
        self._logs = logs
        self._forks = forks
        self._host = host
        self._memory = LaunchMemory(instance)
        self._on_exit = on_exit
        self._add_event = add_event
        self._boot = identity.boot_id()
        self._children: dict[str, LaunchProcess] = {}
        self._watched: dict[str, int] = {}
        self._stopping: set[str] = set()
        self._suspensions = SuspensionDetector()

    async def obstacle(self, options: Options) -> str:
        return _NO_CONTAINERS if options.contained else ""

    def needs_port(self, options: Options) -> bool:
        return True

    def address(self, launch_id: str, port: int | None) -> Address:
        """
        Raises:
            ValueError: there is no port.
        """
        if port is None:
            raise ValueError(f"cannot tell where launch {launch_id} listens: it has no port")
        return Address(self._host, port)

    def occupant(self, port: int) -> str | None:
        return sockets.holder(self._host, port)

    def warming(self, options: Options, model_path: str = "") -> bool:
        return self._forks is not None and options.forks and self._forks.warming()

    def warming_reason(self, options: Options, model_path: str = "") -> str:
        return "the warm parent, which is importing"

    async def release(self, port: int) -> None:
        if self._forks is not None:
            await self._forks.release(Address(self._host, port))

    def holds(self, port: int) -> bool:
        return self._forks is not None and self._forks.holds(Address(self._host, port))

    async def start(self, spec: LaunchSpec) -> Handle:
        child = await self._start_process(spec)
        self._children[spec.launch_id] = child
        try:
            # It was there a moment ago, and no pid is reused so soon.
            leader = identity.read_process(child.pid)
            started = leader.started if leader else 0
            handle = self._handle(spec.launch_id, spec.address, child.pid, started, child.method)
            self._watch(handle)
        except BaseException:
            # The caller gives the port of a launch that was not started to the next one.
            self._forget(spec.launch_id)
            await child.destroy()
            raise
        return handle

    async def _start_process(self, spec: LaunchSpec) -> LaunchProcess:
        if spec.options.contained:  # never outside of one
            raise OSError(_NO_CONTAINERS)
        if self._forks is not None and spec.options.forks:
            try:
                return await self._forks.start(spec)
            except ParentUnavailable as error:
                self._add_event(
                    spec.key,
                    f"started with 'mlflow models serve', because the warm parent cannot be used: {error}",
                )
        await self.release(spec.address.port)
        return await self._serve.start(spec)

    async def poll(self, handle: Handle) -> Exit | None:
        if handle.ref.get("boot") != self._boot:
            return LOST
        pid, started = _leader(handle)
        self._watch(handle)
        if self._is_watched(handle.launch_id) or identity.is_running(pid, started):
            return None
        left = await asyncio.to_thread(identity.members, self._instance, handle.launch_id, pid)
        if left:
            # Workers live on when their master was killed, and would go on serving the port. Those of a
            # launch that was asked to end may finish; the caller limits their time.
            if handle.launch_id not in self._stopping:
                _signal_all(left, signal.SIGKILL)
                asyncio.get_running_loop().call_later(0.05, self._on_exit)
            return None
        code = None
        if (child := self._children.get(handle.launch_id)) is not None:
            code = await child.exit_code()
        elif self._forks is not None:  # an earlier controller may have had it forked
            code = self._forks.seen(handle.launch_id, pid)
        self._forget(handle.launch_id)
        return LOST if code is None else of_status(code)

    async def stop(self, handle: Handle, *, force: bool) -> None:
        if handle.ref.get("boot", self._boot) != self._boot:
            return
        self._stopping.add(handle.launch_id)
        number = signal.SIGKILL if force else signal.SIGTERM
        await asyncio.to_thread(lambda: _signal_all(self._members(handle), number))

    def _members(self, handle: Handle) -> Sequence[identity.Process]:
        pid, started = _leader(handle)
        found = identity.members(self._instance, handle.launch_id, pid)
        if not found and identity.is_running(pid, started):
            # Within execve(2): the main process has no environment yet, and so no marker.
            found = [process for process in [identity.read_process(pid)] if process is not None]
        return found

    def suspended(self, handle: Handle, options: Options) -> bool:
        if handle.ref.get("boot") != self._boot:
            return False
        pid, started = _leader(handle)
        leader = identity.read_process(pid)
        if leader is None or leader.started != started:
            return False
        if leader.zombie and self._is_watched(handle.launch_id):
            # Its descriptor waits for its last thread, which may go on.
            self._ended(handle.launch_id)
        alone = handle.ref.get("method") == identity.FORK and options.workers == 1
        return self._suspensions.is_suspended(handle.launch_id, leader, alone=alone)

    async def listening(self, handle: Handle) -> bool:
        return await asyncio.to_thread(self._listening, handle)

    def _listening(self, handle: Handle) -> bool:
        address = (handle.address.host, handle.address.port)
        for member in self._members(handle):
            with contextlib.suppress(psutil.Error):
                found = psutil.Process(member.pid).net_connections("tcp")
                listening = (one.laddr for one in found if one.status == psutil.CONN_LISTEN)
                if any(tuple(one) == address for one in listening):
                    return True
        return False

    async def list(self) -> list[Handle]:
        launches: dict[str, list[identity.Process]] = {}
        marked = await asyncio.to_thread(lambda: [*identity.launched_processes(self._instance)])
        for launch_id, process in marked:
            launches.setdefault(launch_id, []).append(process)
        return [self._handle_of(launch_id, found) for launch_id, found in launches.items()]

    def _handle_of(self, launch_id: str, found: Sequence[identity.Process]) -> Handle:
        # The main process leads its session; where it is gone, the oldest process stands for the launch,
        # and the first poll ends the launch.
        leaders = [process for process in found if process.pid == process.session == process.group]
        leader = min(leaders or found, key=lambda process: process.started)
        environment = identity.environment(leader.pid) or b""
        method = identity.variable(environment, identity.METHOD) or ""
        address = Address(*identity.address(environment))
        return self._handle(launch_id, address, leader.pid, leader.started, method)

    def _handle(
        self, launch_id: str, address: Address, pid: int, started: int, method: str
    ) -> Handle:
        ref = {"boot": self._boot, "pid": pid, "started": started, "method": method}
        return Handle(launch_id, address, ref)

    async def find(self, launch_id: str, options: Options) -> Handle | None:
        return next((one for one in await self.list() if one.launch_id == launch_id), None)

    async def memory(self, handles: Sequence[Handle]) -> Mapping[str, Memory]:
        forks = self._forks is not None
        return await asyncio.to_thread(self._memory.measure, handles, forks=forks)

    def workers(self, handle: Handle) -> WorkerCounts | None:
        return worker_counts(handle)

    def identity(self, handle: Handle) -> Mapping[str, str | int]:
        pid, _ = _leader(handle)
        return {"pid": pid} if pid > 0 else {}

    async def update_log(self, launch_id: str) -> None:
        return

    async def tail(self, launch_id: str, lines: int) -> str:
        return await asyncio.to_thread(self._logs.tail, launch_id, lines)

    async def tidy(self, keep: Iterable[str]) -> None:
        await asyncio.to_thread(self._logs.tidy, keep)

    async def close(self) -> None:
        for launch_id in self._watched:
            self._unwatch(launch_id)
        self._watched.clear()
        for child in self._children.values():
            child.forget()
        self._children.clear()
        if self._forks is not None:
            await self._forks.close()

    def _watch(self, handle: Handle) -> None:
        """Learn at once when the main process ends, also of an adopted launch (pidfd_open(2))."""
        if handle.launch_id in self._watched:
            return
        pid, started = _leader(handle)
        descriptor, running = _NO_DESCRIPTOR, False
        with contextlib.suppress(OSError):  # gone already, or none left: the next poll finds out
            descriptor = os.pidfd_open(pid)
        try:
            running = descriptor != _NO_DESCRIPTOR and identity.is_running(pid, started)
        finally:
            if descriptor != _NO_DESCRIPTOR and not running:
                os.close(descriptor)
        self._watched[handle.launch_id] = descriptor if running else _NO_DESCRIPTOR
        if running:
            asyncio.get_running_loop().add_reader(descriptor, self._ended, handle.launch_id)

    def _is_watched(self, launch_id: str) -> bool:
        """Whether the main process lives: its end would have ended the watch."""
        return self._watched.get(launch_id, _NO_DESCRIPTOR) != _NO_DESCRIPTOR

    def _ended(self, launch_id: str) -> None:
        self._unwatch(launch_id)
        self._on_exit()

    def _unwatch(self, launch_id: str) -> None:
        descriptor = self._watched.get(launch_id, _NO_DESCRIPTOR)
        if descriptor != _NO_DESCRIPTOR:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)
            self._watched[launch_id] = _NO_DESCRIPTOR

    def _forget(self, launch_id: str) -> None:
        self._unwatch(launch_id)
        self._suspensions.forget(launch_id)
        self._watched.pop(launch_id, None)
        self._children.pop(launch_id, None)
        self._stopping.discard(launch_id)


def _leader(handle: Handle) -> tuple[int, int]:
    return int(handle.ref.get("pid", -1)), int(handle.ref.get("started", -1))


def _signal_all(found: Sequence[identity.Process], number: signal.Signals) -> None:
    for process in found:
        identity.send_signal(process, number)
