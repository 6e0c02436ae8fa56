"""Where the engine's machine has our files, if the controller runs in a container of the same engine."""

import contextlib
import os
import re
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from model_deployment.runtime.container.engine import Engine, EngineRefused

#: Docker and Podman keep the file that a container has as ``/etc/hostname`` in a folder named for it.
_OWN_ID = re.compile(r"/([0-9a-f]{64})/(?:userdata/)?hostname ")


class HostPaths:
    """Translates paths. Asks the engine once; blocking."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._mounts: list[tuple[Path, Path]] | None = None

    def of(self, path: Path) -> str:
        """The path on the engine's machine.

        Raises:
            OSError: the engine cannot be asked, or our container has this path in itself only.
        """
        if self._mounts is None:
            own = self._own_container()
            self._mounts = None if own is None else _mounts(own)
            if own is None:
                return str(path)
        return translated(path, self._mounts or ())

    def _own_container(self) -> Mapping[str, Any] | None:
        name = own_container()
        if name is None:
            return None
        # A container of another engine, or none at all: then the engine's machine is this one.
        with contextlib.suppress(EngineRefused):
            return self._engine.inspect(name)
        return None


def own_container() -> str | None:
    """The id of the container that this process is in; None if there is no sign of one."""
    with contextlib.suppress(OSError):
        if found := _OWN_ID.search(Path("/proc/self/mountinfo").read_text(encoding="utf-8")):
            return found[1]
    inside = any(Path(name).exists() for name in ("/.dockerenv", "/run/.containerenv"))
    return socket.gethostname() if inside else None


def _mounts(own: Mapping[str, Any]) -> list[tuple[Path, Path]]:
    """Where mounts are in the container, and on the machine; the deepest first."""
    found = [
        (Path(one["Destination"]), Path(one["Source"]))
        for one in own.get("Mounts") or ()
        if one.get("Type") in ("bind", "volume") and one.get("Source")
    ]
    return sorted(found, key=lambda pair: len(pair[0].parts), reverse=True)


def translated(path: Path, mounts: Iterable[tuple[Path, Path]]) -> str:
    """A path in our container as the machine has it.

    Raises:
        OSError: it is in no mount.
    """
    for inside, outside in mounts:
        if path.is_relative_to(inside):
            return os.fspath(outside / path.relative_to(inside))
    raise OSError(
        f"cannot start containers: {path} is on no volume of the controller's container; mount one there"
    )
