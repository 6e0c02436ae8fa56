"""The socket that callers connect to: taken over from a living proxy, or opened anew.

All proxies share one listening socket. Its queue of connections belongs to the socket and not to a process:
when a proxy ends, even by SIGKILL, another one takes those who wait there. With a socket for each
(SO_REUSEPORT) they would be lost. The controller holds it too, so callers wait while no proxy lives.
"""

import contextlib
import logging
import os
import socket
import time
from pathlib import Path

from model_deployment.core.errors import StateError
from model_deployment.data_plane.decide import START_TIMEOUT
from model_deployment.data_plane.starter import KIND
from model_deployment.http.listener import admit_again, listen
from model_deployment.http.unix_sockets import open_folder
from model_deployment.proxy import protocol
from model_deployment.runtime import companions, identity

_log = logging.getLogger(__name__)

#: Seconds that a proxy may take to hand over the socket, and that the address may take to become free.
_PATIENCE = 2.0
_LOOK = 0.02
#: Seconds between two looks at proxies that start: each reads the environment of every process.
_STARTING_LOOK = 0.1


def take_over_or_listen(folder: Path, instance: str, host: str, port: int) -> socket.socket:
    """The listening socket of an address.

    Blocks for seconds at most, or until the proxies have started that the last controller was starting when
    it was killed: such a one holds the address, and has nothing yet at which it could be asked for it.

    Args:
        folder: the one with the control sockets of proxies.
        instance: name of the data directory, which all proxies carry; empty if it has none yet.

    Raises:
        StateError: another program uses the address, or it cannot be used.
    """
    with contextlib.suppress(StateError):
        return _take_over_or_listen(folder, host, port)
    _await_starting(folder, instance)
    return _take_over_or_listen(folder, host, port)


def _await_starting(folder: Path, instance: str) -> None:
    if _starting(folder, instance):
        _log.info("waiting for a proxy that the last controller has started")
    if left := _left_after(START_TIMEOUT, folder, instance):
        for one in left:
            _log.warning("killing a proxy that does not start: pid %s", one.pid)
            one.kill()
        _left_after(_PATIENCE, folder, instance)


def _left_after(seconds: float, folder: Path, instance: str) -> list[companions.Companion]:
    """Proxies that are still starting after some time."""
    end = time.monotonic() + seconds
    while (starting := _starting(folder, instance)) and time.monotonic() < end:
        time.sleep(_STARTING_LOOK)
    return starting


def _starting(folder: Path, instance: str) -> list[companions.Companion]:
    """Living proxies without a control socket; none if nobody can tell."""
    try:
        living = companions.living(instance, KIND)
    except OSError as error:  # no descriptor is left
        _log.warning("cannot look for proxies that start: %s", error)
        return []
    return [one for one in living if not (folder / protocol.socket_name(one.id)).exists()]


def _take_over_or_listen(folder: Path, host: str, port: int) -> socket.socket:
    unanswered: list[identity.Process] = []
    elsewhere: list[str] = []
    for path in _control_sockets(folder):
        found, peer = _ask(folder, path.name)
        if found is None:
            unanswered += [peer] if peer else []
            continue
        if found.getsockname()[:2] in _addresses(host, port):
            _log.info("took over the listening socket of %s:%s from a proxy", host, port)
            admit_again(found)  # the last controller may have been killed while it was stopping
            return found
        if found.getsockname()[1] == port:
            elsewhere.append(path.name)
        found.close()
    try:
        return listen(host, port)
    except StateError:
        # An address of this port that has the other one in it, such as 127.0.0.1 and 0.0.0.0.
        for name in elsewhere:
            _log.warning("a proxy of other settings is told to leave port %s: %s", port, name)
            _retire(folder, name)
        for process in unanswered:
            # A proxy of ours that is stopped may hold the address, and answers nobody.
            _log.warning("killing a proxy that does not hand over its socket: pid %s", process.pid)
            identity.kill(process)
        if not elsewhere and not unanswered:
            raise
    return _listen_soon(host, port)


def drop_stale_sockets(folder: Path) -> None:
    """Delete the control sockets of proxies that were killed."""
    for path in _control_sockets(folder):
        with socket.socket(socket.AF_UNIX) as connection, open_folder(folder) as short:
            connection.setblocking(False)
            try:
                connection.connect(f"{short}/{path.name}")
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
            except OSError:  # somebody listens, and is busy
                continue


def _control_sockets(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*.sock")) if path.name != protocol.API_SOCKET]


def _addresses(host: str, port: int) -> set[tuple[str, int]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {(str(address[0]), int(address[1])) for *_, address in found}


def _listen_soon(host: str, port: int) -> socket.socket:
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            return listen(host, port)
        except StateError:
            if time.monotonic() >= end:
                raise
            time.sleep(_LOOK)


def _retire(folder: Path, name: str) -> None:
    """Have a proxy close its listening socket, and end when its requests are answered."""
    with socket.socket(socket.AF_UNIX) as connection, open_folder(folder) as path:
        connection.settimeout(_PATIENCE)
        with contextlib.suppress(OSError):  # it has ended meanwhile
            connection.connect(f"{path}/{name}")
            connection.sendall(protocol.encode({"op": "retire", "last": True, "patience": None}))


def _ask(folder: Path, name: str) -> tuple[socket.socket | None, identity.Process | None]:
    """The listening socket of a proxy, or the process that did not hand it over."""
    with socket.socket(socket.AF_UNIX) as connection, open_folder(folder) as path:
        connection.settimeout(_PATIENCE)
        try:
            connection.connect(f"{path}/{name}")
        except (FileNotFoundError, ConnectionError):
            (folder / name).unlink(missing_ok=True)  # the proxy was killed
            return None, None
        except OSError:  # its queue of connections is full: it does not accept any
            return None, None
        peer = identity.peer_of(connection)
        try:
            connection.sendall(protocol.encode({"op": "listener"}))
            _, descriptors, _, _ = socket.recv_fds(connection, 1024, 1)
        except OSError:
            descriptors = []
        for extra in descriptors[1:]:
            os.close(extra)
        return (socket.socket(fileno=descriptors[0]) if descriptors else None), peer
