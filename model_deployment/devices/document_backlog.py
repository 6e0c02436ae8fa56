"""How much of what devices sent waits in the state database for the document store."""

from model_deployment.core.devices import MessageKind

#: Kinds of messages that go on to the document store.
CARRIED = frozenset({MessageKind.METRICS, MessageKind.CAPTURES})
#: Bytes that may wait. Beyond, devices keep their messages, so that nothing is lost.
MOST_WAITING = 256 * 1024 * 1024


class DocumentBacklog:
    """Bytes of waiting messages, as good as counted: a delivery that leaves nothing sets them right."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._most = most
        self.bytes = 0

    @property
    def full(self) -> bool:
        return self.bytes >= self._most

    @property
    def has_room(self) -> bool:
        """Whether devices that were held up may send again: not before a tenth is free."""
        return self.bytes < 0.9 * self._most

    def grew(self, size: int) -> None:
        self.bytes += size

    def shrank(self, size: int) -> None:
        self.bytes = max(0, self.bytes - size)
