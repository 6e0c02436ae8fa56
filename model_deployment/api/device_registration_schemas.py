"""The bodies of calls with which a device becomes one."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from model_deployment.api.device_schemas import Attributes
from model_deployment.api.examples import example
from model_deployment.api.parameters import encodable
from model_deployment.api.release_policy import GroupNames
from model_deployment.api.release_schemas import AT
from model_deployment.core.devices import DEVICE_NAME
from model_deployment.devices.views import EnrolmentCode
from model_deployment.devices.views import RegisteredDevice as Registration

_Name = Annotated[str, AfterValidator(encodable), Field(max_length=300)]


class EnrolmentIn(BaseModel):
    """For which device an enrolment code is."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"groups": ["canary"], "device": "camera-7"}]},
    )

    groups: GroupNames = Field([], description="Groups that the device gets.")
    device: _Name | None = Field(
        None,
        description="The only name that the device may take. A device of this name that is registered "
        "already registers anew, and its token of before is no longer good.",
        json_schema_extra={"pattern": f"^{DEVICE_NAME.pattern}$"},
    )


class EnrolmentOut(BaseModel):
    """A code with which one device registers. It is shown once."""

    model_config = example({
        "project": "warehouse", "code": "mdc_4fNq…xA.0123456789abcdef", "groups": ["canary"],
        "device": "camera-7", "created_at": AT, "expires_at": "2026-01-31T12:15:00Z",
        "command": "model-deployment-agent enrol https://models.example.com warehouse - --name camera-7",
    })  # fmt: skip

    project: str
    code: str
    groups: list[str]
    device: str | None
    created_at: datetime
    expires_at: datetime
    command: str = Field(
        description="What to run on the device. It reads the code from standard input, so that the code is "
        "in no list of commands or processes."
    )

    @classmethod
    def of(cls, made: EnrolmentCode, project: str, base_url: str) -> "EnrolmentOut":
        enrolment = made.enrolment
        command = f"model-deployment-agent enrol {base_url.rstrip('/')} {project} -"
        if enrolment.device is not None:
            command += f" --name {enrolment.device}"
        return cls(
            project=project,
            code=made.code,
            groups=[*enrolment.groups],
            device=enrolment.device,
            created_at=enrolment.created_at,
            expires_at=enrolment.expires_at,
            command=command,
        )


class RegisterIn(BaseModel):
    """What a device sends to register."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "code": "mdc_4fNq0123456789012345678901234567890123456xA.0123456789abcdef",
                    "device": "camera-7",
                    "attributes": {"place": "hall 3"},
                }
            ]
        },
    )

    code: Annotated[str, AfterValidator(encodable)] = Field(max_length=200)
    device: _Name = Field(
        description="Name of the device.",
        json_schema_extra={"pattern": f"^{DEVICE_NAME.pattern}$"},
    )
    attributes: Attributes = Field(
        {}, description="What the device says of itself: texts, numbers, true, false."
    )


class ReleaseKeyOut(BaseModel):
    """The public key of releases."""

    id: str = Field(description="First 16 hexadecimal digits of its SHA-256.")
    public: str = Field(description="32 bytes in base64 (Ed25519).")


class RegisteredDeviceOut(BaseModel):
    """A device and its token, which is shown once."""

    model_config = example({
        "device": "camera-7", "project": "warehouse", "token": "mdd_8kY…",
        "key": {"id": "0123456789abcdef", "public": "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="},
    })  # fmt: skip

    device: str
    project: str
    token: str = Field(description="For `Authorization: Bearer …`.")
    key: ReleaseKeyOut

    @classmethod
    def of(cls, registered: Registration) -> "RegisteredDeviceOut":
        return cls(
            device=registered.device.name,
            project=registered.project,
            token=registered.token,
            key=ReleaseKeyOut(id=registered.key, public=registered.public),
        )
