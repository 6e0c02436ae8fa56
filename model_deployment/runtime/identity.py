"""Identifies processes, so that a foreign process with a reused pid is never mistaken for a launch.

The machine's boot id, the pid and the start time in clock ticks since boot (field 22 of
``/proc/<pid>/stat``, see proc(5)) identify a process. Every process of a launch also carries a marker in
its environment, inherited by all that it starts, so that processes which leave the group are found too.
"""

import contextlib
import errno
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import psutil

#: The marker: ``<instance id>/<launch id>``, or ``<instance id>/<kind>.<id>`` of a process of our own that
#: outlives the controller, see ``companions.py``.
MARKER = "MODEL_DEPLOYMENT_LAUNCH"
#: Between kind and id. No launch id has one.
DOT = "."
#: Where the launch has to listen: ``<host>:<port>``.
ENDPOINT = "MODEL_DEPLOYMENT_ENDPOINT"
#: How the launch was started: ``FORK`` or ``SERVE``.
METHOD = "MODEL_DEPLOYMENT_METHOD"
FORK, SERVE = "fork", "serve"
#: Digest of the environment that the launch runs in; not set for the controller's own.
ENVIRONMENT = "MODEL_DEPLOYMENT_ENVIRONMENT"

_PROC = Path("/proc")
#: Bytes; more than most files there have.
_CHUNK = 16 * 1024


@dataclass(frozen=True, slots=True)
class Process:
    """A process at the moment when it was read."""

    pid: int
    #: Start time in clock ticks since boot.
    started: int
    group: int
    session: int
    zombie: bool
    #: Stopped by a signal, not by a debugger.
    stopped: bool = field(default=False, compare=False)
    #: CPU time in clock ticks.
    used: int = field(default=0, compare=False)


def read_file(pid: int, name: str) -> bytes:
    """A file of ``/proc/<pid>``. Without pathlib and io, which take three times as long.

    Raises:
        OSError: the process is gone, or it is another user's.
    """
    descriptor = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = b""
        while part := os.read(descriptor, _CHUNK):
            content += part
        return content
    finally:
        os.close(descriptor)


@cache
def boot_id() -> str:
    """The machine's boot; pids and monotonic times mean nothing in another one."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def read_process(pid: int) -> Process | None:
    """The process with a pid, or None."""
    try:
        text = read_file(pid, "stat")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name may hold spaces and parentheses, so count fields from the last one.
    fields = text[text.rindex(b")") + 2 :].split()
    return Process(
        pid=pid,
        zombie=fields[0] in (b"Z", b"X"),
        stopped=fields[0] == b"T",
        used=int(fields[11]) + int(fields[12]),
        group=int(fields[2]),
        session=int(fields[3]),
        started=int(fields[19]),
    )


def is_running(pid: int, started: int) -> bool:
    """Whether this very process lives, and is no zombie."""
    process = read_process(pid)
    return process is not None and process.started == started and not process.zombie


def environment(pid: int) -> bytes | None:
    """A process's initial environment as the kernel has it; None if it cannot be read.

    Raises:
        OSError: no descriptor is left, so nothing is known of the process.
    """
    try:
        return read_file(pid, "environ")
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        return None


def variable(environment: bytes, name: str) -> str | None:
    """A variable in an environment."""
    # One search in C, and no list of all variables: most processes have another environment.
    entry = f"\0{name}=".encode()
    _, found, rest = (b"\0" + environment).partition(entry)
    return rest.partition(b"\0")[0].decode(errors="replace") if found else None


def environment_variable(pid: int, name: str) -> str | None:
    """A variable in a process's initial environment; None if unset, or if it cannot be read.

    Raises:
        OSError: no descriptor is left, so nothing is known of the process.
    """
    return variable(environment(pid) or b"", name)


def marker_of(pid: int) -> str | None:
    return environment_variable(pid, MARKER)


def address(environment: bytes) -> tuple[str, int]:
    """Host and port where a process has to listen; ``("", 0)`` if unknown."""
    host, _, port = (variable(environment, ENDPOINT) or "").rpartition(":")
    return host, int(port or 0)


def launched_processes(instance: str) -> Iterator[tuple[str, Process]]:
    """Each living process of an instance's launches, with the id of its launch."""
    for name, process in _marked(instance):
        if DOT not in name:
            yield name, process


def companions(instance: str, kind: str = "") -> Iterator[tuple[str, Process]]:
    """Each living companion of an instance, with its id: of one kind, or of all kinds if it is empty.

    Only the companions themselves, not what they have started.
    """
    for name, process in _marked(instance):
        of, dot, id = name.partition(DOT)
        if dot and kind in ("", of) and process.session == process.pid:
            yield id, process


def of_kind(instance: str, kind: str) -> Iterator[Process]:
    """Each living companion of a kind, and what they have started."""
    for name, process in _marked(instance):
        of, dot, _ = name.partition(DOT)
        if dot and of == kind:
            yield process


def _marked(instance: str) -> Iterator[tuple[str, Process]]:
    """Each living process of an instance, with what its marker says behind the instance."""
    for pid in psutil.pids():
        owner, _, name = (marker_of(pid) or "").partition("/")
        if owner != instance or not name:
            continue
        process = read_process(pid)
        if process is not None and not process.zombie:
            yield name, process


def members(instance: str, launch_id: str, group: int) -> list[Process]:
    """Every living process of a launch: by its marker, or by its process group."""
    return members_of(instance, {launch_id: group})[launch_id]


def members_of(instance: str, groups: Mapping[str, int]) -> dict[str, list[Process]]:
    """The members of several launches, each with its group, in one pass over all processes.

    A program may overwrite its environment (setproctitle does), so the group counts as well, but only
    while one process in it carries the marker: then the group's number cannot have been reused.
    """
    launches = {f"{instance}/{launch_id}": launch_id for launch_id in groups}
    owners = {group: launch_id for launch_id, group in groups.items()}
    tagged: dict[str, list[Process]] = {launch_id: [] for launch_id in groups}
    grouped: dict[str, list[Process]] = {launch_id: [] for launch_id in groups}
    for pid in psutil.pids():
        process = read_process(pid)
        if process is None or process.zombie:
            continue
        if launch_id := launches.get(marker_of(pid) or ""):
            tagged[launch_id].append(process)
        elif launch_id := owners.get(process.group):
            grouped[launch_id].append(process)
    for launch_id, group in groups.items():
        if any(process.group == group for process in tagged[launch_id]):
            tagged[launch_id] += grouped[launch_id]
    return tagged


def send_signal(process: Process, number: signal.Signals) -> None:
    """Send a signal to exactly this process, which is checked after its descriptor was opened."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(process.pid)
        try:
            if is_running(process.pid, process.started):
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def kill(process: Process) -> None:
    """End exactly this process (SIGKILL)."""
    send_signal(process, signal.SIGKILL)


def peer_of(connection: socket.socket) -> Process | None:
    """The process at the other end of a Unix socket, which listens there: unix(7), SO_PEERCRED."""
    # <linux/socket.h>: struct ucred begins with the pid.
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return read_process(int.from_bytes(credentials[:4], sys.byteorder))
