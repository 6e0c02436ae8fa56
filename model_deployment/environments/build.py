"""Builds one environment: in a draft beside, published by one rename."""

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from model_deployment.core.options import EnvManager
from model_deployment.environments import (
    build_log,
    description,
    inspection,
    leftovers,
    local_files,
    managers,
    scripts,
    sessions,
    tools,
)
from model_deployment.environments.build_log import BuildLog
from model_deployment.environments.description import BaseChanged, Broken, Description
from model_deployment.environments.environment import BuildFailed, Environment
from model_deployment.environments.managers import Job
from model_deployment.environments.needs import Needs
from model_deployment.environments.pythons import Python, Pythons
from model_deployment.environments.workshop import StepFailed, Tell, Workshop

_CANNOT = "cannot build the model's environment"


@dataclass(kw_only=True)
class EnvironmentBuilder:
    """Builds environments below one folder. All of it blocks."""

    root: Path
    environment: Callable[[EnvManager], Mapping[str, str]]
    #: Seconds of one build.
    timeout: float
    #: Set when the controller ends.
    stop: threading.Event = field(default_factory=threading.Event)
    #: Names of drafts in use.
    drafts: set[str] = field(default_factory=set)
    _pythons: Pythons = field(default_factory=Pythons)

    def log(self, digest: str) -> Path:
        """Where the log of a build is."""
        return self.root / leftovers.LOGS / f"{digest}.log"

    def failure(self, digest: str) -> str:
        """Why the last build failed; empty if it did not, or none ended."""
        return build_log.read_failure(self.log(digest))

    def find(self, digest: str) -> Environment | None:
        """One that is there and whole; see :func:`description.verified` for how it is told."""
        place = self.root / digest
        try:
            return description.verified(place).environment(place)
        except OSError:
            return None

    def build(self, needs: Needs, model: Path, tell: Tell) -> Environment:
        """The environment for what a model needs, built where there is none.

        Raises:
            BuildFailed: there is none.
        """
        if found := self._there(needs.digest, tell):
            return found
        build_log.forget_failure(self.log(needs.digest))
        try:
            return self._build_anew(needs, model, tell)
        except BuildFailed as error:
            if not self.stop.is_set():  # else it did not fail, but was ended
                build_log.keep_failure(self.log(needs.digest), str(error))
            raise

    def _build_anew(self, needs: Needs, model: Path, tell: Tell) -> Environment:
        environment = self.environment(needs.manager)
        if why := tools.obstacle(needs.manager, environment):
            raise BuildFailed(why, permanent=True)
        name = f"{needs.digest}-{uuid.uuid4().hex[:8]}"
        self.drafts.add(name)
        try:
            return self._build(needs, model, tell, environment, name)
        except OSError as error:
            if isinstance(error, BuildFailed):
                raise
            why = f"{_CANNOT} in {self.root}: {error.strerror or error}"
            raise BuildFailed(
                f"{why}; make room, or let the controller write there", permanent=False
            ) from error
        finally:
            leftovers.delete(self.root / leftovers.DRAFTS / name)
            self.drafts.discard(name)

    def _there(self, digest: str, tell: Tell) -> Environment | None:
        """One that was built before; None if there is none, or only a broken one."""
        place = self.root / digest
        try:
            return description.verified(place).environment(place)
        except FileNotFoundError:
            return None
        except BaseChanged:
            return self._renewed(place)
        except Broken as broken:
            tell(f"built again: {broken}")
            return None

    def _renewed(self, place: Path) -> Environment | None:
        """One whose Python was updated: fit if it still starts as the same minor version."""
        found = description.read(place)
        ask = "import platform; print(platform.python_version())"
        version = sessions.ask([str(place / "bin/python"), "-I", "-c", ask], {})
        if version.split(".")[:2] != found.python_version.split(".")[:2]:
            return None
        status = Path(found.base).stat()
        renewed = replace(
            found,
            python_version=version,
            base_size=status.st_size,
            base_time=status.st_mtime_ns,
        )
        try:
            description.write(renewed, place)
            return description.verified(place).environment(place)
        except OSError:
            return None

    def _workshop(
        self, environment: Mapping[str, str], draft: Path, log: BuildLog, tell: Tell
    ) -> Workshop:
        return Workshop(
            draft=draft,
            environment=environment,
            log=log,
            tell=tell,
            end=time.monotonic() + self.timeout,
            timeout=self.timeout,
            stop=self.stop,
        )

    def _build(
        self, needs: Needs, model: Path, tell: Tell, environment: Mapping[str, str], name: str
    ) -> Environment:
        draft = self.root / leftovers.DRAFTS / name
        lines = [*needs.requirements, *needs.options]
        with BuildLog(self.log(needs.digest), build_log.secrets(environment, lines)) as log:
            log.write(f"environment {needs.digest} with {needs.manager}, for {model}")
            work = self._workshop(environment, draft, log, tell)
            work.sources.mkdir(parents=True)
            for path, _ in needs.files:
                local_files.copy(model, path, work.sources)
            try:
                made, found = self._made(needs, work, name)
            except BuildFailed as error:
                failed = BuildFailed(log.masked(str(error)), permanent=error.permanent)
                log.write(str(failed))
                raise failed from None
            place = self._publish(needs.digest, made)
            log.write(f"published as {place}: {found.size} bytes")
            return found.environment(place)

    def _made(self, needs: Needs, work: Workshop, name: str) -> tuple[Path, Description]:
        """Make an environment and describe it.

        Raises:
            BuildFailed: it cannot be made.
            OSError: the disk is full, or may not be written to.
        """
        notes = []
        python: Python | None = None
        if needs.manager is EnvManager.CONDA:
            made = place = self.root.resolve() / leftovers.CONDA / name
            made.parent.mkdir(parents=True, exist_ok=True)
        else:
            made, place = work.draft / "environment", self.root / needs.digest
            python = self._pythons.find(needs.python, needs.manager, work)
            notes += [python.note] if python.note else []
        if needs.left_out:
            notes.append(
                f"conda.yaml also names {', '.join(needs.left_out)}; only --env-manager conda installs that"
            )
        for note in notes:
            work.log.write(note)
        try:
            server, why = self._install(needs, made, python, work)
            notes += [why] if why else []
            if made != place:
                scripts.make_movable(made, place)
            found = inspection.describe(needs, made, place, notes, server == needs.server, work)
        except StepFailed as failed:
            leftovers.delete(made)
            raise BuildFailed(
                f"{_CANNOT}: {failed}", permanent=failed.explanation.permanent
            ) from None
        except BaseException:
            leftovers.delete(made)
            raise
        description.write(found, made)
        return made, found

    def _install(
        self, needs: Needs, made: Path, python: Python | None, work: Workshop
    ) -> tuple[tuple[str, ...], str]:
        """Install with what a server needs, else with less of it.

        Returns:
            What a server needs and was installed, and why not all of it.

        Raises:
            StepFailed: the packages of the model cannot be installed.
        """
        why = ""
        for server in dict.fromkeys((needs.server, needs.server_least, ())):
            try:
                managers.make(Job(needs, server, made), python, work)
            except StepFailed as failed:
                # A model with packages of its own may need no index at all.
                alone = failed.explanation.unsatisfiable or bool(needs.files)
                if not server or not alone:
                    raise
                why = f"without {', '.join(server)}: {failed}"
                work.log.write(why)
                work.tell("resolving the packages of the model alone")
            else:
                return server, why
        raise AssertionError("the last try has no server packages")

    def _publish(self, digest: str, made: Path) -> Path:
        """Put a whole environment where it belongs.

        Raises:
            OSError: it cannot be renamed.
        """
        place = self.root / digest
        if made.parent.name == leftovers.CONDA:
            # It cannot be moved, so a link to it takes its place.
            link = made.with_name(f"{made.name}.link")
            link.symlink_to(os.path.relpath(made, self.root))
            link.rename(place)
        else:
            if os.path.lexists(place):
                # Broken. Processes that run from it keep their files until it is deleted.
                leftovers.move_away(self.root, place)
            made.rename(place)
        with contextlib.suppress(OSError):
            folder = os.open(self.root, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return place
