"""The built environments of launches: waited for before a start, and shown.

Nothing is installed at a start. An environment that is there costs a look at some files.
"""

import logging
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from model_deployment.core.names import ModelKey
from model_deployment.core.options import EnvManager, Options
from model_deployment.environments.environment import (
    BuildFailed,
    Building,
    Environment,
    EnvironmentState,
    Failed,
    Ready,
)
from model_deployment.runtime.base import AddEvent, StartFailed
from model_deployment.runtime.environment_views import (
    BuildState,
    BuiltView,
    EnvironmentView,
    ParentView,
    short,
    versions,
)
from model_deployment.runtime.parents import Parents

_log = logging.getLogger(__name__)

#: Seconds after which an environment is removed that no deployment needs.
GRACE = 600.0
#: Seconds for which a failed build is told to the others that waited for it.
_OWED = 5.0
#: Seconds for which sizes on the disk are not looked up again.
_SIZES_HOLD = 30.0


class EnvironmentStore(Protocol):
    """What :class:`~model_deployment.environments.store.Environments` does here."""

    def state(self, model: Path, manager: EnvManager) -> EnvironmentState: ...
    def take(self, model: Path, manager: EnvManager) -> Environment: ...
    def digest(self, model: Path, manager: EnvManager) -> str: ...
    def known(self, model: Path, manager: EnvManager) -> str: ...
    def find(self, digest: str) -> Environment | None: ...
    def log(self, digest: str) -> Path: ...
    def obstacle(self, manager: EnvManager) -> str: ...
    def tidy(self, needed: Collection[str]) -> None: ...
    def sizes(self) -> Mapping[str, int]: ...
    def close(self) -> None: ...


class ModelEnvironments:
    """Those of the models of one controller. All methods are called in the event loop, but for ``tidy``."""

    def __init__(
        self, store: EnvironmentStore, parents: Parents, note: AddEvent, grace: float = GRACE
    ) -> None:
        """Of a store.

        Args:
            note: adds a line to the events of a deployment.
            grace: seconds after which an environment is removed that no deployment needs.
        """
        self._grace = grace
        #: When environments were needed last; monotonic seconds, by digest.
        self._last_needed: dict[str, float] = {}
        self._store = store
        self._parents = parents
        self._note = note
        #: What was seen last of environments that are not ready.
        self._states: dict[str, EnvironmentState] = {}
        #: Since when they are built; and how long it took, until the first launch is told.
        self._begun: dict[str, float] = {}
        #: Models that wait for a build, by digest; and what they are to be told of it, until when.
        self._waiting: dict[str, set[tuple[Path, EnvManager]]] = {}
        self._owed: dict[tuple[Path, EnvManager], tuple[BuildFailed, float]] = {}
        self._took: dict[str, float] = {}
        self._were_ready: set[str] = set()
        #: Deployments that were told where their environment comes from.
        self._told: set[tuple[ModelKey, str]] = set()
        self._needed: set[str] = set()
        self._sizes: Mapping[str, int] | None = None
        self._sized = 0.0

    def obstacle(self, manager: EnvManager) -> str:
        """Why no environment can be built, and what helps; empty if it can."""
        return self._store.obstacle(manager)

    # Before a start

    def state(self, options: Options, model: Path) -> EnvironmentState:
        """That of the environment of a model; one that is not there is begun."""
        key = (model, options.env_manager)
        if (owed := self._owed.get(key)) is not None:
            if time.monotonic() < owed[1]:
                return Failed(owed[0])
            del self._owed[key]
        found = self._store.state(model, options.env_manager)
        if not (digest := self._store.known(model, options.env_manager)):
            return found
        self._states[digest] = found
        match found:
            case Building():
                self._begun.setdefault(digest, time.monotonic())
                self._waiting.setdefault(digest, set()).add(key)
            case Ready():
                self._waiting.pop(digest, None)
                if (begun := self._begun.pop(digest, None)) is not None:
                    self._took[digest] = time.monotonic() - begun
                del self._states[digest]
            case Failed():
                self._begun.pop(digest, None)
        return found

    def warming(self, options: Options, model: Path, *, forks: bool) -> bool:
        """Whether a start has to wait for the environment, or for its warm parent."""
        match self.state(options, model):
            case Building():
                return True
            case Ready(built):
                forked = forks and not self._parents.misfit(built)
                return forked and self._parents.warming(built)
            case _:
                return False  # the start tells it

    def waits_for(self, options: Options, model: Path) -> str:
        """What is waited for, with its progress."""
        match self.state(options, model):
            case Building(progress):
                return f"its environment: {progress}" if progress else "its environment"
            case _:
                return "the warm parent of its environment, which is importing"

    def take(self, key: ModelKey, options: Options, model: Path) -> Environment:
        """The environment to start in.

        Raises:
            StartFailed: it could not be built. The next who wants it has it tried again.
            OSError: it is not ready.
        """
        which = (model, options.env_manager)
        if (owed := self._owed.pop(which, None)) is not None:
            raise StartFailed(str(owed[0]), permanent=owed[0].permanent)
        try:
            built = self._store.take(model, options.env_manager)
        except BuildFailed as error:
            # Those that waited for the same build have failed with it, and not each with one of its own.
            until = time.monotonic() + _OWED
            for other in self._waiting.pop(self._store.known(*which), set()) - {which}:
                self._owed[other] = (error, until)
            raise StartFailed(str(error), permanent=error.permanent) from error
        except BlockingIOError:  # it was gone, or not whole any longer
            self.state(options, model)  # the build that has begun is told of
            raise
        self._tell(key, built)
        return built

    def _tell(self, key: ModelKey, built: Environment) -> None:
        """Say once where a deployment has its environment from."""
        digest, took = built.digest, self._took.pop(built.digest, None)
        before = digest in self._were_ready or self._parents.was_used(digest)
        self._were_ready.add(digest)
        known = (key, digest) in self._told
        self._told.add((key, digest))
        words = versions(built.python_version, built.mlflow_version)
        name = f"the environment {short(digest)} ({words})"
        if took is not None:
            how = "rebuilt, since it was gone," if before else "built"
            self._note(key, f"{name} was {how} in {took:.1f} s")
        elif not known:
            self._note(
                key, f"{name} was there already, and is shared by models with the same needs"
            )

    # What people want to know

    def view(self, options: Options, model: Path) -> EnvironmentView | None:
        """How far the environment of a deployment is; begins nothing. None: it needs none."""
        manager = options.env_manager
        if manager is EnvManager.LOCAL or options.contained:
            return None
        try:
            digest = self._store.digest(model, manager)
        except BuildFailed as error:
            if not model.exists():
                return EnvironmentView(manager, "", BuildState.MISSING)
            return EnvironmentView(manager, "", BuildState.FAILED, str(error))
        seen = EnvironmentView(
            manager, digest, BuildState.MISSING, has_log=self._store.log(digest).is_file()
        )
        if (built := self._store.find(digest)) is not None:
            return replace(
                seen,
                state=BuildState.READY,
                python_version=built.python_version,
                mlflow_version=built.mlflow_version,
            )
        match self._states.get(digest):
            case Building(progress):
                return replace(seen, state=BuildState.BUILDING, progress=progress)
            case Failed(why):
                return replace(seen, state=BuildState.FAILED, progress=str(why))
            case _:
                return seen

    def log(self, options: Options, model: Path) -> Path | None:
        """The log of the build of a deployment's environment; None if there is none."""
        found = self.view(options, model)
        return self._store.log(found.digest) if found and found.has_log else None

    def missing_parent(self, options: Options, model: Path | None, guess: int) -> tuple[str, int]:
        """A warm parent that a launch needs beside itself: its name, and bytes; 0 if there is one.

        Args:
            model: the artifacts; None while they are not known.
            guess: bytes of a parent that was never measured.
        """
        if options.env_manager is EnvManager.LOCAL or not options.forks:
            return "", 0
        try:
            digest = self._store.digest(model, options.env_manager) if model else ""
        except OSError:
            digest = ""
        if not digest:
            return str(model or ""), guess
        built = self._store.find(digest)
        if built is not None and self._parents.misfit(built):
            return "", 0
        return digest, self._parents.missing_memory(digest, guess)

    async def parents(self) -> list[ParentView]:
        """The warm parents."""
        return await self._parents.views()

    def built(self) -> list[BuiltView]:
        """The environments on the disk. Blocking."""
        now = time.monotonic()
        if self._sizes is None or now > self._sized + _SIZES_HOLD:
            self._sizes, self._sized = self._store.sizes(), now
        found = []
        for digest, size in self._sizes.items():
            one = self._store.find(digest)
            versions = (one.python_version, one.mlflow_version) if one else ("", "")
            found.append(BuiltView(digest, *versions, size, digest in self._needed))
        return sorted(found, key=lambda one: one.digest)

    def prepare(self, models: Iterable[tuple[Options, Path]]) -> None:
        """Begin to build what the next starts of models will need, where it is not there.

        Such as for processes of a release that built none. What failed is not tried again before a start.
        """
        for options, model in models:
            if options.env_manager is EnvManager.LOCAL or options.contained:
                continue
            found = self._store.state(model, options.env_manager)
            digest = self._store.known(model, options.env_manager)
            if digest and not isinstance(found, Ready):
                self._states[digest] = found

    # The end

    def needed(self, models: Iterable[tuple[Options, Path]]) -> set[str]:
        """The digests of the environments that models need."""
        found: set[str] = set()
        for options, model in models:
            if options.env_manager is not EnvManager.LOCAL and not options.contained:
                try:
                    found.add(self._store.digest(model, options.env_manager))
                except OSError as error:
                    _log.debug("cannot tell what %s needs: %s", model, error)
        return found

    def tidy(self, needed: Collection[str]) -> None:
        """Remove environments that nobody has needed for a while. Blocking.

        Raises:
            OSError: something could not be removed.
        """
        now, there = time.monotonic(), self._store.sizes()
        self._needed = {*needed, *self._parents.pids}
        # Of those that are seen for the first time it is not known.
        self._last_needed |= {one: now for one in there if one not in self._last_needed}
        self._last_needed |= dict.fromkeys(self._needed, now)
        recent = {one for one, at in self._last_needed.items() if now < at + self._grace}
        recent |= self._needed
        self._last_needed = {one: self._last_needed[one] for one in recent}
        self._store.tidy(recent)
        self._parents.tidy({*self._store.sizes(), *recent})

    def close(self) -> None:
        self._store.close()
