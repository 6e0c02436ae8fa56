"""How many ports of the pool are in use."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BlockedPort:
    """A port of the range on which a foreign process listens."""

    port: int
    holder: str


@dataclass(frozen=True, slots=True)
class PortUsage:
    """The port pool at one moment."""

    first: int
    last: int
    leased: int
    quarantined: int
    blocked: tuple[BlockedPort, ...]

    @property
    def size(self) -> int:
        """Ports in the range."""
        return self.last - self.first + 1

    @property
    def usable(self) -> int:
        """Ports that launches can have."""
        return self.size - len(self.blocked)

    @property
    def free(self) -> int:
        """Ports a launch could take now."""
        return self.size - self.leased - self.quarantined - len(self.blocked)
