"""What devices have sent, on its way through the state database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from model_deployment.core.devices import DeviceMessage, MessageKind

#: Lines of a log in one message, and kept of one device.
LINES_OF_MESSAGE, LINES_KEPT = 100, 1_000


@dataclass(frozen=True, slots=True)
class BrokenMessage:
    """A numbered message that breaks a rule of its kind. It becomes a line of the device's log."""

    seq: int
    #: What is wrong, for people; what the device has sent is escaped in it.
    reason: str


@dataclass(frozen=True, slots=True)
class ReceivedBatch:
    """Messages of one device, as they came together."""

    device_id: int
    #: Of the connection that they came over; None: by HTTP, without a connection.
    generation: int | None
    #: Names the device's store of unsent messages.
    stream: str
    messages: Sequence[DeviceMessage | BrokenMessage]
    #: When they came, by the clock of the controller.
    at: datetime


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message of a device that is stored in the state database."""

    id: int
    #: Of the project and the device.
    project_id: int
    device_id: int
    #: Their names.
    project: str
    device: str
    stream: str
    seq: int
    kind: MessageKind
    #: By the clock of the device.
    at: datetime
    received_at: datetime
    #: JSON; ``devices/frames.py`` says what is in it.
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeviceLogLine:
    """A line of a device's log."""

    #: Rises with each line that was stored; pages go on before it.
    id: int
    #: By the clock of the device.
    at: datetime
    level: str
    text: str
