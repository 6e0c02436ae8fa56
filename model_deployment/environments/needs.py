"""What a model needs: its Python and its packages, read from its folder, and a digest of them."""

import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path, PurePosixPath

from packaging.version import InvalidVersion, Version

from model_deployment.core.options import EnvManager
from model_deployment.environments import local_files, requirement_line, server_packages
from model_deployment.environments.environment import BuildFailed
from model_deployment.environments.environment_files import (
    CondaFile,
    PythonFile,
    UnreadableFile,
    read_conda,
    read_mlmodel,
    read_python_env,
    read_text,
    requirement_lines,
)
from model_deployment.environments.requirement_line import InvalidLine, LineKind, RequirementLine

#: Counts up when environments are built in another way, so that those of before are not taken for these.
FORMAT = 1
#: Files that name each other, at most.
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Needs:
    """What an environment is built from. Equal needs have equal digests."""

    manager: EnvManager
    #: Such as ``3.11.9``, or ``3.11`` where the model does not say.
    python: str
    #: Lines for pip or uv in their one form, sorted, without those whose marker is not met.
    requirements: tuple[str, ...] = ()
    #: Installed before them: pip, setuptools, wheel.
    build_dependencies: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    #: Where packages come from, in their order.
    options: tuple[str, ...] = ()
    #: Files and folders of the model that are installed, by path, and the digest of their content.
    files: tuple[tuple[str, str], ...] = ()
    #: What conda installs; empty for other managers.
    channels: tuple[str, ...] = ()
    conda_packages: tuple[str, ...] = ()
    #: What a server needs in addition.
    server: tuple[str, ...] = ()
    #: Of those, the ones without which there is no MLflow.
    server_least: tuple[str, ...] = ()
    #: Names of the packages of ``requirements``.
    names: tuple[str, ...] = field(default=(), compare=False)
    #: Packages of ``conda.yaml`` that only conda could install, and this manager does not.
    left_out: tuple[str, ...] = field(default=(), compare=False)
    digest: str = field(default="", compare=False)


def read_needs(model: Path, manager: EnvManager) -> Needs:
    """What the model in a folder needs. Reads the files that it installs as well, which may take seconds.

    Raises:
        BuildFailed: they cannot be read or understood; permanent.
    """
    try:
        found = _with_digest(_Reader(model, manager).read())
    except UnreadableFile as error:
        raise BuildFailed(
            f"cannot build the model's environment: {error}", permanent=True
        ) from error
    return found


def signature(model: Path) -> tuple[tuple[str, int, int], ...]:
    """Changes when the files change from which the needs are read. Takes microseconds."""
    found = []
    for name in ("MLmodel", "requirements.txt", "python_env.yaml", "conda.yaml", "constraints.txt"):
        try:
            status = (model / name).stat()
        except OSError:
            continue
        found.append((name, status.st_mtime_ns, status.st_size))
    return tuple(found)


class _Reader:
    """Reads the files of one model."""

    def __init__(self, model: Path, manager: EnvManager) -> None:
        self._model = model
        self._manager = manager
        self._mlmodel = read_mlmodel(model)
        names = _environment_files(self._mlmodel)
        self._conda = read_conda(model / names.get("conda", "conda.yaml"))
        self._env = read_python_env(model / names.get("virtualenv", "python_env.yaml"))
        self._python = _python(self._env, self._conda)
        self._lines: list[RequirementLine] = []
        self._constraints: set[str] = set()

    def read(self) -> Needs:
        """Raises:
        BuildFailed, UnreadableFile: they cannot be understood.
        """
        for source, line in self._wanted():
            self._add(line, source, 0)
        packages = [one for one in self._lines if one.kind in (LineKind.PACKAGE, LineKind.LOCAL)]
        options = [
            one for one in self._lines if one.kind in (LineKind.OPTION, LineKind.FOLDER_OPTION)
        ]
        builders = self._builders()
        wanted = server_packages.wanted(
            [(one.name, one.versions) for one in packages],
            str(self._mlmodel.get("mlflow_version") or ""),
        )
        conda = self._manager is EnvManager.CONDA
        return Needs(
            manager=self._manager,
            python=self._python,
            requirements=_sorted(one.text for one in packages),
            build_dependencies=builders,
            constraints=_sorted(self._constraints),
            options=tuple(dict.fromkeys(one.text for one in options)),
            files=tuple(
                (path, local_files.digest(self._model, path))
                for path in _sorted(one.path for one in self._lines if one.path)
            ),
            channels=self._conda.channels if conda else (),
            conda_packages=_sorted(self._conda.packages) if conda else (),
            server=wanted.all,
            server_least=wanted.least,
            names=_sorted(one.name for one in packages if one.name),
            left_out=() if conda else _sorted(self._conda.others),
        )

    def _wanted(self) -> Iterable[tuple[str, str]]:
        """Lines of requirements, each with the name of its file, where MLflow itself looks for them."""
        if self._manager is EnvManager.CONDA and (self._conda.packages or self._conda.pip):
            return [("conda.yaml", line) for line in self._conda.pip]
        if self._env is not None and self._env.dependencies:
            return [("python_env.yaml", line) for line in self._env.dependencies]
        if (self._model / "requirements.txt").is_file():
            return [("requirements.txt", "-r requirements.txt")]
        return [("conda.yaml", line) for line in self._conda.pip]

    def _builders(self) -> tuple[str, ...]:
        if self._manager is EnvManager.CONDA:
            return ()
        found = self._env.build_dependencies if self._env else self._conda.builders
        lines = [self._parsed(one, "python_env.yaml") for one in found]
        return _sorted(one.text for one in lines if one.kind is LineKind.PACKAGE)

    def _add(self, text: str, source: str, depth: int) -> None:
        for line in chain.from_iterable(map(requirement_line.split, requirement_lines(text))):
            found = self._parsed(line, source)
            if found.kind is LineKind.FOLDER_OPTION:
                found = self._placed(found)
            if found.kind in (LineKind.REQUIREMENTS, LineKind.CONSTRAINTS):
                if depth == _DEEPEST:
                    raise _refused(line, source, "its files name each other")
                if found.kind is LineKind.REQUIREMENTS:
                    self._add(self._file(found, source), found.path, depth + 1)
                else:
                    self._constrain(self._file(found, source), found.path)
            elif found.kind is not LineKind.NOTHING:
                self._lines.append(found)

    def _constrain(self, text: str, source: str) -> None:
        for line in requirement_lines(text):
            found = self._parsed(line, source)
            if found.kind is LineKind.PACKAGE:
                self._constraints.add(found.text)

    def _placed(self, line: RequirementLine) -> RequirementLine:
        """A folder of packages, of the two places that it may have."""
        path = line.path if (self._model / line.path).exists() else line.otherwise
        return replace(line, text=f"--find-links ./{path}", path=path)

    def _file(self, line: RequirementLine, source: str) -> str:
        path = self._model / line.path
        if not path.is_file() or not path.resolve().is_relative_to(self._model.resolve()):
            raise _refused(line.text, source, f"the model has no file {line.path}")
        return read_text(path)

    def _parsed(self, line: str, source: str) -> RequirementLine:
        try:
            return requirement_line.parse(line, self._python, str(PurePosixPath(source).parent))
        except InvalidLine as error:
            raise _refused(line, source, str(error)) from error


def _environment_files(mlmodel: object) -> dict[str, str]:
    """The files that the flavor ``python_function`` names, by manager, as since MLflow 2.0."""
    found: object = mlmodel
    for key in ("flavors", "python_function", "env"):
        found = found.get(key) if isinstance(found, dict) else None
    if isinstance(found, str):
        found = {"conda": found}
    if not isinstance(found, dict):
        return {}
    return {
        str(key): value
        for key, value in found.items()
        if isinstance(value, str) and value and "/" not in value and value != ".."
    }


def _python(env: PythonFile | None, conda: CondaFile) -> str:
    """Raises:
    BuildFailed: it is no version.
    """
    found = (env.python if env else "") or conda.python
    if not found:
        # As MLflow does it. Without the last number: an update of this machine's Python changes nothing.
        return f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        release = Version(found).release
    except InvalidVersion:
        release = ()
    if not 2 <= len(release) <= 3:
        raise BuildFailed(
            f"cannot build the model's environment: {found[:40]!r} is no version of Python; "
            "correct python_env.yaml of the model",
            permanent=True,
        )
    return found


def _refused(line: str, source: str, why: str) -> BuildFailed:
    return BuildFailed(
        f"cannot build the model's environment: cannot read {line[:120]!r} in {source}: {why}; "
        "log the model with requirements that pip can install",
        permanent=True,
    )


def _sorted(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(texts)))


def _with_digest(needs: Needs) -> Needs:
    parts: Sequence[object] = (
        FORMAT,
        needs.manager.value,
        needs.python,
        needs.requirements,
        needs.build_dependencies,
        needs.constraints,
        needs.options,
        needs.files,
        needs.channels,
        needs.conda_packages,
        needs.server,
        needs.server_least,
    )
    text = json.dumps(parts)
    return replace(needs, digest=hashlib.sha256(text.encode()).hexdigest()[:24])
