"""The starter that forks from a warm parent, and holds the ports of models there."""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_deployment.core.domain import Endpoint, LaunchSpec
from model_deployment.core.options import EnvManager
from model_deployment.runtime import identity
from model_deployment.runtime.parent_client import ParentClient, ParentRefused, ParentUnavailable
from model_deployment.runtime.parent_process import ParentProcess
from model_deployment.runtime.starter import Environment, Started, launch_environment

__all__ = ["ForkStarter", "ParentUnavailable"]

_log = logging.getLogger(__name__)

#: How much sooner than the controller a model is ended when memory runs out.
_OOM_SCORE = 300
#: Seconds that a launch waits for the parent; it is started in the other way then.
_PATIENCE = 20.0
#: And that the processes of one which is given up may take to end.
_TO_END = 2.0
_NO_GROUP = -1
#: One thread for each pool of linear algebra, as in the parent: there are as many pools as models.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class ForkSettings:
    """How models are started."""

    instance: str
    logs: Path
    work: Path
    environment: Environment
    request_timeout: float
    #: A program that forks run in place of a model's server, for tests.
    program: str = ""


#: Seconds between tries to have another parent hold what the last one held.
_AGAIN = 1.0
#: A parent that lived this long is followed by another one at once; one that did not, after a pause.
_STABLE = 60.0
_LONGEST_PAUSE = 10.0


class ForkStarter:
    """Implements :class:`~model_deployment.runtime.starter.Starter` with forks.

    One task at a time has a parent come: starts it, tells it which ports to hold, and tells the
    controller. Nobody else waits for it.
    """

    def __init__(
        self, terms: ForkSettings, program: ParentProcess, changed: Callable[[], None]
    ) -> None:
        """Of a warm parent; ``changed`` is called when one has come, or has ended unasked."""
        self._terms = terms
        self._changed = changed
        self._parent = ParentClient(program, lost=self._lost)
        self._held: set[Endpoint] = set()
        #: What a parent that is gone had held.
        self._missing: set[Endpoint] = set()
        #: What was released while there was none to tell.
        self._dropped: set[Endpoint] = set()
        self._coming: asyncio.Task[None] | None = None
        self._since = self._came = float("-inf")
        self._pause = 0.0

    def warming(self) -> bool:
        """Whether a parent is on its way, and not for too long; without one, one is started."""
        if self._parent.connected:
            return False
        coming = self._coming is not None and not self._coming.done()
        if not coming and not self._parent.resting:
            self._come()
            coming = True
        return coming and time.monotonic() - self._since < _PATIENCE

    def _come(self) -> None:
        self._since = time.monotonic()
        self._coming = asyncio.create_task(self._bring(), name="warm parent")
        self._coming.add_done_callback(_no_matter)

    async def _bring(self) -> None:
        """Have a parent, which holds the ports of all forks."""
        await asyncio.sleep(self._pause)
        while not self._parent.connected:
            try:
                await self._parent.connect()
                self._came = time.monotonic()
                await self._hand_over()
            except ParentUnavailable as error:
                self._changed()  # launches are started in the other way now
                if not self._missing and not await asyncio.to_thread(self._own):
                    raise
                _log.info("ports are not held for the time being: %s", error)
                await asyncio.sleep(_AGAIN)
        self._changed()

    async def _hand_over(self) -> None:
        """Have the parent hold what it has to: what the last one held, and what forks serve."""
        self._held = {Endpoint(host, port) for host, port in self._parent.hello.get("held", ())}
        for endpoint in self._dropped & self._held:
            await self._release(endpoint)
        self._dropped.clear()
        own = await asyncio.to_thread(self._own)
        for endpoint in (own.keys() | self._missing) - self._held:
            try:
                await self.hold(endpoint, own.get(endpoint, ()))
            except OSError as error:
                # Such as a system that lets no process copy another one's socket, see takeover.py.
                _log.warning(
                    "port %d is not held: %s. Should its model end, it may get another port",
                    endpoint.port,
                    error,
                )
            self._missing.discard(endpoint)

    def _own(self) -> Mapping[Endpoint, Sequence[int]]:
        """The endpoints that forks serve, and the processes of each."""
        found: dict[Endpoint, list[int]] = {}
        for _, process in identity.marked_processes(self._terms.instance):
            if identity.environment_variable(process.pid, identity.METHOD) == identity.FORK:
                host, port = identity.endpoint_of(process.pid)
                if port:
                    found.setdefault(Endpoint(host, port), []).append(process.pid)
        return found

    @property
    def parent_pid(self) -> int:
        """The pid of the warm parent; 0 while there is none."""
        return self._parent.pid if self._parent.connected else 0

    async def ready(self) -> None:
        """Wait for a parent that is on its way.

        Raises:
            ParentUnavailable: there is none within the time that a launch may wait.
        """
        if self.warming() and self._coming is not None:
            left = self._since + _PATIENCE - time.monotonic()
            await asyncio.wait({self._coming}, timeout=left)
        if not self._parent.connected:
            raise ParentUnavailable(self._parent.why or "the warm parent is still importing")

    async def hold(self, endpoint: Endpoint, pids: Iterable[int] = ()) -> None:
        """Listen on an endpoint until it is released.

        Args:
            pids: processes of a launch that may listen there already, whose socket is copied.

        Raises:
            ParentUnavailable: there is no parent.
            OSError: somebody else listens there.
        """
        if endpoint not in self._held:
            await self._ask("hold", host=endpoint.host, port=endpoint.port, pids=[*pids])
            self._held.add(endpoint)

    async def release(self, endpoint: Endpoint) -> None:
        """Do not listen there any more."""
        self._held.discard(endpoint)
        self._missing.discard(endpoint)
        if not self._parent.connected:
            self._dropped.add(endpoint)
            return
        with contextlib.suppress(ParentUnavailable):
            await self._release(endpoint)

    async def _release(self, endpoint: Endpoint) -> None:
        await self._ask("release", host=endpoint.host, port=endpoint.port)
        self._held.discard(endpoint)

    def holds(self, endpoint: Endpoint) -> bool:
        """Whether it is held."""
        return endpoint in self._held

    async def start(self, spec: LaunchSpec) -> Started:
        """See :class:`~model_deployment.runtime.starter.Starter`.

        Raises:
            ParentUnavailable: there is no parent that can do it.
        """
        await self.ready()
        self._dropped.discard(spec.endpoint)
        try:
            answer = await self._ask("start", **self._order(spec))
        except ParentUnavailable:
            # It may have forked and died, or hung, before it said so.
            await self._end(spec.launch_id)
            raise
        self._held.add(spec.endpoint)
        return _Fork(self._parent, spec.launch_id, int(answer["pid"]))

    async def _end(self, launch_id: str) -> None:
        """Leave no process of a launch."""
        end = time.monotonic() + _TO_END
        while time.monotonic() < end:
            found = await asyncio.to_thread(
                identity.members, self._terms.instance, launch_id, _NO_GROUP
            )
            if not found:
                return
            for process in found:
                identity.send_signal(process, signal.SIGKILL)
            await asyncio.sleep(0.02)

    def _order(self, spec: LaunchSpec) -> dict[str, Any]:
        terms = self._terms
        timeout = max(1, round(terms.request_timeout))
        return {
            "launch_id": spec.launch_id,
            "host": spec.endpoint.host,
            "port": spec.endpoint.port,
            "model": spec.model_path,
            "log": str(terms.logs / f"{spec.launch_id}.log"),
            "workers": spec.options.workers,
            "environment": self._environment(spec, timeout),
            "title": f"mlflow models serve {spec.key}",
            "name": str(spec.key),
            "cwd": str(terms.work),
            "timeout": timeout,
            "oom_score_adj": _own_oom_score() + _OOM_SCORE,
            "program": terms.program,
        }

    def _environment(self, spec: LaunchSpec, timeout: int) -> Mapping[str, str]:
        return {
            **_ONE_THREAD,
            **launch_environment(
                self._terms.instance,
                spec,
                self._terms.environment(EnvManager.LOCAL),
                identity.FORK,
            ),
            # What the command line of ``mlflow models serve`` gives to its server.
            "__pyfunc_model_path__": spec.model_path,
            "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": str(timeout),
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    def seen(self, launch_id: str, pid: int) -> int | None:
        """The exit status of a launch's process, if the parent told it."""
        return self._parent.seen(launch_id, pid)

    async def close(self) -> None:
        """Let go of the parent, which goes on as long as it has launches."""
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.gather(self._coming, return_exceptions=True)
        await self._parent.close()
        self._held.clear()

    async def _ask(self, op: str, **more: Any) -> dict[str, Any]:
        try:
            return await self._parent.ask(op, **more)
        except ParentRefused as error:
            raise ParentUnavailable(f"the warm parent refused: {error}") from None

    def _lost(self) -> None:
        lived = time.monotonic() - self._came
        self._pause = 0.0 if lived >= _STABLE else min(_LONGEST_PAUSE, max(1.0, 2 * self._pause))
        self._missing |= self._held
        self._held.clear()
        self._changed()
        # Also where it held nothing: the next launch should not have to wait for the imports.
        if self._coming is None or self._coming.done():
            self._come()


def _no_matter(task: "asyncio.Task[None]") -> None:
    """Nobody may have waited for it; those who do are told."""
    if not task.cancelled():
        task.exception()


class _Fork:
    """Implements :class:`~model_deployment.runtime.starter.Started` with a child of the parent."""

    def __init__(self, parent: ParentClient, launch_id: str, pid: int) -> None:
        self._parent = parent
        self._launch_id = launch_id
        self._pid = pid
        self._number = parent.number

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def method(self) -> str:
        return identity.FORK

    def running(self) -> bool | None:
        return None

    async def code(self) -> int | None:
        return await self._parent.exit_of(self._launch_id, self._pid, self._number)

    async def destroy(self) -> None:
        with contextlib.suppress(ParentUnavailable, ParentRefused):
            await self._parent.ask("kill", launch_id=self._launch_id)
            await self._parent.exit_of(self._launch_id, self._pid, self._number)

    def forget(self) -> None:
        return


def _own_oom_score() -> int:
    return int(Path("/proc/self/oom_score_adj").read_text())
