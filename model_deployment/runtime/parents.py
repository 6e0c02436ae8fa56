"""The warm parents: one of this program's own environment, and one of each built environment in use.

A parent of an environment is started for the first launch that wants it. It ends some seconds after the
last of its launches has ended, unless it holds a port for the next one.
"""

import asyncio
import contextlib
import logging
import subprocess
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_deployment.core.domain import Address, Handle, LaunchSpec
from model_deployment.environments.environment import Environment
from model_deployment.runtime import identity
from model_deployment.runtime.environment_views import ParentView
from model_deployment.runtime.forkserver import ForkStarter
from model_deployment.runtime.parent_connection import ParentUnavailable
from model_deployment.runtime.parent_memory import ParentMemory, memory_of
from model_deployment.runtime.parent_process import build_of
from model_deployment.runtime.starter import LaunchProcess
from model_deployment.worker.fitness import misfit

_log = logging.getLogger(__name__)

#: Seconds without a launch after which the parent of an environment ends.
GRACE = 10.0
#: Seconds between two looks at which parents are needed.
_EVERY = 2.0
#: In a handle's ``ref``: the digest of the environment. Launches of this program's own have none.
DIGEST = "environment"

#: Makes what forks in an environment, with a folder for the parent's sockets.
MakeStarter = Callable[[Environment, Path], ForkStarter]
#: A built environment by its digest; None where there is none.
FindEnvironment = Callable[[str], Environment | None]


@dataclass(frozen=True, slots=True)
class EnvironmentForks:
    """How forks in built environments are made."""

    #: Has a folder for each environment in use.
    root: Path
    #: Makes what forks in an environment.
    make: MakeStarter
    find: FindEnvironment


@dataclass(slots=True)
class _Used:
    """The parent of one environment."""

    starter: ForkStarter
    #: Of the environment that it was started in: another build at the same place has another.
    build: str
    #: When a launch last wanted it; monotonic seconds.
    wanted: float
    #: Launches that live.
    launches: set[str] = field(default_factory=set)


class Parents:
    """All methods are called in the event loop."""

    def __init__(
        self,
        own: ForkStarter | None,
        environments: EnvironmentForks | None = None,
        *,
        changed: Callable[[], None] = lambda: None,
        grace: float = GRACE,
    ) -> None:
        """Without any parent of an environment at first.

        Args:
            own: forks in this program's own environment; None where that is not wanted.
            environments: how forks in built environments are made; None where there are none.
            changed: called when launches that waited may go on.
            grace: seconds without a launch after which a parent ends.
        """
        self._own = own
        self._environments = environments
        self._changed = changed
        self._grace = grace
        self._used: dict[str, _Used] = {}
        #: Launches of environments that are gone, which still live.
        self._strays: dict[str, str] = {}
        self._own_launches: set[str] = set()
        #: Environments in which a parent turned out not to run: which build, and why.
        self._unfit: dict[str, tuple[str, str]] = {}
        self._memory = ParentMemory(environments.root / "memory.json" if environments else None)
        self._looking: asyncio.Task[None] | None = None
        #: Parents of earlier builds, which end with the last of their launches.
        self._left: list[subprocess.Popen[bytes]] = []
        #: Parents that are ending, by digest.
        self._ending: dict[str, asyncio.Task[None]] = {}

    @property
    def own(self) -> ForkStarter | None:
        """Of this program's own environment."""
        return self._own

    def of(self, built: Environment) -> ForkStarter:
        """What forks in an environment. Its parent is started, or found, with the first wish for it.

        Raises:
            ParentUnavailable: nothing forks in environments here.
        """
        if self._environments is None:
            raise ParentUnavailable("there is none")
        used = self._used.get(built.digest)
        build = build_of(built)
        # Without a build the folder is gone, and the parent goes on until the next one is there.
        if used is not None and build and used.build != build:
            # It was built anew: what the parent has imported is not what is there now.
            # The next one in that folder has it end with the last of its launches, and takes the ports.
            self._retire(built.digest, self._leave(used.starter))
            self._strays |= dict.fromkeys(used.launches, built.digest)
            used = None
        if used is None:
            folder = self._environments.root / built.digest
            starter = self._environments.make(built, folder)
            used = self._used[built.digest] = _Used(starter, build, time.monotonic())
            used.launches |= {id for id, of in self._strays.items() if of == built.digest}
            self._begin_to_look()
        used.wanted = time.monotonic()
        return used.starter

    def warming(self, built: Environment) -> bool:
        """Whether a launch has to wait for the parent of an environment, which is begun."""
        if built.digest in self._ending:
            return True  # two of one folder would get in each other's way
        return self.of(built).warming()

    def misfit(self, built: Environment) -> str:
        """Why no parent can ever run in an environment; empty if one can, as far as it is known."""
        if not built.serves:
            return "what our model server needs does not fit the model's requirements"
        if why := misfit(built.python_version, built.mlflow_version):
            return why
        used, build = self._used.get(built.digest), build_of(built)
        if used is not None and used.build == build and used.starter.unfit:
            self._unfit[built.digest] = build, used.starter.unfit
        found = self._unfit.get(built.digest)
        return found[1] if found is not None and found[0] == build else ""

    async def start(self, spec: LaunchSpec, built: Environment | None) -> LaunchProcess:
        """Fork a launch; after an error nothing of it is left.

        Args:
            built: the environment that it runs in; None for this program's own.

        Raises:
            ParentUnavailable: there is no parent that can do it.
            OSError: the system lets it start no process.
        """
        if built is not None and (why := self.misfit(built)):
            raise ParentUnavailable(why)
        starter = self._own if built is None else self.of(built)
        if starter is None:
            raise ParentUnavailable("there is none")
        # The launch before on that port may have run in another environment.
        await self.release(spec.address, but=starter)
        return await starter.start(spec)

    def adopt(self, handle: Handle) -> None:
        """Count a living launch, perhaps of an earlier controller, among those of its parent."""
        if handle.ref.get("method") != identity.FORK:
            return
        digest = str(handle.ref.get(DIGEST) or "")
        if not digest:
            self._own_launches.add(handle.launch_id)
            return
        used = self._used.get(digest)
        if used is None and self._environments is not None:
            # That parent may hold ports, and tells how its launches end.
            if (built := self._environments.find(digest)) is not None:
                self.warming(built)
            used = self._used.get(digest)
        if used is not None:
            used.launches.add(handle.launch_id)
        else:
            self._strays[handle.launch_id] = digest

    def forget(self, launch_id: str) -> None:
        """A launch has ended."""
        self._strays.pop(launch_id, None)
        self._own_launches.discard(launch_id)
        for used in self._used.values():
            if launch_id in used.launches:
                used.launches.remove(launch_id)
                used.wanted = time.monotonic()

    def _starters(self) -> list[ForkStarter]:
        own = [self._own] if self._own is not None else []
        return [*own, *(used.starter for used in self._used.values())]

    # Ports

    def holds(self, address: Address) -> bool:
        return any(one.holds(address) for one in self._starters())

    async def release(self, address: Address, *, but: ForkStarter | None = None) -> None:
        """Have no parent but this one hold an address. Idempotent."""
        for one in self._starters():
            if one is not but:
                await one.release(address)

    def seen(self, launch_id: str, pid: int) -> int | None:
        """The exit status of a launch's process, if its parent reported it."""
        found = (one.seen(launch_id, pid) for one in self._starters())
        return next((status for status in found if status is not None), None)

    # Memory

    def missing_memory(self, digest: str, guess: int) -> int:
        """Bytes that the parent of an environment would take; 0 if it is there.

        What it took before, else ``guess``.
        """
        used = self._used.get(digest)
        if used is not None and used.starter.is_ready:
            return 0
        return self._memory.known(digest) or guess

    def was_used(self, digest: str) -> bool:
        """Whether an environment had a parent at any time."""
        return self._memory.known(digest) is not None

    async def views(self) -> list[ParentView]:
        """Every parent that lives or is being started, this program's own first."""
        found = [("", self._own, len(self._own_launches))] if self._own is not None else []
        found += [(key, one.starter, len(one.launches)) for key, one in self._used.items()]
        pids = [one.parent_pid for _, one, _ in found]
        sizes = await asyncio.to_thread(lambda: [memory_of(pid) if pid else None for pid in pids])
        return [
            ParentView(digest, pid, launches, size)
            for (digest, _, launches), pid, size in zip(found, pids, sizes, strict=True)
        ]

    # Their ends

    def _begin_to_look(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="parents of environments")

    async def _look(self) -> None:
        """End the parents that nobody needs, until there is none of an environment."""
        while self._used or self._left:
            self._left = [one for one in self._left if one.poll() is None]
            await asyncio.sleep(min(_EVERY, max(0.05, self._grace / 2)))
            await self._measure()
            now = time.monotonic()
            for digest, used in [*self._used.items()]:
                if not self._is_needed(used, now):
                    self._retire(digest, used.starter.end())

    def _is_needed(self, used: _Used, now: float) -> bool:
        return bool(used.launches) or used.starter.is_holding or now < used.wanted + self._grace

    async def _measure(self) -> None:
        pids = {digest: used.starter.parent_pid for digest, used in self._used.items()}
        try:
            await asyncio.to_thread(self._memory.measure, pids)
        except Exception:  # the life of parents does not depend on it
            _log.exception("cannot measure the memory of warm parents")

    async def _leave(self, starter: ForkStarter) -> None:
        """Hang up, and collect the end of the parent when it comes."""
        if (process := await starter.detach()) is not None:
            self._left.append(process)

    def _retire(self, digest: str, ends: Coroutine[Any, Any, None]) -> None:
        """Give up a parent, whose launches go on."""
        del self._used[digest]
        task = self._ending[digest] = asyncio.create_task(ends, name="end of a warm parent")

        def ended(done: asyncio.Task[None]) -> None:
            self._ending.pop(digest, None)
            if not done.cancelled() and (error := done.exception()):
                _log.warning("cannot end a warm parent: %s", error)
            self._changed()

        task.add_done_callback(ended)

    def tidy(self, needed: set[str]) -> None:
        """Forget what is known of environments that nobody needs. Blocking."""
        self._memory.keep(needed)
        if (places := self._environments) is None:
            return
        for folder in places.root.iterdir() if places.root.is_dir() else ():
            if folder.is_dir() and folder.name not in needed and folder.name not in self._used:
                with contextlib.suppress(OSError):
                    _remove_sockets(folder)

    async def close(self) -> None:
        """Hang up; parents go on as long as they have launches."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await asyncio.gather(*self._ending.values(), return_exceptions=True)
        for starter in self._starters():
            await starter.close()
        self._used.clear()
        for process in self._left:
            process.returncode = process.poll() or 0  # no ResourceWarning
        self._left.clear()

    @property
    def pids(self) -> Mapping[str, int]:
        """The pids of the parents of environments, 0 while one is being started, by digest."""
        return {digest: used.starter.parent_pid for digest, used in self._used.items()}


def _remove_sockets(folder: Path) -> None:
    """Remove the folder of a parent that has ended, which leaves a lock behind."""
    if any(folder.glob("*.sock")):
        return
    for left in folder.glob("*.lock"):
        left.unlink(missing_ok=True)
    folder.rmdir()
