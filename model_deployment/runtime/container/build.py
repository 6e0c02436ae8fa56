"""Builds one image: a container of the base image installs the requirements, and becomes the image.

There is no Dockerfile: arguments of a build stay in an image's history, and secrets of a build need
BuildKit, which not every engine has. So where packages come from is put into the container as a file, which
is gone when the container becomes an image. All of this blocks.
"""

import io
import json
import re
import tarfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_deployment.environments import output
from model_deployment.environments.environment import BuildFailed
from model_deployment.runtime.container import build_program, spec
from model_deployment.runtime.container.engine import Engine, EngineAway, Missing
from model_deployment.runtime.container.environment import Recipe
from model_deployment.worker import program_files

#: Seconds between looks at a build that runs.
_PAUSE = 0.5
#: Limits of the container: bytes, processors, processes.
_MEMORY, _PROCESSORS, _PROCESSES = 4 * 1024**3, 64.0, 1024
#: Characters of a line of progress.
_LINE = 100
#: Lines of pip that are no progress.
_NOISE = re.compile(r"^\s*(\[notice\]|WARNING: Running pip as|note: )|Retrying \(Retry")

#: Names a file of certificates that pip trusts.
_CERTIFICATES = "PIP_CERT"

#: Says how far a build is.
Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Builder:
    """Builds images for one instance."""

    #: One whose calls may take long.
    engine: Engine
    instance: str
    #: Network of the container that installs packages; empty: that of the engine.
    network: str = ""
    #: Seconds.
    timeout: float = 1800.0
    #: Variables that say where packages come from (``PIP_INDEX_URL``, ``HTTPS_PROXY``): not in any image.
    index: Mapping[str, str] = field(default_factory=dict)

    def image(self, recipe: Recipe, tell: Progress) -> str:
        """The id of an image for a recipe, which is built where there is none.

        Raises:
            BuildFailed, EngineAway, EngineRefused: there is none.
        """
        found = self.engine.images(**{spec.ENVIRONMENT: recipe.digest})
        base = self.engine.image(recipe.base)
        if base is None:
            if found:
                # The base image is not needed any longer, and there may be no way to get it.
                return str(max(found, key=lambda one: float(one.get("Created") or 0))["Id"])
            tell(f"pulling {recipe.base}")
            base = self._pulled(recipe.base)
        for one in found:
            if (one.get("Labels") or {}).get(spec.BASE) == base["Id"]:
                return str(one["Id"])
        return self._build(recipe, str(base["Id"]), tell)

    def _pulled(self, name: str) -> Mapping[str, Any]:
        try:
            self.engine.pull(name)
            found = self.engine.image(name)
        except EngineAway:
            raise
        except OSError as error:
            raise BuildFailed(
                f"cannot pull the base image {name}: {error}; pull it by hand, or set "
                "MODEL_DEPLOYMENT_IMAGE_BASE to one that the engine has",
                permanent=False,
            ) from error
        if found is None:
            raise BuildFailed(
                f"cannot find the base image {name} after it was pulled", permanent=False
            )
        return found

    def _build(self, recipe: Recipe, base: str, tell: Progress) -> str:
        name = f"{_names(self.instance)}{recipe.digest}"
        # Of a controller that was killed.
        self.engine.remove(name)
        tell("preparing")
        self.engine.create(name, self._body(recipe, base))
        try:
            self.engine.put(name, "/", _archive(recipe, self.index))
            self.engine.start(name)
            status = self._wait(name, tell)
            if status:
                said = self.engine.logs(name, 0).decode(errors="replace")
                found = output.explain(plain(said), status)
                raise BuildFailed(
                    f"cannot build the model's environment: {found.text}",
                    permanent=found.permanent and not found.uncertain,
                )
            tell("storing the image")
            labels = {
                spec.INSTANCE: self.instance,
                spec.ENVIRONMENT: recipe.digest,
                spec.BASE: base,
                # Else the image has that of the container, and each container of the image as well.
                spec.BUILD: "",
            }
            return self.engine.commit(
                name, recipe.repository, base[-12:], {"Labels": labels, "Cmd": []}
            )
        finally:
            self.engine.remove(name)

    def _body(self, recipe: Recipe, base: str) -> dict[str, Any]:
        return {
            "Image": base,
            "Entrypoint": ["python3", f"{spec.PACKAGE}/build_program.py"],
            "Cmd": [],
            "User": "0:0",
            "WorkingDir": "/",
            "Healthcheck": {"Test": ["NONE"]},
            "Labels": {spec.INSTANCE: self.instance, spec.BUILD: recipe.digest},
            "HostConfig": {
                **spec.hardened(_MEMORY, _PROCESSORS, _PROCESSES),
                "NetworkMode": self.network or "default",
            },
        }

    def _wait(self, name: str, tell: Progress) -> int:
        """Until the container has ended; its status."""
        end = time.monotonic() + self.timeout
        since = 0.0
        while True:
            state = self.engine.inspect(name)["State"]
            if state["Status"] in ("exited", "dead", "stopped"):
                return int(state["ExitCode"])
            if time.monotonic() > end:
                raise BuildFailed(
                    f"cannot build the model's environment: it took longer than {self.timeout:g} s "
                    "(MODEL_DEPLOYMENT_BUILD_TIMEOUT)",
                    permanent=False,
                )
            time.sleep(_PAUSE)
            now = time.time()
            said = self.engine.logs(name, since).decode(errors="replace")
            if lines := [line for line in plain(said) if not _NOISE.search(line)]:
                since = now
                tell(lines[-1].strip()[:_LINE])


def _names(instance: str) -> str:
    """How the names of containers begin that build images."""
    return f"{spec.prefix(instance)}build."


def programs() -> list[tuple[str, bytes]]:
    """The programs of ours that an image has, by their paths below the folder for them."""
    ours = program_files.read((*program_files.FILES, *program_files.CONTAINED))
    return [*ours.items(), ("build_program.py", Path(build_program.__file__).read_bytes())]


def _archive(recipe: Recipe, index: Mapping[str, str]) -> bytes:
    certificates = _certificates(index.get(_CERTIFICATES, ""))
    given = {name: value for name, value in index.items() if name != _CERTIFICATES}
    if certificates:
        given[_CERTIFICATES] = f"{spec.PACKAGE}/{build_program.CERTIFICATES}"
    files = [
        *programs(),
        ("requirements.txt", "".join(f"{line}\n" for line in recipe.requirements).encode()),
        ("index.json", json.dumps(given).encode()),
        # There also if it is empty: it is removed.
        (build_program.CERTIFICATES, certificates),
    ]
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for folder in sorted({str(Path(name).parent) for name, _ in files} - {"."}):
            _add(archive, f"{spec.PACKAGE}/{folder}", None)
        for name, text in files:
            _add(archive, f"{spec.PACKAGE}/{name}", text)
    return content.getvalue()


def _certificates(path: str) -> bytes:
    """The file that pip trusts here, which the container does not have; empty if there is none.

    Raises:
        BuildFailed: it cannot be read.
    """
    try:
        return Path(path).read_bytes() if path else b""
    except OSError as error:
        raise BuildFailed(
            f"cannot build the model's environment: cannot read {_CERTIFICATES} ({path}): {error.strerror}",
            permanent=False,
        ) from error


def _add(archive: tarfile.TarFile, path: str, content: bytes | None) -> None:
    info = tarfile.TarInfo(path.lstrip("/"))
    # The same for each build: Python compares the time of a file with that of what it compiled.
    info.mtime = 1_000_000_000
    if content is None:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(info)
    else:
        info.size, info.mode = len(content), 0o644
        archive.addfile(info, io.BytesIO(content))


def plain(log: str) -> list[str]:
    """The lines of a log without the times that the engine puts before them, and without empty ones."""
    lines = (line.partition(" ")[2].rstrip() for line in log.splitlines())
    return [line for line in lines if line.strip()]


def remove_left(engine: Engine, instance: str, running: set[str]) -> None:
    """Remove containers of builds that no controller waits for any longer."""
    for one in engine.containers(**{spec.INSTANCE: instance}):
        # By its name: a container has all labels of its image.
        digest = one.name.removeprefix(_names(instance))
        if digest != one.name and digest not in running:
            try:
                engine.remove(one.name)
            except Missing:
                continue
