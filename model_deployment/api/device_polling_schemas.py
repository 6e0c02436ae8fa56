"""The bodies of calls by which devices ask what they should run, and send messages."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from model_deployment.api.examples import example
from model_deployment.core.devices import DeviceCommand
from model_deployment.devices.frames import MAX_MESSAGES

_MANIFEST = (
    '{"created":1769860800000,"expires":1777636800000,"format":1,"model":"diabetes","number":4,…}'
)
_RELEASE = {"manifest": _MANIFEST, "signature": "qF3x…==", "key": "0123456789abcdef"}
_COMMAND = {"id": 12, "name": "dark", "value": True}


class SignedReleaseOut(BaseModel):
    """A release as devices get it."""

    model_config = example(_RELEASE)

    manifest: str = Field(description="Canonical JSON, as it was signed.")
    signature: str = Field(description="Ed25519 over the bytes of the manifest, in base64.")
    key: str = Field(description="Id of the key that signed it.")


class OpenCommandOut(BaseModel):
    """A command that the device has not answered."""

    model_config = example(_COMMAND)

    id: int
    name: str
    value: Any

    @classmethod
    def of(cls, command: DeviceCommand) -> Self:
        return cls(id=command.id, name=command.name, value=command.value)


class ActiveModelOut(BaseModel):
    """What a device should run."""

    model_config = example({"release": _RELEASE, "commands": [_COMMAND], "time": 1769860812345})

    release: SignedReleaseOut | None = Field(description="Null: nothing.")
    commands: list[OpenCommandOut] = Field(description="Oldest first.")
    time: int = Field(description="The controller's clock: milliseconds since 1970.")


class MessagesIn(BaseModel):
    """What a device without a socket sends."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "agent": "1.0.0",
                    "stream": "b7c1e0",
                    "running": 4,
                    "health": {"disk_free": 812345678},
                    "messages": [
                        {
                            "seq": 1,
                            "kind": "log",
                            "at": 1769860812345,
                            "data": {
                                "lines": [
                                    {"at": 1769860812000, "level": "info", "text": "up again"}
                                ]
                            },
                        }
                    ],
                }
            ]
        }
    )

    agent: str = Field(description="Version of the agent.")
    stream: str = Field(description="Names the device's store of unsent messages.")
    running: int | None = Field(None, description="Number of the release that it runs.")
    health: dict[str, Any] | None = Field(
        None, description="At most 20 numbers or short texts: memory, disk, temperature."
    )
    messages: list[dict[str, Any]] = Field(
        [],
        max_length=MAX_MESSAGES,
        description="Numbered messages, in order; docs/reference/device-protocol.md has their kinds.",
    )


class ReceivedOut(BaseModel):
    """How far a stream is stored."""

    model_config = example({"received": 1})

    received: int = Field(description="Number of the last message of the stream that is stored.")
