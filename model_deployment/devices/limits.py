"""What a device may take of the controller; and how a connection ends."""

from dataclasses import dataclass
from enum import IntEnum

from model_deployment.core.devices import OFFLINE_AFTER
from model_deployment.devices.token_bucket import TokenBucket


class CloseCode(IntEnum):
    """Why a connection ends; see docs/reference/device-protocol.md and RFC 6455, section 7.4."""

    NOT_PROTOCOL = 4400
    TOKEN = 4401  # it is no longer good
    REPLACED = 4409  # a newer connection took the place
    RESTART = 1012  # the controller ends, or wants to have the messages again
    TOO_MANY = 1013


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLimits:
    """Limits of each device, but for the first."""

    #: Connected devices.
    devices: int = 5000
    #: Seconds to the first frame.
    hello: float = 10.0
    #: Seconds without a frame after which a connection ends.
    silence: float = OFFLINE_AFTER.total_seconds()
    #: Messages that were sent and are not stored, and their bytes.
    unacknowledged: int = 64
    unacknowledged_bytes: int = 2 * 1024 * 1024
    #: Frames a second, and at once.
    frames: float = 100.0
    frames_at_once: float = 500.0
    #: Bytes a second, and at once.
    bytes: float = 1024 * 1024
    bytes_at_once: float = 8 * 1024 * 1024
    #: Seconds that a message waits for its place in the inbox, before the device has to send it again.
    patience: float = 10.0
    #: Seconds in which a device has to take a frame.
    slow: float = 60.0
    #: Seconds for the last frames of a connection that ends.
    farewell: float = 5.0
    #: Seconds between two looks at all connections, and between two writings of what was seen.
    sweep: float = 1.0
    seen: float = 3.0


class DeviceRate:
    """How fast a device may send: it goes on from one connection to the next."""

    def __init__(self, limits: DeviceLimits, now: float) -> None:
        self._frames = TokenBucket(limits.frames, limits.frames_at_once, now)
        self._bytes = TokenBucket(limits.bytes, limits.bytes_at_once, now)

    def took(self, size: int, now: float) -> float:
        """A frame of so many bytes was taken; the seconds to wait before the next one."""
        return max(self._frames.take(1, now), self._bytes.take(size, now))

    def is_idle(self, now: float) -> bool:
        """Whether it is as a new one."""
        return self._frames.is_full(now) and self._bytes.is_full(now)
