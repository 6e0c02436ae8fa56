"""The starter that forks from a warm parent, and holds the ports of models there."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_deployment.domain import Endpoint, LaunchSpec
from model_deployment.options import EnvManager
from model_deployment.runtime import identity
from model_deployment.runtime.parents import Program
from model_deployment.runtime.starter import Environment, Started, surroundings
from model_deployment.runtime.warm import Refused, Unavailable, WarmParent

__all__ = ["ForkStarter", "Unavailable"]

_log = logging.getLogger(__name__)

#: How much sooner than the controller a model is ended when memory runs out.
_OOM_SCORE = 300
#: Seconds that a launch waits for the parent; it is started in the other way then.
_PATIENCE = 20.0
#: One thread for each pool of linear algebra, as in the parent: there are as many pools as models.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Terms:
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


class ForkStarter:
    """Implements :class:`~model_deployment.runtime.starter.Starter` with forks."""

    def __init__(self, terms: Terms, program: Program, lost: Callable[[], None]) -> None:
        """Of a warm parent; ``lost`` is called when that has ended unasked."""
        self._terms = terms
        self._held: set[Endpoint] = set()
        self._told_lost = lost
        self._parent = WarmParent(program, lost=self._lost)
        self._warming: asyncio.Task[None] | None = None
        self._noted = 0
        #: What a parent that is gone had held.
        self._missing: set[Endpoint] = set()
        self._regaining: asyncio.Task[None] | None = None

    def warm_up(self) -> "asyncio.Task[None]":
        """Have a parent soon: importing takes seconds, and the first launch would wait for them."""

        self._warming = asyncio.create_task(self._parent.connect())
        self._warming.add_done_callback(_no_matter)
        return self._warming

    @property
    def parent_pid(self) -> int:
        """The pid of the warm parent; 0 while there is none."""
        return int(self._parent.hello.get("pid", 0)) if self._parent.connected else 0

    async def hold(self, endpoint: Endpoint) -> bool:
        """Listen on an endpoint until it is released.

        Raises:
            Unavailable: there is no parent.
            OSError: somebody else listens there.
        """
        await self._connect()
        if endpoint in self._held:
            return True
        pids = await asyncio.to_thread(self._own, endpoint)
        try:
            await self._ask("hold", host=endpoint.host, port=endpoint.port, pids=pids)
        except OSError:
            if pids:  # its own launch listens there, whose socket cannot be had
                return False
            raise
        self._held.add(endpoint)
        return True

    def _own(self, endpoint: Endpoint) -> list[int]:
        """The processes of launches that serve an endpoint."""
        text = f"{endpoint.host}:{endpoint.port}"
        return [
            process.pid
            for _, process in identity.marked(self._terms.instance)
            if identity.variable(process.pid, identity.ENDPOINT) == text
        ]

    async def release(self, endpoint: Endpoint) -> None:
        """Do not listen there any more."""
        self._held.discard(endpoint)
        self._missing.discard(endpoint)
        with contextlib.suppress(Unavailable):
            if await self._parent.find():
                self._note_held()
                await self._ask("release", host=endpoint.host, port=endpoint.port)
                self._held.discard(endpoint)

    def holds(self, endpoint: Endpoint) -> bool:
        """Whether it is held."""
        return endpoint in self._held

    async def start(self, spec: LaunchSpec) -> Started:
        """See :class:`~model_deployment.runtime.starter.Starter`.

        Raises:
            Unavailable: there is no parent that can do it.
        """
        await self._connect()
        answer = await self._ask("start", **self._order(spec))
        self._held.add(spec.endpoint)
        return _Fork(self._parent, spec.launch_id, int(answer["pid"]))

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
            **surroundings(self._terms.instance, spec, self._terms.environment(EnvManager.LOCAL)),
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
        for task in (self._regaining, self._warming):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._parent.close()
        self._held.clear()

    async def _connect(self) -> None:
        if not self._parent.connected:
            warming = self._warming
            if warming is None or warming.done():
                warming = self.warm_up()
            try:
                async with asyncio.timeout(_PATIENCE):
                    await asyncio.shield(warming)
            except TimeoutError:
                raise Unavailable("the warm parent is still importing") from None
        self._note_held()

    def _note_held(self) -> None:
        """What a parent held when it was connected to."""
        if self._noted != self._parent.number:
            self._noted = self._parent.number
            held = self._parent.hello.get("held", ())
            self._held |= {Endpoint(host, port) for host, port in held}

    async def _ask(self, op: str, **more: Any) -> dict[str, Any]:
        try:
            return await self._parent.ask(op, **more)
        except Refused as error:
            raise Unavailable(f"the warm parent refused: {error}") from None

    def _lost(self) -> None:
        self._missing |= self._held
        self._held.clear()
        self._told_lost()
        if self._regaining is None or self._regaining.done():
            self._regaining = asyncio.create_task(self._regain())

    async def _regain(self) -> None:
        """Have another parent hold what the last one held, from the launches that live on."""
        while self._missing:
            endpoint = next(iter(self._missing))
            try:
                await self.hold(endpoint)
            except Unavailable:
                # Several that died one after the other: the next one has to wait.
                await asyncio.sleep(_AGAIN)
                continue
            except OSError as error:
                _log.warning("port %d is not held any more: %s", endpoint.port, error)
            self._missing.discard(endpoint)


def _no_matter(task: "asyncio.Task[None]") -> None:
    """Nobody may have waited for it; those who do are told."""
    if not task.cancelled():
        task.exception()


class _Fork:
    """Implements :class:`~model_deployment.runtime.starter.Started` with a child of the parent."""

    def __init__(self, parent: WarmParent, launch_id: str, pid: int) -> None:
        self._parent = parent
        self._launch_id = launch_id
        self._pid = pid
        self._number = parent.number

    @property
    def pid(self) -> int:
        return self._pid

    def running(self) -> bool | None:
        return None

    async def code(self) -> int | None:
        return await self._parent.exit_of(self._launch_id, self._pid, self._number)

    async def destroy(self) -> None:
        with contextlib.suppress(Unavailable, Refused):
            await self._parent.ask("kill", launch_id=self._launch_id)
            await self._parent.exit_of(self._launch_id, self._pid, self._number)

    def forget(self) -> None:
        return


def _own_oom_score() -> int:
    return int(Path("/proc/self/oom_score_adj").read_text())
