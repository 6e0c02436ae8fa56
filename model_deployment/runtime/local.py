"""The runtime of this machine: starts launches in one of two ways, and finds all of them by identity.

``mlflow models serve`` and forks of the warm parent carry the same marker, so everything but their start
is the same: polling, stopping, listing, adopting.
"""

import asyncio
import contextlib
import signal
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import psutil

from model_deployment.core.domain import LOST, Address, Exit, Handle, LaunchSpec
from model_deployment.core.measures import Memory, WorkerCounts
from model_deployment.core.options import EnvManager, Options
from model_deployment.environments.environment import Environment
from model_deployment.runtime import identity, sockets
from model_deployment.runtime.base import THREADS, AddEvent, OnExit
from model_deployment.runtime.control_groups import ControlGroups, limits_of
from model_deployment.runtime.end_watch import EndWatch
from model_deployment.runtime.exit_reasons import of_status
from model_deployment.runtime.launch_marks import marks_of
from model_deployment.runtime.launch_memory import LaunchMemory
from model_deployment.runtime.logs import LaunchLogs
from model_deployment.runtime.model_environments import ModelEnvironments
from model_deployment.runtime.parent_connection import ParentUnavailable
from model_deployment.runtime.parents import DIGEST, Parents
from model_deployment.runtime.starter import LaunchProcess, Starter
from model_deployment.runtime.suspended import SuspensionDetector
from model_deployment.runtime.worker_counts import worker_counts

#: Model servers listen here and nowhere else, if nothing else is said.
HOST = "127.0.0.1"

_NO_CONTAINERS = "this controller starts no containers"


class LocalRuntime:
    """Implements :class:`~model_deployment.runtime.base.Runtime` with local processes."""

    def __init__(
        self,
        *,
        instance: str,
        serve: Starter,
        logs: LaunchLogs,
        parents: Parents | None = None,
        environments: ModelEnvironments | None = None,
        host: str = HOST,
        on_exit: OnExit = lambda: None,
        add_event: AddEvent = lambda key, text: None,
    ) -> None:
        """For the launches of one instance.

        Args:
            serve: starts ``mlflow models serve``.
            logs: where the starters have launches write.
            parents: start forks of warm parents; without them, ``serve`` starts all launches.
            environments: builds those of models that have one of their own; without it, ``serve`` sees to
                them at each start.
            host: address of this machine that launches listen on.
            on_exit: called when a launch has probably ended.
            add_event: adds a line to the events of a deployment.
        """
        self._instance = instance
        self._serve = serve
        self._logs = logs
        self._parents = parents
        self._environments = environments
        self._host = host
        self._memory = LaunchMemory(instance)
        self._on_exit = on_exit
        self._add_event = add_event
        self._groups = ControlGroups(instance)
        self._boot = identity.boot_id()
        self._children: dict[str, LaunchProcess] = {}
        self._ends = EndWatch(on_exit)
        self._stopping: set[str] = set()
        self._suspensions = SuspensionDetector()

    async def obstacle(self, options: Options) -> str:
        if options.contained:
            return _NO_CONTAINERS
        limits = limits_of(options)
        if limits and (why := await asyncio.to_thread(self._groups.obstacle, limits)):
            return why
        if self._environments is None or options.env_manager is EnvManager.LOCAL:
            return ""
        return self._environments.obstacle(options.env_manager)

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
        if options.env_manager is not EnvManager.LOCAL:
            if self._environments is None or not model_path:
                return False
            forks = self._parents is not None and options.forks
            return self._environments.warming(options, Path(model_path), forks=forks)
        own = self._parents.own if self._parents is not None else None
        return own is not None and options.forks and own.warming()

    def warming_reason(self, options: Options, model_path: str = "") -> str:
        if self._environments is not None and options.env_manager is not EnvManager.LOCAL:
            return self._environments.waits_for(options, Path(model_path))
        return "the warm parent, which is importing"

    async def release(self, port: int) -> None:
        if self._parents is not None:
            await self._parents.release(Address(self._host, port))

    def holds(self, port: int) -> bool:
        return self._parents is not None and self._parents.holds(Address(self._host, port))

    async def start(self, spec: LaunchSpec) -> Handle:
        if spec.options.contained:  # never outside of one
            raise OSError(_NO_CONTAINERS)
        built = None
        if self._environments is not None and spec.options.env_manager is not EnvManager.LOCAL:
            built = self._environments.take(spec.key, spec.options, Path(spec.model_path))
        spec = await asyncio.to_thread(self._groups.limit, spec, self._add_event)
        child = await self._start_process(spec, built)
        self._children[spec.launch_id] = child
        try:
            # It was there a moment ago, and no pid is reused so soon.
            leader = identity.read_process(child.pid)
            started = leader.started if leader else 0
            environment = identity.environment(child.pid) or b""  # empty within execve(2)
            marks = {THREADS: spec.threads, **marks_of(environment)}
            if built:
                marks[DIGEST] = built.digest
            handle = self._handle(
                spec.launch_id, spec.address, child.pid, started, child.method, marks
            )
            self._watch(handle)
        except BaseException:
            # The caller gives the port of a launch that was not started to the next one.
            self._forget(spec.launch_id)
            await child.destroy()
            raise
        return handle

    async def _start_process(self, spec: LaunchSpec, built: Environment | None) -> LaunchProcess:
        if self._parents is not None and spec.options.forks:
            try:
                return await self._parents.start(spec, built)
            except ParentUnavailable as error:
                whose = "warm parent of its environment" if built else "warm parent"
                self._add_event(
                    spec.key,
                    f"started with 'mlflow models serve', because the {whose} cannot be used: {error}",
                )
        await self.release(spec.address.port)
        return await self._serve.start(spec, built)

    async def poll(self, handle: Handle) -> Exit | None:
        if handle.ref.get("boot") != self._boot:
            return LOST
        pid, started = _leader(handle)
        self._watch(handle)
        if self._ends.lives(handle.launch_id) or identity.is_running(pid, started):
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
        elif self._parents is not None:  # an earlier controller may have had it forked
            code = self._parents.seen(handle.launch_id, pid)
        stopped = handle.launch_id in self._stopping
        self._forget(handle.launch_id)
        gone = LOST if code is None else of_status(code)
        return await asyncio.to_thread(self._groups.end, handle.launch_id, gone, stopped=stopped)

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
        if leader.zombie and self._ends.lives(handle.launch_id):
            # Its descriptor waits for its last thread, which may go on.
            self._ends.ended(handle.launch_id)
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
        marks = marks_of(environment)
        return self._handle(launch_id, address, leader.pid, leader.started, method, marks)

    def _handle(
        self,
        launch_id: str,
        address: Address,
        pid: int,
        started: int,
        method: str,
        marks: Mapping[str, str | int],
    ) -> Handle:
        ref = {"boot": self._boot, "pid": pid, "started": started, "method": method}
        return Handle(launch_id, address, {**ref, **marks})

    async def find(self, launch_id: str, options: Options) -> Handle | None:
        return next((one for one in await self.list() if one.launch_id == launch_id), None)

    async def memory(self, handles: Sequence[Handle]) -> Mapping[str, Memory]:
        forks = self._parents is not None
        return await asyncio.to_thread(self._memory.measure, handles, forks=forks)

    def workers(self, handle: Handle) -> WorkerCounts | None:
        return worker_counts(handle)

    def identity(self, handle: Handle) -> Mapping[str, str | int]:
        pid, _ = _leader(handle)
        counted = {THREADS: int(handle.ref[THREADS])} if THREADS in handle.ref else {}
        return {"pid": pid, **counted} if pid > 0 else {}

    async def update_log(self, launch_id: str) -> None:
        return

    async def tail(self, launch_id: str, lines: int) -> str:
        return await asyncio.to_thread(self._logs.tail, launch_id, lines)

    async def tidy(self, keep: Iterable[str]) -> None:
        kept = {*keep}
        await asyncio.to_thread(self._logs.tidy, kept)
        await asyncio.to_thread(self._groups.tidy, kept)

    async def close(self) -> None:
        self._ends.close()
        for child in self._children.values():
            child.forget()
        self._children.clear()
        if self._parents is not None:
            await self._parents.close()
        if self._environments is not None:
            await asyncio.to_thread(self._environments.close)

    def _watch(self, handle: Handle) -> None:
        """Learn at once when the main process ends, and have its parent live as long."""
        if self._ends.begin(handle.launch_id, *_leader(handle)) and self._parents is not None:
            self._parents.adopt(handle)

    def _forget(self, launch_id: str) -> None:
        self._ends.forget(launch_id)
        self._suspensions.forget(launch_id)
        if self._parents is not None:
            self._parents.forget(launch_id)
        self._children.pop(launch_id, None)
        self._stopping.discard(launch_id)


def _leader(handle: Handle) -> tuple[int, int]:
    return int(handle.ref.get("pid", -1)), int(handle.ref.get("started", -1))


def _signal_all(found: Sequence[identity.Process], number: signal.Signals) -> None:
    for process in found:
        identity.send_signal(process, number)
