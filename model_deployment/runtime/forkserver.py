"""The starter that forks from a warm parent, and has the parent hold the ports of models."""

import asyncio
import contextlib
import logging
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_deployment.core.domain import Address, LaunchSpec
from model_deployment.core.options import EnvManager
from model_deployment.environments.environment import Environment
from model_deployment.runtime import identity
from model_deployment.runtime import parent_lifecycle as lifecycle
from model_deployment.runtime.parent_client import ParentClient
from model_deployment.runtime.parent_connection import ParentRefused, ParentUnavailable, ParentUnfit
from model_deployment.runtime.parent_lifecycle import Action, Event, Ready, Starting
from model_deployment.runtime.parent_process import ParentProcess
from model_deployment.runtime.starter import LaunchProcess, ModelEnvironment, launch_environment

_log = logging.getLogger(__name__)

#: Added to the controller's own ``oom_score_adj``: when memory runs out, models are killed before it.
_OOM_SCORE = 300
#: Seconds that the processes of a launch which is given up may take to end.
_KILL_TIMEOUT = 2.0
#: Seconds that a parent without launches may take to end.
_END_TIMEOUT = 2.0
_NO_GROUP = -1


@dataclass(frozen=True)
class ForkSettings:
    """How models are forked."""

    instance: str
    logs: Path
    work: Path
    environment: ModelEnvironment
    #: In seconds.
    request_timeout: float
    #: A program that forks run in place of a model's server, for tests.
    program: str = ""
    #: The environment of the parent; None for that of this program.
    built: Environment | None = None


class ForkStarter:
    """Starts forks of one parent; all of them run in its environment.

    One task at a time connects to a parent and gives it the ports to hold;
    :mod:`~model_deployment.runtime.parent_lifecycle` decides when.
    """

    def __init__(
        self, settings: ForkSettings, process: ParentProcess, changed: Callable[[], None]
    ) -> None:
        """``changed`` is called when a parent is ready or lost, and when an attempt to have one failed."""
        self._settings = settings
        self._changed = changed
        self._client = ParentClient(process, lost=lambda: self._apply(Event.LOST))
        self._state: lifecycle.ParentState = lifecycle.Absent()
        self._connecting: asyncio.Task[None] | None = None
        self._patience = lifecycle.PATIENCE_WHEN_BUILT if settings.built else lifecycle.PATIENCE
        #: Why no parent can ever run in this environment; empty as long as that is not known.
        self.unfit = ""
        #: What the parent holds; without one, what the next one is to hold.
        self._held: set[Address] = set()
        #: What the parent still has to release.
        self._released: set[Address] = set()

    @property
    def parent_pid(self) -> int:
        """The pid of the warm parent; 0 while none is ready."""
        return int(self._client.hello["pid"]) if isinstance(self._state, Ready) else 0

    @property
    def is_ready(self) -> bool:
        """Whether a parent is connected."""
        return isinstance(self._state, Ready)

    @property
    def is_holding(self) -> bool:
        """Whether ports are held, by this parent or for the next one."""
        return bool(self._held)

    def warming(self) -> bool:
        """Whether a launch has to wait for a parent; where there is none, one is started."""
        self._apply(Event.WANTED)
        return lifecycle.launches_wait(self._state, time.monotonic(), self._patience)

    def _apply(self, event: lifecycle.ParentEvent) -> None:
        self._state, actions = lifecycle.next_state(self._state, event, time.monotonic())
        if Action.CONNECT in actions and (self._connecting is None or self._connecting.done()):
            self._connecting = asyncio.create_task(self._connect(), name="warm parent")
        if Action.NOTIFY in actions:
            self._changed()

    async def _connect(self) -> None:
        while isinstance(self._state, Starting):
            await asyncio.sleep(self._state.due - time.monotonic())
            try:
                await self._client.connect()
                await self._hand_over()
            except Exception as error:  # a parent of another version may answer anything
                self.unfit = str(error) if isinstance(error, ParentUnfit) else ""
                _log.warning("%s; models are started with 'mlflow models serve' for now", error)
                self._apply(lifecycle.Failed(str(error), await self._holds_missing()))
            else:
                self._apply(Event.CONNECTED)

    async def _hand_over(self) -> None:
        """Have the parent hold what the last one held, and what forks serve."""
        held = {Address(host, port) for host, port in self._client.hello.get("held", ())}
        served = await asyncio.to_thread(self._served)
        for address in (served.keys() | self._held) - held:
            try:
                await self.hold(address, served.get(address, ()))
            except OSError as error:
                # Such as a system that lets no process copy another one's socket, see socket_copy.py.
                self._held.discard(address)
                text = (
                    "cannot keep port %d reserved: %s. If its model ends, it may get another port"
                )
                _log.warning(text, address.port, error)
        self._held |= held
        await self._release()
        if self._client.connection is None:
            raise ParentUnavailable("the warm parent is gone")

    async def _holds_missing(self) -> bool:
        try:
            return bool(self._held) or bool(await asyncio.to_thread(self._served))
        except OSError:  # nothing could be seen, so nothing may be concluded from absence
            return True

    def _served(self) -> Mapping[Address, list[int]]:
        """The addresses that forks of this environment serve, and the processes of each."""
        found: dict[Address, list[int]] = {}
        built = self._settings.built.digest if self._settings.built else ""
        for _, process in identity.launched_processes(self._settings.instance):
            environment = identity.environment(process.pid) or b""
            of = identity.variable(environment, identity.ENVIRONMENT) or ""
            if of == built and identity.variable(environment, identity.METHOD) == identity.FORK:
                host, port = identity.address(environment)
                if port:
                    found.setdefault(Address(host, port), []).append(process.pid)
        return found

    async def ready(self) -> None:
        """Wait for a parent that is starting.

        Raises:
            ParentUnavailable: there is none within the time that a launch may wait.
        """
        self._apply(Event.WANTED)
        if isinstance(self._state, Starting) and self._connecting is not None:
            left = lifecycle.waits_until(self._state, self._patience) - time.monotonic()
            await asyncio.wait({self._connecting}, timeout=left)
        if not isinstance(self._state, Ready):
            why = self._state.why if isinstance(self._state, Starting | lifecycle.Resting) else ""
            raise ParentUnavailable(why or "the warm parent is still importing")

    async def hold(self, address: Address, pids: Iterable[int] = ()) -> None:
        """Listen on an address until it is released.

        Args:
            pids: processes of a launch that may listen there already, whose socket is copied.

        Raises:
            ParentUnavailable: there is no parent.
            OSError: another process listens there.
        """
        await self._ask("hold", host=address.host, port=address.port, pids=[*pids])
        self._held.add(address)

    async def release(self, address: Address) -> None:
        """Stop listening there. Idempotent."""
        self._held.discard(address)
        self._released.add(address)
        if isinstance(self._state, Ready):
            with contextlib.suppress(ParentUnavailable):
                await self._release()

    async def _release(self) -> None:
        """Have the parent release what was released since it was asked last."""
        while self._released:
            address = next(iter(self._released))
            self._held.discard(address)
            await self._ask("release", host=address.host, port=address.port)
            self._released.discard(address)

    def holds(self, address: Address) -> bool:
        return isinstance(self._state, Ready) and address in self._held

    async def start(self, spec: LaunchSpec) -> LaunchProcess:
        """Fork a launch; after an error nothing of it is left.

        Raises:
            ParentUnavailable: there is no parent that can do it.
            OSError: the system lets it start no process.
        """
        await self.ready()
        try:
            answer = await self._ask("start", **self._order(spec))
        except ParentUnavailable:
            # It may have forked and died, or hung, before it said so.
            await self._kill_all(spec.launch_id)
            raise
        self._held.add(spec.address)
        return _ForkedProcess(self._client, spec.launch_id, int(answer["pid"]))

    async def _kill_all(self, launch_id: str) -> None:
        """Leave no process of a launch."""
        end = time.monotonic() + _KILL_TIMEOUT
        while time.monotonic() < end:
            found = await asyncio.to_thread(
                identity.members, self._settings.instance, launch_id, _NO_GROUP
            )
            if not found:
                return
            for process in found:
                identity.send_signal(process, signal.SIGKILL)
            await asyncio.sleep(0.02)

    def _order(self, spec: LaunchSpec) -> dict[str, Any]:
        settings = self._settings
        timeout = max(1, round(settings.request_timeout))
        return {
            "launch_id": spec.launch_id,
            "host": spec.address.host,
            "port": spec.address.port,
            "model": spec.model_path,
            "log": str(settings.logs / f"{spec.launch_id}.log"),
            "workers": spec.options.workers,
            "control_groups": [*spec.control_groups],
            "environment": self._environment(spec, timeout),
            "title": f"mlflow models serve {spec.key}",
            "name": str(spec.key),
            "cwd": str(settings.work),
            "timeout": timeout,
            "oom_score_adj": int(Path("/proc/self/oom_score_adj").read_text()) + _OOM_SCORE,
            "program": settings.program,
        }

    def _environment(self, spec: LaunchSpec, timeout: int) -> Mapping[str, str]:
        settings = self._settings
        given = settings.environment(EnvManager.LOCAL)
        return {
            **launch_environment(settings.instance, spec, given, identity.FORK, settings.built),
            # What the command line of ``mlflow models serve`` gives to its server.
            "__pyfunc_model_path__": spec.model_path,
            "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": str(timeout),
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    def seen(self, launch_id: str, pid: int) -> int | None:
        """The exit status of a launch's process, if the parent reported it."""
        return self._client.seen(launch_id, pid)

    async def end(self) -> None:
        """Have the parent end, with the last of its launches, and hang up.

        Without launches it is gone when this returns.
        """
        connection = self._client.connection
        self._state = lifecycle.Absent()  # it is not replaced
        with contextlib.suppress(ParentUnavailable, OSError):
            await self._ask("end")
        end = time.monotonic() + _END_TIMEOUT
        while (peer := connection and connection.peer) and time.monotonic() < end:
            if not identity.is_running(peer.pid, peer.started):
                break
            await asyncio.sleep(0.02)
        await self.close()

    async def close(self) -> None:
        """Hang up; the parent goes on as long as it has launches."""
        await self._stop_connecting()
        await self._client.close()

    async def detach(self) -> "subprocess.Popen[bytes] | None":
        """The same; returns the parent for its end to be collected, if it is a child of this process."""
        await self._stop_connecting()
        return await self._client.detach()

    async def _stop_connecting(self) -> None:
        self._state = lifecycle.Absent()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)

    async def _ask(self, op: str, **more: Any) -> dict[str, Any]:
        try:
            return await self._client.ask(op, **more)
        except ParentRefused as error:
            raise ParentUnavailable(f"the warm parent refused: {error}") from None


class _ForkedProcess:
    """Implements :class:`~model_deployment.runtime.starter.LaunchProcess` with a child of the parent."""

    method = identity.FORK

    def __init__(self, client: ParentClient, launch_id: str, pid: int) -> None:
        self._client = client
        self._launch_id = launch_id
        self.pid = pid
        self._connection = client.connection

    async def exit_code(self) -> int | None:
        return await self._client.exit_of(self._launch_id, self.pid, self._connection)

    async def destroy(self) -> None:
        with contextlib.suppress(ParentUnavailable, ParentRefused):
            await self._client.ask("kill", launch_id=self._launch_id)
            await self.exit_code()

    def forget(self) -> None:
        return
