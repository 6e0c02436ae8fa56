"""Ports for the programs that tests start."""

import os
import socket
from contextlib import suppress
from itertools import count

HOST = "127.0.0.1"
_claims = count()


def claim_ports(number: int) -> int:
    """The first of a run of ports that nobody listens on and no other worker claims.

    Below the ephemeral range, where any connection of anybody could take one, and apart from the
    default 8001-8100.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 8
    size = 1000
    while True:
        # Runs that are under way at the same time begin in different places.
        offset = (os.getpid() * 7 + next(_claims) * 20) % (size - number)
        first = 24000 + worker * size + offset
        if all(_free(port) for port in range(first, first + number)):
            return first


def claim_range(number: int) -> tuple[int, int]:
    """The first and the last of such a run."""
    first = claim_ports(number)
    return first, first + number - 1


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        probe.listen(1)
        return True
    return False
