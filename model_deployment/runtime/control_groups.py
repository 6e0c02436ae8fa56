"""Control groups of local launches: the kernel bounds the memory and processors of each (cgroups(7)).

A launch with limits gets a group of its own, ``model_deployment/<instance>/<launch>`` below the group of
the controller, and is found there by its id after a restart of the controller. Its processes enter the
group before they load anything. Both versions of control groups are used, whichever has the controllers.

In version 2 a group whose children have controllers may hold no process itself: what is in the controller's
own group moves to a group beside those of launches. That is done only where the group was given to us: by
systemd (``Delegate=``), in a container that may write its groups, or at the root.
"""

import contextlib
import errno
import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from model_deployment.core.domain import Exit, LaunchSpec
from model_deployment.core.options import AUTO, Options
from model_deployment.rendering.numbers import size
from model_deployment.runtime.base import AddEvent

_OURS, _REST = "model_deployment", "model_deployment.rest"
#: Exit statuses of a process that the kernel killed, or whose worker it killed.
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
#: Microseconds in which the quota of processors is counted.
_PERIOD = 100_000
#: Processes and threads of a launch: for each worker process, which has a thread for each prediction that
#: waits, and besides.
_PROCESSES_EACH, _PROCESSES = 1024, 64
_HELP = (
    "run it as a service of systemd with Delegate=yes (and without ProtectControlGroups), or as root, or "
    "use start_method=container"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a launch; 0: none."""

    #: Bytes, without swap.
    memory: int
    processors: float
    #: Processes and threads.
    processes: int

    def controllers(self) -> tuple[str, ...]:
        """The controllers without which the limits do not hold."""
        asked = {"memory": self.memory, "cpu": self.processors}
        return tuple(name for name, limit in asked.items() if limit)


def limits_of(options: Options) -> Limits | None:
    """The limits that a deployment asks for outside of a container; None if it asks for none."""
    memory = 0 if options.memory_limit == AUTO else int(options.memory_limit)
    processors = 0.0 if options.cpu_limit == AUTO else float(options.cpu_limit)
    if options.contained or not (memory or processors):
        return None
    return Limits(memory, processors, most_processes(options))


def most_processes(options: Options) -> int:
    """Processes and threads of a launch with limits, in a container or not, at most."""
    return _PROCESSES + _PROCESSES_EACH * options.workers


class ControlGroups:
    """The groups of one instance's launches. All methods block."""

    def __init__(self, instance: str, root: Path = Path("/")) -> None:
        self._instance = instance
        #: By controller: the folder below which groups are made, and the version of control groups.
        self._bases = dict(_bases(root))

    def obstacle(self, limits: Limits) -> str:
        """Why no group with these limits can be made, and what helps; empty if one can."""
        try:
            self.make("check", limits)
        except OSError as error:
            return str(error)
        finally:
            self.remove("check")
        return ""

    def make(self, launch_id: str, limits: Limits) -> tuple[str, ...]:
        """Make the group of a launch; the files that its first process writes ``0`` to, to enter it.

        Raises:
            OSError: it cannot be made; with what helps. Nothing of it is left.
        """
        try:
            missing = [name for name in limits.controllers() if name not in self._bases]
            if missing:
                raise OSError(
                    errno.ENOENT, f"the system has no controller for {' and '.join(missing)}"
                )
            return tuple(dict.fromkeys(self._enter(launch_id, limits)))
        except OSError as error:
            self.remove(launch_id)
            why = error.strerror or str(error)
            raise OSError(f"cannot make a control group: {why.lower()}; {_HELP}") from error

    def _enter(self, launch_id: str, limits: Limits) -> Iterator[str]:
        for name in ("memory", "cpu", "pids"):
            if name not in self._bases or (name != "pids" and name not in limits.controllers()):
                continue
            base, version = self._bases[name]
            group = self._group(base, launch_id)
            if version == 2:
                _delegate(base, group, name)
            group.mkdir(parents=True, exist_ok=True)
            for file, value in _values(name, version, limits):
                _write(group, file, value)
            yield str(group / "cgroup.procs")

    def _group(self, base: Path, launch_id: str) -> Path:
        return base / _OURS / self._instance / launch_id

    def ran_out_of_memory(self, launch_id: str) -> bool:
        """Whether the kernel has killed a process of the launch at the limit of its group."""
        if "memory" not in self._bases:
            return False
        base, version = self._bases["memory"]
        file = "memory.events" if version == 2 else "memory.oom_control"
        with contextlib.suppress(OSError):
            lines = (self._group(base, launch_id) / file).read_text().splitlines()
            return any(line.startswith("oom_kill ") and line.split()[1] != "0" for line in lines)
        return False

    def limit(self, spec: LaunchSpec, add_event: AddEvent) -> LaunchSpec:
        """The order with the control groups that its limits need; without them where none can be made.

        A deploy is refused then. A launch of a deployment that was made before starts all the same.
        """
        limits = limits_of(spec.options)
        if limits is None:
            return spec
        try:
            return replace(spec, control_groups=self.make(spec.launch_id, limits))
        except OSError as error:
            add_event(spec.key, f"started without memory_limit and cpu_limit: {error}")
            return spec

    def end(self, launch_id: str, gone: Exit, *, stopped: bool) -> Exit:
        """How a launch ended, where the limit of its memory ended it; its group is removed.

        Args:
            gone: what its exit status says.
            stopped: it was told to end.
        """
        ended = not stopped and gone.code in _KILLED and self.ran_out_of_memory(launch_id)
        limit = self._memory_limit(launch_id) if ended else 0
        self.remove(launch_id)
        if not ended:
            return gone
        return replace(
            gone,
            reason=f"the process was killed, since it needs more memory than its memory_limit of "
            f"{size(limit)}; deploy the model with a larger memory_limit",
        )

    def _memory_limit(self, launch_id: str) -> int:
        base, version = self._bases["memory"]
        file = "memory.max" if version == 2 else "memory.limit_in_bytes"
        with contextlib.suppress(OSError, ValueError):
            return int((self._group(base, launch_id) / file).read_text())
        return 0

    def remove(self, launch_id: str) -> None:
        """Remove the group of a launch, unless processes are in it still; :meth:`tidy` finds it then."""
        for base, _ in {*self._bases.values()}:
            group = self._group(base, launch_id)
            with contextlib.suppress(OSError):
                group.rmdir()
                group.parent.rmdir()
                group.parent.parent.rmdir()

    def tidy(self, keep: Iterable[str]) -> None:
        """Remove the groups of launches that have ended, but of these."""
        kept = {*keep}
        for base, _ in {*self._bases.values()}:
            with contextlib.suppress(OSError):
                for group in [*(base / _OURS / self._instance).iterdir()]:
                    if group.is_dir() and group.name not in kept:
                        self.remove(group.name)


def _bases(root: Path) -> Iterator[tuple[str, tuple[Path, int]]]:
    """Where groups of each controller can be made, by the groups of this process."""
    top = root / "sys/fs/cgroup"
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            names, version = controllers.split(","), 1
            if not controllers:
                place = top if (top / "cgroup.controllers").exists() else top / "unified"
                names, version = (place / "cgroup.controllers").read_text().split(), 2
            for name in {*names} & {"memory", "cpu", "pids"}:
                place = (
                    place if version == 2 else top / (controllers if name != controllers else name)
                )
                yield name, (_own(place, path), version)


def _own(place: Path, path: str) -> Path:
    """The group of this process; in a container the path may be that of the host, and not exist."""
    own = place / path.lstrip("/")
    own = own if ".." not in path and own.is_dir() else place
    return own.parent if own.name == _REST else own


def _delegate(base: Path, group: Path, name: str) -> None:
    """Have the groups between the controller's own and that of a launch pass a controller on.

    Raises:
        OSError: the controller's own group was not given to us, or cannot be written.
    """
    for folder in (base, *reversed(group.relative_to(base).parents)):
        between = base / folder
        between.mkdir(exist_ok=True)
        control = between / "cgroup.subtree_control"
        if name in control.read_text().split():
            continue
        try:
            control.write_text(f"+{name}")
        except OSError as error:
            if error.errno != errno.EBUSY or between != base or not _given(base):
                raise
            _make_room(base)
            control.write_text(f"+{name}")


def _given(base: Path) -> bool:
    """Whether systemd has delegated a group, or this process owns it without being root."""
    for attribute in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(base, attribute) == b"1":
                return True
    top = not (base / "cgroup.type").exists()
    return top or (os.geteuid() != 0 and base.stat().st_uid == os.geteuid())


def _make_room(base: Path) -> None:
    """Move the processes of a group to one beside those of launches."""
    rest = base / _REST
    rest.mkdir(exist_ok=True)
    for pid in (base / "cgroup.procs").read_text().split():
        with contextlib.suppress(ProcessLookupError):
            (rest / "cgroup.procs").write_text(pid)


def _values(name: str, version: int, limits: Limits) -> Iterator[tuple[str, str]]:
    """The files of a controller and what is written to them, in order."""
    if name == "pids":
        yield "pids.max", str(limits.processes)
    elif name == "memory":
        most = str(limits.memory)
        yield "memory.max" if version == 2 else "memory.limit_in_bytes", most
        # Where the system counts swap: it would only put off the end, and slow all others down.
        yield ("memory.swap.max", "0") if version == 2 else ("memory.memsw.limit_in_bytes", most)
    else:
        quota = max(1000, round(limits.processors * _PERIOD))
        if version == 2:
            yield "cpu.max", f"{quota} {_PERIOD}"
        else:
            yield "cpu.cfs_period_us", str(_PERIOD)
            yield "cpu.cfs_quota_us", str(quota)


def _write(group: Path, file: str, value: str) -> None:
    optional = "sw" in file or file == "pids.max"
    with contextlib.suppress(OSError) if optional else contextlib.nullcontext():
        (group / file).write_text(value)
