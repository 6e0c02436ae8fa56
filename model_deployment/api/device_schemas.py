"""The bodies of calls about devices: what one is, what it is told, and what it says."""

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from model_deployment.api.examples import example
from model_deployment.api.json_values import plain_json
from model_deployment.api.registry_schemas import finite
from model_deployment.api.release_policy import GroupNames
from model_deployment.api.release_schemas import AT
from model_deployment.core.device_messages import DeviceLogLine
from model_deployment.core.devices import (
    MAX_ATTRIBUTES,
    Presence,
    UpdateState,
)
from model_deployment.devices.views import DeviceView

#: Characters of the name and of the text of an attribute.
_MOST_NAME, _MOST_TEXT = 64, 200


def attributes(given: dict[str, Any]) -> dict[str, Any]:
    """Return attributes of a device, if they are few, and short.

    Raises:
        ValueError: they are not; the message says what helps.
    """
    if len(given) > MAX_ATTRIBUTES:
        raise ValueError(f"it has {len(given)} members; a device has {MAX_ATTRIBUTES} at most")
    for name, value in given.items():
        if not 1 <= len(name) <= _MOST_NAME or not name.isprintable():
            raise ValueError(
                f"{name[:60]!a} cannot be the name of an attribute: it has 1 to {_MOST_NAME} printable "
                "characters"
            )
        if isinstance(value, str) and len(value) > _MOST_TEXT:
            raise ValueError(f"{name} has {len(value)} characters; a text has {_MOST_TEXT} at most")
        if isinstance(value, dict | list):
            raise ValueError(f"{name} must be a text, a number, true, false or null")
    plain_json(given)
    return given


Attributes = Annotated[
    dict[str, Any],
    AfterValidator(attributes),
    Field(
        json_schema_extra={
            "additionalProperties": {
                "anyOf": [{"type": kind} for kind in ("string", "number", "boolean", "null")]
            }
        }
    ),
]


class DeviceReleaseOut(BaseModel):
    """What a device should run, what it runs, and how far it is."""

    wanted: int | None = Field(description="Number of the release; null: none.")
    running: int | None = Field(description="As the device says; null: none.")
    state: UpdateState | None = Field(
        description="Of the wanted one; null until the device was told of it."
    )
    reason: str
    since: datetime | None = Field(description="When it entered this state.")
    bytes: int = Field(description="Bytes of the wanted one that it has.")
    of: int = Field(description="Bytes that it needs; 0 until it is known.")


_DEVICE: dict[str, Any] = {
    "id": 7, "name": "camera-7", "project": "warehouse", "state": "online", "connected": True,
    "groups": ["canary"], "attributes": {"place": "hall 3"}, "agent": "0.1.0",
    "release": {"wanted": 4, "running": 3, "state": "downloading", "reason": "", "since": AT,
                "bytes": 1_500_000, "of": 4_000_000},
    "health": {"memory": 0.4, "temperature": 51.5}, "last_seen_at": AT, "created_at": AT,
    "revoked_at": None,
}  # fmt: skip


class DeviceOut(BaseModel):
    """A device: whether it is there, and what it runs."""

    model_config = example(_DEVICE)

    id: int
    name: str
    project: str
    state: Presence = Field(
        description="By what has come of it: `offline` after 60 s without anything."
    )
    connected: bool = Field(description="It has a socket now.")
    groups: list[str]
    attributes: dict[str, Any] = Field(description="What the device says of itself.")
    agent: str = Field(description="Version of its agent; empty until it connected.")
    release: DeviceReleaseOut
    health: dict[str, Any] = Field(description="What it last said: memory, disk, temperature.")
    last_seen_at: datetime | None
    created_at: datetime
    revoked_at: datetime | None

    @classmethod
    def of(cls, view: DeviceView) -> Self:
        device, update = view.device, view.update
        same = ("id", "name", "agent", "last_seen_at", "created_at", "revoked_at")
        return cls(
            **{name: getattr(device, name) for name in same},
            project=view.project,
            state=view.presence,
            connected=view.connected,
            groups=[*device.groups],
            attributes=dict(device.attributes),
            health=finite(device.health),
            release=DeviceReleaseOut(
                wanted=view.wanted,
                running=device.running,
                state=update.state if update else None,
                reason=update.reason if update else "",
                since=update.since if update else None,
                bytes=update.bytes if update else 0,
                of=update.of if update else 0,
            ),
        )


class DeviceChangeIn(BaseModel):
    """What changes of a device; what is left out stays."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"groups": ["canary", "hall-3"]}]}
    )

    groups: GroupNames | None = Field(None, description="All its groups from now on.")
    attributes: Attributes | None = Field(None, description="All its attributes from now on.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.groups is None and self.attributes is None:
            raise ValueError("it changes nothing: give groups or attributes")
        return self


class DeviceLogLineOut(BaseModel):
    """A line of a device's log."""

    model_config = example({
        "id": 812, "at": AT, "level": "warning", "text": "the disk has 80 MB left",
    })  # fmt: skip

    id: int = Field(description="Rises with each line that was stored.")
    at: datetime = Field(description="By the clock of the device.")
    level: str
    text: str

    @classmethod
    def of(cls, line: DeviceLogLine) -> "DeviceLogLineOut":
        return cls(id=line.id, at=line.at, level=line.level, text=line.text)
