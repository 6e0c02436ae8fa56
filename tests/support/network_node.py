"""A network namespace with an address of its own: to every program outside of it, another machine.

A veth pair joins it to this machine. Needs root (``CAP_NET_ADMIN``).
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from itertools import count

from tests.support.missing import missing

_NETWORKS = count()


class NetworkNode:
    """One namespace. Programs that are started with :meth:`command` live in it."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        base = 10 << 24 | 192 << 16 | (number % (1 << 16)) << 2
        #: Of this machine and of the node, in a network of the two of them.
        self.outer, self.host = (_dotted(base + place) for place in (1, 2))
        self._link = f"{name}o"

    def command(self, *command: str) -> list[str]:
        """The argument vector that runs a program in the namespace, as the process that is started."""
        return ["nsenter", f"--net=/run/netns/{self.name}", "--", *command]

    def create(self) -> None:
        inner = f"{self.name}i"
        ip("netns", "add", self.name)
        ip("link", "add", self._link, "type", "veth", "peer", "name", inner, "netns", self.name)
        ip("address", "add", f"{self.outer}/30", "dev", self._link)
        ip("link", "set", self._link, "up")
        for device in (inner, "lo"):
            ip("-n", self.name, "link", "set", device, "up")
        ip("-n", self.name, "address", "add", f"{self.host}/30", "dev", inner)

    def remove(self) -> None:
        """Also while processes live in it, which are then alone."""
        for command in (("link", "del", self._link), ("netns", "del", self.name)):
            with contextlib.suppress(subprocess.CalledProcessError):
                ip(*command)

    @contextlib.contextmanager
    def unplugged(self) -> Iterator[None]:
        """Nothing reaches the node meanwhile, and nobody is told so: packets vanish."""
        ip("link", "set", self._link, "down")
        try:
            yield
        finally:
            ip("link", "set", self._link, "up")


@contextlib.contextmanager
def network_node() -> Iterator[NetworkNode]:
    """A namespace for a test; skips the test where none can be made."""
    if os.geteuid() or not (shutil.which("ip") and shutil.which("nsenter")):
        missing("a network namespace needs root, iproute2 and nsenter")
    number = os.getpid() * 4 + next(_NETWORKS)
    node = NetworkNode(f"md{os.getpid()}x{number % 1000}", number)
    try:
        node.create()
    except subprocess.CalledProcessError as error:
        node.remove()
        missing(f"no network namespace can be made here: {error.stderr.decode().strip()}")
    try:
        yield node
    finally:
        node.remove()


def ip(*arguments: str) -> None:
    """
    Raises:
        CalledProcessError: it failed; ``stderr`` says why.
    """
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=20)


def _dotted(address: int) -> str:
    return ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))
