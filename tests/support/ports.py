"""Ports for the programs that tests start."""

import os
import socket
from contextlib import suppress

HOST = "127.0.0.1"
#: Ports of each worker, below the ephemeral range, where any connection of anybody could take one.
_FIRST, _EACH, _WORKERS = 24000, 1000, 8
#: Claims that count: how many ports from which one on, the oldest first.
_claimed: dict[int, int] = {}
_next = os.getpid() * 7  # runs that are under way at the same time begin in different places


def claim_ports(number: int) -> int:
    """The first of a run of ports that nobody listens on, and no other test claims.

    A claim counts until :func:`release_ports`, or until there are no others left.
    """
    global _next  # noqa: PLW0603
    # Of a run without workers, any place: others may be under way.
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", f"gw{os.getpid()}")[2:]) % _WORKERS
    while True:
        for _ in range(_EACH):
            first = _FIRST + worker * _EACH + _next % (_EACH - number)
            _next += 1
            if _unclaimed(first, number) and all(map(_free, range(first, first + number))):
                _claimed[first] = number
                _next += number - 1
                return first
        release_ports(next(iter(_claimed)))


def release_ports(first: int) -> None:
    """Let others claim a run."""
    _claimed.pop(first, None)


def _unclaimed(first: int, number: int) -> bool:
    return all(first + number <= other or other + size <= first for other, size in _claimed.items())


def claim_range(number: int) -> tuple[int, int]:
    """The first and the last of such a run."""
    first = claim_ports(number)
    return first, first + number - 1


def free_port() -> int:
    """A port that nobody listens on."""
    return claim_ports(1)


def _free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        probe.listen(1)
        return True
    return False
