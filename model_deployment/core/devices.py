"""Devices at the edge: their projects, what one is, and whether it is there.

A **project** groups models and the devices that run them. A **device** enrols once with a code, then has a
token. Which release it should run is decided in ``devices/decide.py``; what it says is in
``devices/frames.py``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from model_deployment.core.errors import InvalidName
from model_deployment.core.names import RESERVED_NAMES

#: What a project, a device, a group or a command may be called: a path segment, a file name and a field of
#: logs.
DEVICE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
#: Beginning of each token of a device, so that it is never taken for a password.
TOKEN_PREFIX = "mdd_"  # noqa: S105 - no token
#: A device of which nothing has come for so long is offline.
OFFLINE_AFTER = timedelta(seconds=60)
#: Members of a project's list of models, groups of a device, attributes of a device: at most.
MAX_MODELS, MAX_GROUPS, MAX_ATTRIBUTES = 100, 20, 50


def device_name(text: str, what: str) -> str:
    """Check the name of a project, a device, a group or a command as it came from a caller.

    Args:
        what: ``project``, ``device``, ``group`` or ``command``, for the message.

    Raises:
        InvalidName: it cannot be used; the message says why.
    """
    if not DEVICE_NAME.fullmatch(text):
        raise InvalidName(
            f"cannot use the {what} name {text[:60]!a}: it has 1 to 64 letters, digits, '.', '_' and '-', "
            "and begins with a letter or a digit"
        )
    if what == "project" and text.lower() in RESERVED_NAMES:
        raise InvalidName(
            f"cannot use the project name {text!a}: it is reserved for the controller's own paths"
        )
    return text


@dataclass(frozen=True, slots=True)
class DeviceProject:
    """One row of the state database."""

    id: int
    name: str
    #: Registered models whose versions may be released.
    models: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A code that lets one device register. The code itself is not stored."""

    id: int
    project_id: int
    #: Groups that the device gets.
    groups: tuple[str, ...]
    #: The only name that the device may take; None: any new one.
    device: str | None
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None


class Presence(StrEnum):
    """Whether a device is there."""

    NEVER = "never"  # nothing has come of it since it registered
    ONLINE = "online"
    OFFLINE = "offline"
    REVOKED = "revoked"  # its token is no longer good


class UpdateState(StrEnum):
    """How far a device is with a release; see ``devices/decide.py``."""

    OFFERED = "offered"  # it was told of it
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    TRYING = "trying"  # it predicts its example
    RUNNING = "running"  # success
    FAILED = "failed"  # it could not, or it went back later; it runs what it ran before
    REFUSED = "refused"  # it may not: signature, expiry, lower number, agent too old


#: A device is busy with the release.
UNDER_WAY = frozenset(
    {UpdateState.OFFERED, UpdateState.DOWNLOADING, UpdateState.VERIFYING, UpdateState.TRYING}
)
#: It counts as a failure of the release.
UNSUCCESSFUL = frozenset({UpdateState.FAILED, UpdateState.REFUSED})


@dataclass(frozen=True, slots=True)
class DeviceUpdate:
    """What a device has made of one release; the newest report counts."""

    device_id: int
    release_id: int
    #: Number of the release.
    number: int
    state: UpdateState
    reason: str
    #: When it entered its state.
    since: datetime
    #: Bytes that it has, and needs.
    bytes: int = 0
    of: int = 0


@dataclass(frozen=True, slots=True)
class Device:
    """One row of the state database."""

    id: int
    project_id: int
    name: str
    groups: tuple[str, ...]
    #: What the device says of itself (hardware, place, serial number). JSON.
    attributes: Mapping[str, Any]
    created_at: datetime
    revoked_at: datetime | None = None
    #: When anything last came of it.
    last_seen_at: datetime | None = None
    #: Version of its agent; empty until it connected.
    agent: str = ""
    #: Names its store of unsent messages; empty until it connected.
    stream: str = ""
    #: Number of the last message of the stream that is stored.
    received: int = 0
    #: Number of connections so far. Only the newest one may write.
    generation: int = 0
    #: Number of the release that it runs, as it says; None if none.
    running: int | None = None
    #: What it last said of itself: memory, disk, temperature. JSON.
    health: Mapping[str, Any] = field(default_factory=dict)


def presence(device: Device, now: datetime) -> Presence:
    """Whether a device is there, by what has come of it: a socket that merely exists counts for nothing."""
    if device.revoked_at is not None:
        return Presence.REVOKED
    if device.last_seen_at is None:
        return Presence.NEVER
    return Presence.ONLINE if now - device.last_seen_at < OFFLINE_AFTER else Presence.OFFLINE


@dataclass(frozen=True, slots=True)
class DeviceCommand:
    """A value that a device is to take, for example ``dark: true``.

    A newer one of the same name replaces it.
    """

    id: int
    device_id: int
    name: str
    #: JSON.
    value: Any
    created_at: datetime
    created_by: str
    delivered_at: datetime | None = None
    answered_at: datetime | None = None
    #: What the device answered; None until then.
    ok: bool | None = None
    answer: str = ""


class MessageKind(StrEnum):
    """What a message of a device is about."""

    PROGRESS = "progress"
    METRICS = "metrics"
    LOG = "log"
    CAPTURES = "captures"
    ANSWER = "answer"  # to a command


@dataclass(frozen=True, slots=True)
class DeviceMessage:
    """A numbered message of a device, checked: it is stored once, whatever happens to connections."""

    seq: int
    kind: MessageKind
    #: As the device's clock had it.
    at: datetime
    #: JSON; ``devices/frames.py`` says what is in it.
    data: Mapping[str, Any]
