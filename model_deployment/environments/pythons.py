"""Finds the Python that a model needs, has it installed, or takes one that is close to it."""

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from model_deployment.core.options import EnvManager
from model_deployment.environments import tools
from model_deployment.environments.environment import BuildFailed
from model_deployment.environments.workshop import StepFailed, Workshop

#: Run in a Python: what it is, and which one a virtual environment is based on.
_ASK = (
    "import sys, json; print(json.dumps(["
    "sys.implementation.name, '.'.join(map(str, sys.version_info[:3])), sys.version_info[3],"
    " getattr(sys, '_base_executable', None) or sys.executable]))"
)
#: Seconds that the download of a Python may take: with uv, and with pyenv, which compiles it.
_DOWNLOAD, _COMPILE = 240.0, 1500.0
#: Seconds for which it is remembered that a version cannot be had.
_REMEMBERED = 600.0
#: Seconds without an answer after which a program is taken to hang, and those for which it is not asked
#: again. Shorter than the other, since it may be the machine that was busy.
_HANGS, _SILENT = 5.0, 180.0


@dataclass(frozen=True, slots=True)
class Python:
    """One that environments can be based on."""

    path: str
    #: Such as ``3.11.7``.
    version: str
    #: Why it is not the version that was wanted; empty if it is.
    note: str = ""


@dataclass
class Pythons:
    """Finds them, and remembers for some minutes which could not be downloaded, and which hang."""

    _unavailable: dict[tuple[EnvManager, str], tuple[str, float, bool]] = field(
        default_factory=dict
    )
    #: What programs said they are, by path and time of change in nanoseconds.
    _asked: dict[tuple[str, int], Python | None] = field(default_factory=dict)
    #: Until when those that hang are not asked again, in monotonic seconds.
    _silent: dict[tuple[str, int], float] = field(default_factory=dict)
    #: Held while one is asked: builds run in threads, and need the same ones.
    _asking: threading.Lock = field(default_factory=threading.Lock)
    clock: Callable[[], float] = time.monotonic

    def find(self, wanted: str, manager: EnvManager, work: Workshop) -> Python:
        """That of a version, else of the same minor version.

        Raises:
            BuildFailed: there is none.
        """
        minor = ".".join(wanted.split(".")[:2])
        here, silent = self._local(minor, work)
        if found := _chosen(here, wanted):
            return found
        why, permanent = self._download(wanted, manager, work)
        if not why:
            here, silent = self._local(minor, work)
            if found := _chosen(here, wanted):
                return found
            why, permanent = "it was installed, but is not found", True
        if here:
            nearest = max(here, key=_numbers)
            note = f"Python {wanted} cannot be had: {why}; built with {nearest.version}"
            work.tell(note)
            return Python(nearest.path, nearest.version, note)
        unknown = f", unless it is {silent[0]}, which does not answer" if silent else ""
        raise BuildFailed(
            f"cannot build the model's environment: there is no Python {minor} on this machine{unknown}, "
            f"and it cannot be had: {why}; install Python {minor}",
            permanent=permanent and not silent,
        )

    def _local(self, minor: str, work: Workshop) -> tuple[list[Python], list[str]]:
        """Those of a minor version on this machine, the preferred first; releases only.

        And the paths of those that hang: they may be what is looked for.
        """
        paths = dict.fromkeys(str(path) for path in _candidates(minor, work.environment))
        # What pyenv puts into PATH starts another one in each folder.
        found, silent = [], []
        for path in paths:
            if "/shims/" in path:
                continue
            try:
                one = self._ask(path, work)
            except TimeoutError:
                silent.append(path)
                continue
            if one is not None and one.version.startswith(f"{minor}."):
                found.append(one)
        return found, silent

    def _ask(self, path: str, work: Workshop) -> Python | None:
        """Raises:
        TimeoutError: it hangs, or did some minutes ago.
        """
        try:
            key = (path, Path(path).stat().st_mtime_ns)
        except OSError:
            return None
        with self._asking:
            if key in self._asked:
                return self._asked[key]
            began = self.clock()
            if began < self._silent.get(key, began):
                raise TimeoutError(path)
            said = work.ask([path, "-I", "-c", _ASK])
            try:
                self._asked[key] = _answer(path, said)
            except (ValueError, TypeError):
                ended = self.clock()
                if ended - began < _HANGS:
                    return None  # the next build asks it again
                self._silent[key] = ended + _SILENT
                raise TimeoutError(path) from None
            return self._asked[key]

    def _download(self, wanted: str, manager: EnvManager, work: Workshop) -> tuple[str, bool]:
        """Why a version could not be installed, and whether that is for ever; nothing if it was."""
        known = self._unavailable.get((manager, wanted))
        if known is not None and self.clock() < known[1]:
            return known[0], known[2]
        work.tell(f"looking for Python {wanted}")
        why, permanent = self._install(wanted, manager, work)
        if why:
            self._unavailable[manager, wanted] = (why, self.clock() + _REMEMBERED, permanent)
        return why, permanent

    def _install(self, wanted: str, manager: EnvManager, work: Workshop) -> tuple[str, bool]:
        if manager is EnvManager.UV:
            program = tools.find("uv", work.environment)
            downloads = work.environment.get("UV_PYTHON_DOWNLOADS", "").lower()
            if program is None or downloads in ("never", "false", "0"):
                return "uv may not download any (UV_PYTHON_DOWNLOADS)", True
            command = [program, "python", "install", "--no-progress", "--color", "never", wanted]
            # What cannot be connected to is not tried for long. A download that goes on has its time.
            further = {"UV_HTTP_RETRIES": "1", "UV_HTTP_CONNECT_TIMEOUT": "10"}
            most = _DOWNLOAD
        else:
            program = tools.find("pyenv", work.environment)
            if program is None:
                return "there is no pyenv that could install it", True
            command, further, most = [program, "install", "--skip-existing", wanted], {}, _COMPILE
        try:
            work.run(command, further, most)
        except StepFailed as failed:
            parts = failed.explanation.text.split(" / ")
            return " / ".join(dict.fromkeys([parts[0], parts[-1]])), failed.explanation.permanent
        return "", False


def _answer(path: str, said: str) -> Python | None:
    """What a program is by what it says; None for another Python, or one that is no release.

    Raises:
        ValueError, TypeError: it did not say what was asked.
    """
    name, version, level, base = json.loads(said)
    if name != "cpython" or level != "final":
        return None
    return Python(base if os.access(base, os.X_OK) else path, version)


def _chosen(here: list[Python], wanted: str) -> Python | None:
    """The one of a version, or the newest of a minor version."""
    if wanted.count(".") == 1:
        return max(here, key=_numbers, default=None)
    return next((one for one in here if one.version == wanted), None)


def _numbers(python: Python) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", python.version)))


def _candidates(minor: str, environment: Mapping[str, str]) -> Iterator[Path]:
    name = f"python{minor}"
    home = Path(environment.get("HOME") or "/nonexistent")
    roots = [Path(environment["PYENV_ROOT"])] if environment.get("PYENV_ROOT") else []
    if pyenv := tools.find("pyenv", environment):
        roots.append(Path(pyenv).resolve().parents[1])
    for root in [*roots, home / ".pyenv"]:
        yield from sorted(root.glob(f"versions/{minor}.*/bin/{name}"))
    data = Path(environment.get("XDG_DATA_HOME") or home / ".local/share")
    managed = environment.get("UV_PYTHON_INSTALL_DIR") or str(data / "uv/python")
    yield from sorted(Path(managed).glob(f"cpython-{minor}.*/bin/{name}"))
    if sys.version_info[:2] == tuple(map(int, minor.split("."))):
        yield Path(getattr(sys, "_base_executable", sys.executable))
    for folder in environment.get("PATH", os.defpath).split(os.pathsep):
        if folder:
            yield from (Path(folder, name), Path(folder, "python3"))
