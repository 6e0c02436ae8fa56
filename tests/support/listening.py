"""Who listens on which port, as ``/proc`` tells it."""

import contextlib
from pathlib import Path

#: As ``/proc/net/tcp`` writes a state, and addresses.
_LISTENS, _LOOPBACK_OR_ANY = "0A", ("0100007F", "00000000")


def listeners(first: int, last: int) -> dict[int, int | None]:
    """Who listens on which port of a range on 127.0.0.1 or 0.0.0.0; None: not ours to know."""
    ports = _listening(first, last)
    owners: dict[str, int] = {}
    for pid in sorted(pids()) if ports else ():
        if ports.keys() <= owners.keys():
            break
        owners = dict.fromkeys(_sockets(pid), pid) | owners
    return {port: owners.get(socket) for socket, port in ports.items()}


def _listening(first: int, last: int) -> dict[str, int]:
    """The port of each socket that listens in a range.

    The kernel names these first. Tests leave thousands of connections that have ended, and psutil would
    look at all of them.
    """
    found = {}
    with Path("/proc/net/tcp").open() as sockets:
        next(sockets)
        for fields in map(str.split, sockets):
            if fields[3] != _LISTENS:
                break
            address, _, port = fields[1].partition(":")
            if address in _LOOPBACK_OR_ANY and first <= int(port, 16) <= last:
                found[f"socket:[{fields[9]}]"] = int(port, 16)
    return found


def _sockets(pid: int) -> set[str]:
    """What the links to a process's open sockets say; empty if it ended, or is another user's."""
    found: set[str] = set()
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.add(str(descriptor.readlink()))
    return found


def listens(pid: int, port: int | None) -> bool:
    """Whether a process itself listens on a port that others may share: a fork and its parent do."""
    return port is not None and not _sockets(pid).isdisjoint(_listening(port, port))


def pids() -> list[int]:
    """Of all processes."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
