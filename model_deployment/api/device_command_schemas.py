"""The bodies of calls about commands to devices."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from model_deployment.api.examples import example
from model_deployment.api.json_values import plain_json
from model_deployment.api.parameters import encodable
from model_deployment.api.release_policy import GroupName, each_once, name_of
from model_deployment.api.release_schemas import AT
from model_deployment.core.devices import DEVICE_NAME
from model_deployment.devices.views import NamedCommand

#: Devices and groups that a command may name.
_MOST_NAMED = 1000

_Name = Annotated[str, AfterValidator(encodable), Field(max_length=300)]


class CommandTargets(BaseModel):
    """Which devices a command is for; all that are not revoked, if neither is given."""

    model_config = ConfigDict(extra="forbid")

    devices: (
        Annotated[
            list[_Name], Field(min_length=1, max_length=_MOST_NAMED), AfterValidator(each_once)
        ]
        | None
    ) = Field(None, description="Names of devices.")
    groups: (
        Annotated[
            list[GroupName], Field(min_length=1, max_length=_MOST_NAMED), AfterValidator(each_once)
        ]
        | None
    ) = Field(None, description="Groups whose devices get it too.")


class CommandIn(CommandTargets):
    """A value that devices are to take."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "interval", "value": 30, "groups": ["hall-3"]}]},
    )

    name: Annotated[str, name_of("command")] = Field(
        description="What devices know the command by.",
        json_schema_extra={"pattern": f"^{DEVICE_NAME.pattern}$"},
    )
    value: Annotated[Any, AfterValidator(plain_json)] = Field(
        description="Any JSON of 4096 bytes at most."
    )


class DarkIn(CommandTargets):
    """Whether devices are to be dark."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"value": True, "devices": ["camera-7"]}]},
    )

    value: Annotated[bool, Field(strict=True)]


_COMMAND = {
    "id": 31, "device": "camera-7", "name": "dark", "value": True, "created_at": AT,
    "created_by": "ann", "delivered_at": AT, "answered_at": None, "ok": None, "answer": "",
}  # fmt: skip


class DeviceCommandOut(BaseModel):
    """A command to one device, and what the device has answered."""

    model_config = example(_COMMAND)

    id: int
    device: str
    name: str
    value: Any
    created_at: datetime
    created_by: str = Field(description="The user; empty if no password is needed.")
    delivered_at: datetime | None = Field(description="When it was sent to the device.")
    answered_at: datetime | None
    ok: bool | None = Field(description="What the device answered; null until then.")
    answer: str

    @classmethod
    def of(cls, named: NamedCommand) -> "DeviceCommandOut":
        names = cls.model_fields.keys() - {"device"}
        return cls(device=named.device, **{name: getattr(named.command, name) for name in names})


class OrderedOut(BaseModel):
    """A command that devices get now, or as soon as they are there."""

    model_config = example({"name": "dark", "value": True, "devices": ["camera-7", "camera-8"]})

    name: str
    value: Any
    devices: list[str] = Field(description="Devices that get it.")
