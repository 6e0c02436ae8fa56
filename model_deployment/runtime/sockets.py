"""Finds out whether a port of this machine is free, before a launch gets it."""

import errno
import socket

import psutil


def holder(host: str, port: int) -> str | None:
    """The program that occupies a port, by a name for messages; None for a free port.

    Binds with ``SO_REUSEADDR`` as uvicorn does, so that connections in ``TIME_WAIT`` do not count.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return _name(port)
            return f"the system ({error.strerror})"
    return None


def _name(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return "another program"
