"""The built environments of launches: waited for before a start, and shown.

Nothing is installed at a start. An environment that is there costs a look at some files.
"""

import asyncio
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
from model_deployment.runtime import environment_record
from model_deployment.runtime.base import AddEvent, StartFailed
from model_deployment.runtime.environment_record import (
    Awaited,
    EnvironmentRecord,
    Model,
    Unusable,
    Usable,
)
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
#: Seconds for which sizes on the disk are not looked up again.
_SIZES_HOLD = 30.0


class EnvironmentStore(Protocol):
    """What :class:`~model_deployment.environments.store.Environments` does here."""

    def state(self, model: Path, manager: EnvManager) -> EnvironmentState: ...
    def take(self, model: Path, manager: EnvManager) -> Environment: ...
    def digest(self, model: Path, manager: EnvManager) -> str: ...
    def known(self, model: Path, manager: EnvManager) -> str: ...
    def find(self, digest: str) -> Environment | None: ...
    def failure(self, digest: str) -> str: ...
    def log(self, digest: str) -> Path: ...
    def obstacle(self, manager: EnvManager) -> str: ...
    def tidy(self, needed: Collection[str]) -> None: ...
    def sizes(self) -> Mapping[str, int]: ...
    def close(self) -> None: ...


class ModelEnvironments:
    """Those of the models of one controller. All methods are called in the event loop."""

    def __init__(
        self, store: EnvironmentStore, parents: Parents, note: AddEvent, grace: float = GRACE
    ) -> None:
        """Of a store.

        Args:
            note: adds a line to the events of a deployment.
            grace: seconds after which an environment is removed that no deployment needs.
        """
        self._grace = grace
        self._store = store
        self._parents = parents
        self._note = note
        #: By digest.
        self._records: dict[str, EnvironmentRecord] = {}
        self._sizes: Mapping[str, int] | None = None
        self._sized = 0.0
        #: Counts removals: sizes that were read before one are not kept behind it.
        self._removals = 0

    def obstacle(self, manager: EnvManager) -> str:
        """Why no environment can be built, and what helps; empty if it can."""
        return self._store.obstacle(manager)

    # Before a start

    def state(self, options: Options, model: Path) -> EnvironmentState:
        """That of the environment of a model; one that is not there is begun."""
        which = (model, options.env_manager)
        if (owed := self._debt(which)) is not None:
            return Failed(owed)
        return self._look(which, wanted=True)

    def _look(self, which: Model, *, wanted: bool) -> EnvironmentState:
        found = self._store.state(*which)
        if digest := self._store.known(*which):
            self._records[digest] = environment_record.observed(
                self._record(digest), found, which if wanted else None, time.monotonic()
            )
        return found

    def _record(self, digest: str) -> EnvironmentRecord:
        return self._records.get(digest) or EnvironmentRecord()

    def _debt(self, which: Model) -> BuildFailed | None:
        record = self._record(self._store.known(*which))
        return environment_record.debt(record, which, time.monotonic())

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
        now = time.monotonic()
        if (owed := self._debt(which)) is not None:
            digest = self._store.known(*which)
            self._records[digest] = environment_record.paid(self._record(digest), which, now)
            raise StartFailed(str(owed), permanent=owed.permanent)
        try:
            built = self._store.take(*which)
        except BuildFailed as error:
            if digest := self._store.known(*which):
                record = self._record(digest)
                self._records[digest] = environment_record.failed(record, error, which, now)
            raise StartFailed(str(error), permanent=error.permanent) from error
        except BlockingIOError:  # it was gone, or not whole any longer
            self.state(options, model)  # the build that has begun is told of
            raise
        self._tell(key, built)
        return built

    def _tell(self, key: ModelKey, built: Environment) -> None:
        """Say once where a deployment has its environment from."""
        record = self._record(built.digest)
        used = self._parents.was_used(built.digest)
        if told := environment_record.origin(record, key, used_before=used):
            words = versions(built.python_version, built.mlflow_version)
            self._note(key, f"the environment {short(built.digest)} ({words}) {told}")
        self._records[built.digest] = environment_record.taken(record, built, key)

    # What people want to know

    async def view(self, options: Options, model: Path) -> EnvironmentView | None:
        """How far the environment of a deployment is; begins nothing. None: it needs none."""
        if options.env_manager is EnvManager.LOCAL or options.contained:
            return None
        seen = await asyncio.to_thread(self._on_disk, options.env_manager, model)
        if seen.state is BuildState.READY:
            return seen
        match self._record(seen.digest).phase:
            case Awaited(build):
                return replace(seen, state=BuildState.BUILDING, progress=build.progress)
            case Unusable(error):
                return replace(seen, state=BuildState.FAILED, progress=str(error))
            case _:
                return seen

    def _on_disk(self, manager: EnvManager, model: Path) -> EnvironmentView:
        """What its files tell. Blocking."""
        try:
            digest = self._store.digest(model, manager)
        except BuildFailed as error:
            if not model.exists():
                return EnvironmentView(manager, "", BuildState.MISSING)
            return EnvironmentView(manager, "", BuildState.FAILED, str(error))
        has_log = self._store.log(digest).is_file()
        seen = EnvironmentView(manager, digest, BuildState.MISSING, has_log=has_log)
        if (built := self._store.find(digest)) is not None:
            return replace(
                seen,
                state=BuildState.READY,
                python_version=built.python_version,
                mlflow_version=built.mlflow_version,
            )
        if failure := self._store.failure(digest):
            return replace(seen, state=BuildState.FAILED, progress=failure)
        return seen

    async def log(self, options: Options, model: Path) -> Path | None:
        """The log of the build of a deployment's environment; None if there is none."""
        found = await self.view(options, model)
        return self._store.log(found.digest) if found and found.has_log else None

    def missing_parent(self, options: Options, model: Path | None, guess: int) -> tuple[str, int]:
        """A warm parent that a launch needs beside itself: its name, and bytes; 0 if there is one.

        Args:
            model: the artifacts; None while they are not known.
            guess: bytes of a parent that was never measured.
        """
        if options.env_manager is EnvManager.LOCAL or not options.forks:
            return "", 0
        digest = self._store.known(model, options.env_manager) if model else ""
        if not digest:
            return str(model or ""), guess
        phase = self._record(digest).phase
        if isinstance(phase, Usable) and self._parents.misfit(phase.environment):
            return "", 0
        return digest, self._parents.missing_memory(digest, guess)

    async def parents(self) -> list[ParentView]:
        """The warm parents."""
        return await self._parents.views()

    async def built(self) -> list[BuiltView]:
        """The environments on the disk."""
        sizes = self._sizes
        if sizes is None or time.monotonic() > self._sized + _SIZES_HOLD:
            before = self._removals
            sizes = await asyncio.to_thread(self._store.sizes)
            if before == self._removals:
                self._sizes, self._sized = sizes, time.monotonic()
        needed = {one for one, record in self._records.items() if record.needed}
        return await asyncio.to_thread(self._built, sizes, needed)

    def _built(self, sizes: Mapping[str, int], needed: Collection[str]) -> list[BuiltView]:
        found = []
        for digest, size in sizes.items():
            one = self._store.find(digest)
            versions = (one.python_version, one.mlflow_version) if one else ("", "")
            found.append(BuiltView(digest, *versions, size, digest in needed))
        return sorted(found, key=lambda one: one.digest)

    def prepare(self, models: Iterable[tuple[Options, Path]]) -> None:
        """Begin to build what the next starts of models will need, where it is not there.

        Such as for processes of a release that built none. What failed is not tried again before a start.
        """
        for options, model in models:
            if options.env_manager is not EnvManager.LOCAL and not options.contained:
                self._look((model, options.env_manager), wanted=False)

    # The end

    async def needed(self, models: Iterable[tuple[Options, Path]]) -> set[str]:
        """The digests of the environments that models need."""
        wanted = dict.fromkeys(
            (model, options.env_manager)
            for options, model in models
            if options.env_manager is not EnvManager.LOCAL and not options.contained
        )
        return await asyncio.to_thread(self._digests, wanted)

    def _digests(self, models: Iterable[Model]) -> set[str]:
        found: set[str] = set()
        for model, manager in models:
            try:
                found.add(self._store.digest(model, manager))
            except OSError as error:
                _log.debug("cannot tell what %s needs: %s", model, error)
        return found

    async def tidy(self, needed: Collection[str]) -> None:
        """Remove environments that nobody has needed for a while, and forget them.

        Raises:
            OSError: something could not be removed.
        """
        there = await asyncio.to_thread(self._store.sizes)
        now, wanted = time.monotonic(), {*needed, *self._parents.pids}
        for one in {*self._records, *there, *wanted}:
            self._records[one] = environment_record.swept(
                self._record(one), needed=one in wanted, now=now
            )
        kept = {
            one
            for one, record in self._records.items()
            if environment_record.is_kept(record, self._grace, now)
        }
        self._records = {one: self._records[one] for one in kept}
        try:
            await asyncio.to_thread(self._remove_but, kept)
        finally:  # what was removed is shown no longer
            self._sizes = None
            self._removals += 1

    def _remove_but(self, kept: Collection[str]) -> None:
        self._store.tidy(kept)
        self._parents.tidy({*self._store.sizes(), *kept})

    def close(self) -> None:
        """End the builds. Blocking."""
        self._store.close()
