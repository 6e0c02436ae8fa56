"""The environments of models: which are there, which are being built, which could not be built."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from model_deployment.core.options import EnvManager
from model_deployment.environments import description, leftovers, tools
from model_deployment.environments.build import EnvironmentBuilder
from model_deployment.environments.environment import (
    BuildFailed,
    Building,
    Environment,
    EnvironmentState,
    Failed,
    Ready,
)
from model_deployment.environments.needs import Needs, read_needs, signature

_log = logging.getLogger(__name__)

#: Builds at the same time, and models whose needs are read.
_AT_ONCE, _READERS = 2, 4
#: Seconds for which an environment is taken to be whole. Each start looks anew.
_FRESH = 5.0
#: Seconds for which ``tidy`` leaves one that was asked for, longer than a look holds.
#: Seconds that ``close`` waits for a build.
_WANTED, _ENDING = 2 * _FRESH, 5.0
#: Models whose needs are remembered.
_REMEMBERED = 4096

_Key = tuple[Path, EnvManager]


@dataclass(slots=True)
class _KnownNeeds:
    """The needs of a model, as its files had them."""

    files: tuple[tuple[str, int, int], ...]
    needs: Needs


@dataclass(kw_only=True)
class Environments:
    """Those of one data directory.

    ``state``, ``take`` and ``known`` are called in the event loop. ``digest``, ``find``, ``failure``,
    ``sizes`` and ``tidy`` read files, and any thread may call them.
    """

    root: Path
    #: The variables of a build: where packages come from, and no password of the controller.
    environment: Callable[[EnvManager], Mapping[str, str]]
    #: Seconds of one build.
    timeout: float
    #: Called when an environment has become ready, or has failed.
    changed: Callable[[], None]
    _builder: EnvironmentBuilder = field(init=False)
    #: By digest.
    _states: dict[str, EnvironmentState] = field(default_factory=dict)
    #: Of models whose needs are being read, or could not be read.
    _reading: dict[_Key, EnvironmentState] = field(default_factory=dict)
    #: Threads read and write it, too.
    _known: dict[_Key, _KnownNeeds] = field(default_factory=dict)
    _knowing: threading.Lock = field(default_factory=threading.Lock)
    #: Monotonic seconds of the last look, by digest.
    _looked: dict[str, float] = field(default_factory=dict)
    _room: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_AT_ONCE))
    _readers: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_READERS))
    _threads: set[threading.Thread] = field(default_factory=set)

    def __post_init__(self) -> None:
        # Programs of a build run elsewhere.
        self.root = self.root.absolute()
        self._builder = EnvironmentBuilder(
            root=self.root, environment=self.environment, timeout=self.timeout
        )

    def state(self, model: Path, manager: EnvManager) -> EnvironmentState:
        """That of the environment for the model in a folder. One that is not there is begun."""
        key = (model, manager)
        needs = self._remembered(key)
        if needs is None:
            found = self._reading.get(key)
            if found is None:
                found = self._reading[key] = Building("reading what the model needs")
                self._begin(self._read, key, found)
            return found
        return self._state(needs, model)

    def take(self, model: Path, manager: EnvManager) -> Environment:
        """The environment to start from, which was looked at just now.

        Raises:
            BuildFailed: it could not be built; the next call has it tried again.
            BlockingIOError: it is not ready.
        """
        key = (model, manager)
        found = self._reading.get(key)
        needs = self._remembered(key)
        if needs is not None:
            # Looked at anew, and wanted all the while.
            self._looked[needs.digest] = time.monotonic() - _FRESH
            found = self._state(needs, model)
        if isinstance(found, Failed):
            self._reading.pop(key, None)
            if needs is not None:
                self._states.pop(needs.digest, None)
            raise found.error
        if isinstance(found, Ready):
            return found.environment
        if found is None:
            self.state(model, manager)
        raise BlockingIOError("its environment is not ready")

    def digest(self, model: Path, manager: EnvManager) -> str:
        """The name of the environment for a model. Reads its files if that was not done. Blocking.

        Raises:
            BuildFailed: what the model needs cannot be read.
        """
        key = (model, manager)
        found = self._remembered(key)
        if found is None:
            files = signature(model)
            found = read_needs(model, manager)
            self._remember(key, files, found)
        return found.digest

    def known(self, model: Path, manager: EnvManager) -> str:
        """The same as far as it was read already, else empty."""
        found = self._remembered((model, manager))
        return found.digest if found is not None else ""

    def find(self, digest: str) -> Environment | None:
        """An environment by its name, if it is there and whole. Blocking."""
        return self._builder.find(digest) if leftovers.is_digest(digest) else None

    def failure(self, digest: str) -> str:
        """Why its last build failed, perhaps with an earlier controller; else empty. Blocking."""
        return self._builder.failure(digest)

    def log(self, digest: str) -> Path:
        """The log of the last build; there may be none."""
        return self._builder.log(digest)

    def obstacle(self, manager: EnvManager) -> str:
        """Why no environment can be built with a manager, and what helps; empty if one can be."""
        return tools.obstacle(manager, self.environment(manager))

    def sizes(self) -> dict[str, int]:
        """Bytes on disk, by digest. Blocking."""
        found = {}
        for path in leftovers.environments(self.root):
            with contextlib.suppress(OSError):
                found[path.name] = description.read(path).size
        return found

    def tidy(self, needed: Collection[str]) -> None:
        """Remove environments that nobody needs, and what builds left. Blocking.

        Args:
            needed: digests of those that deployments need or processes run from.
        """
        building = {one for one, state in [*self._states.items()] if isinstance(state, Building)}
        kept = {*needed, *building}
        for path in leftovers.environments(self.root):
            if path.name in kept or self._is_wanted(path.name):
                continue
            try:
                leftovers.move_away(self.root, path)
            except OSError as error:
                _log.warning("cannot remove environment %s: %s", path.name, error)
                continue
            self._states.pop(path.name, None)
            _log.info("removed environment %s, which no deployment needs", path.name)
        leftovers.end_builds(self.root, self._builder.drafts)
        leftovers.delete_removed(self.root)
        leftovers.delete_logs(self.root, kept)

    def close(self) -> None:
        """End the builds. Blocks until their programs are gone."""
        self._builder.stop.set()
        for thread in [*self._threads]:
            thread.join(_ENDING)

    def _is_wanted(self, digest: str) -> bool:
        """Whether it is being built, or a deployment began to use it while ``tidy`` runs."""
        if isinstance(self._states.get(digest), Building):
            return True
        return time.monotonic() < self._looked.get(digest, -_WANTED) + _WANTED

    def _remembered(self, key: _Key) -> Needs | None:
        known = self._known.get(key)
        return known.needs if known is not None and known.files == signature(key[0]) else None

    def _remember(self, key: _Key, files: tuple[tuple[str, int, int], ...], needs: Needs) -> None:
        with self._knowing:
            if len(self._known) >= _REMEMBERED:
                self._known.pop(next(iter(self._known)))
            self._known[key] = _KnownNeeds(files, needs)

    def _state(self, needs: Needs, model: Path) -> EnvironmentState:
        digest = needs.digest
        found = self._states.get(digest)
        if isinstance(found, Ready):
            now = time.monotonic()
            fresh = now < self._looked.get(digest, 0.0) + _FRESH
            if fresh and found.environment.python.exists():
                return found
            if self._builder.find(digest) is not None:
                self._looked[digest] = now
                return found
            _log.warning("environment %s is not whole any longer, and is built again", digest)
            found = None
        if found is None:
            found = self._states[digest] = Building("waiting for other builds")
            self._begin(self._build, (needs, model), found)
        return found

    def _begin(self, work: Callable[..., None], what: tuple[object, ...], state: Building) -> None:
        loop = asyncio.get_running_loop()

        def run() -> None:
            try:
                work(loop, state, *what)
            finally:
                self._threads.discard(threading.current_thread())

        # A daemon: a build that goes on must not keep the controller from ending.
        thread = threading.Thread(target=run, name="environment", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _read(
        self, loop: asyncio.AbstractEventLoop, state: Building, model: Path, manager: EnvManager
    ) -> None:
        """In a thread: what a model needs."""
        files = signature(model)
        try:
            with self._readers:
                found: Needs | Failed = read_needs(model, manager)
        except BuildFailed as error:
            found = Failed(error)
        except Exception as error:
            _log.exception("cannot read what a model needs")
            found = Failed(_unexpected(error))

        def end() -> None:
            key = (model, manager)
            if self._reading.get(key) is not state:
                return
            if isinstance(found, Failed):
                self._reading[key] = found
            else:
                del self._reading[key]
                self._remember(key, files, found)
                self._state(found, model)
            self.changed()

        self._in_loop(loop, end)

    def _build(
        self, loop: asyncio.AbstractEventLoop, state: Building, needs: Needs, model: Path
    ) -> None:
        """In a thread: an environment."""

        def tell(text: str) -> None:
            if text != state.progress:
                state.progress = text
                _log.info("environment %s: %s", needs.digest, text)

        after: EnvironmentState
        try:
            # What is there needs no room among the builds.
            found = self._builder.find(needs.digest)
            if found is None:
                with self._room:
                    found = self._builder.build(needs, model, tell)
            after = Ready(found)
        except BuildFailed as error:
            after = Failed(error)
        except Exception as error:
            _log.exception("cannot build an environment")
            after = Failed(_unexpected(error))

        def end() -> None:
            if self._states.get(needs.digest) is state:
                self._states[needs.digest] = after
                self._looked[needs.digest] = time.monotonic()
                self.changed()

        self._in_loop(loop, end)

    def _in_loop(self, loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> None:
        if not self._builder.stop.is_set():
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any longer
                loop.call_soon_threadsafe(end)


def _unexpected(error: Exception) -> BuildFailed:
    return BuildFailed(f"cannot build the model's environment: {error!r}", permanent=False)
