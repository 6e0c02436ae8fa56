"""The body of a call that begins a release: what is released, and how it reaches devices."""

from itertools import pairwise
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from model_deployment.api.endpoint_policy import Seconds
from model_deployment.api.parameters import encodable
from model_deployment.core.devices import DEVICE_NAME, MAX_GROUPS, device_name
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.releases import AbortRule, ReleasePolicy

_MOST_STEPS = 20
_MOST_DEVICES = 1_000_000
_POLICY, _ABORT = ReleasePolicy(), AbortRule()


def name_of(what: str) -> AfterValidator:
    """Accepts the name of a group or a command; ``what`` says which, for the message."""

    def check(text: str) -> str:
        try:
            return device_name(text, what)
        except ModelDeploymentError as error:
            raise ValueError(error.detail) from None

    return AfterValidator(check)


def each_once(names: list[str]) -> list[str]:
    """Return names, if each stands there once.

    Raises:
        ValueError: one stands there twice.
    """
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} stands there twice")
    return names


def _rising(shares: list[float]) -> list[float]:
    for before, after in pairwise(shares):
        if after <= before:
            raise ValueError(
                f"each share must be larger than the one before, got {after:g} after {before:g}"
            )
    return shares


GroupName = Annotated[
    str,
    name_of("group"),
    Field(json_schema_extra={"pattern": f"^{DEVICE_NAME.pattern}$"}),
]
GroupNames = Annotated[list[GroupName], Field(max_length=MAX_GROUPS), AfterValidator(each_once)]
_Share = Annotated[float, Field(strict=True, gt=0, lt=100)]
_Count = Annotated[int, Field(strict=True, ge=1, le=_MOST_DEVICES)]


class AbortIn(BaseModel):
    """When a release stops by itself."""

    model_config = ConfigDict(extra="forbid")

    failed: _Count = Field(_ABORT.failed, description="Devices that have failed, at least.")
    of: _Count = Field(
        _ABORT.of,
        description="… and they are at least `failed` of so many of those that have told how it went.",
    )

    @model_validator(mode="after")
    def _share(self) -> Self:
        if self.failed > self.of:
            raise ValueError(f"failed must not be larger than of, got {self.failed} of {self.of}")
        return self


class ReleasePolicyIn(BaseModel):
    """How a release reaches devices; a member that is left out takes the default."""

    model_config = ConfigDict(extra="forbid")

    groups: GroupNames = Field(
        [*_POLICY.groups],
        description="Groups of devices, one stage each, in this order. A group without devices delays "
        "nothing.",
    )
    percent: Annotated[list[_Share], Field(max_length=_MOST_STEPS), AfterValidator(_rising)] = (
        Field(
            [*_POLICY.percent],
            description="Percent of the devices in none of these groups, each above 0 and below 100, "
            "rising, one stage each. Then come the rest.",
        )
    )
    success: Annotated[float, Field(strict=True, gt=0, le=100)] = Field(
        _POLICY.success,
        description="Percent of the devices of the open stages that have to run the release before the "
        "next stage opens.",
    )
    soak: Seconds = Field(
        _POLICY.soak,
        description="Seconds that a stage rests after that. Text like `10m` is accepted as well.",
    )
    abort: AbortIn = AbortIn()

    def policy(self) -> ReleasePolicy:
        return ReleasePolicy.from_dict(self.model_dump(mode="json"))


class SetReleaseIn(BaseModel):
    """What the devices of a project should run: a version, or whatever an endpoint serves."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "model": "diabetes",
                    "version": 4,
                    "policy": {
                        "groups": ["canary"], "percent": [10, 50], "success": 95, "soak": "10m",
                        "abort": {"failed": 2, "of": 10},
                    },
                },
                {"endpoint": "diabetes@champion"},
                {"endpoint": None},
            ]
        },
    )  # fmt: skip

    model: Annotated[str, AfterValidator(encodable)] | None = Field(
        None,
        max_length=300,
        description="Name of a registered model of the project; the only one if left out.",
    )
    version: Annotated[int, Field(strict=True, ge=1, le=999_999_999)] | None = None
    endpoint: Annotated[str, AfterValidator(encodable)] | None = Field(
        None,
        max_length=300,
        description="`<model>@<alias>`: each version that the endpoint serves is released from now on. "
        "Null: no endpoint is followed any more.",
    )
    policy: ReleasePolicyIn | None = Field(
        None, description="Defaults if left out; not with `endpoint: null`."
    )

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        given = self.model_fields_set
        if "endpoint" in given:
            if given & {"model", "version"}:
                raise ValueError("it has both a version and an endpoint; give one of them")
            if self.endpoint is None and self.policy is not None:
                raise ValueError("endpoint is null, so no release begins: leave out policy")
        elif self.version is None:
            raise ValueError(
                'it says neither which version to release, as in {"model": "diabetes", "version": 4}, nor '
                'which endpoint to follow, as in {"endpoint": "diabetes@champion"}'
            )
        return self

    @property
    def unfollows(self) -> bool:
        return "endpoint" in self.model_fields_set and self.endpoint is None

    def follows(self) -> EndpointName | None:
        """The endpoint to follow.

        Raises:
            NotDeployed, InvalidName: it is no name of an endpoint.
        """
        return None if self.endpoint is None else EndpointName.parse(self.endpoint)

    def release_policy(self) -> ReleasePolicy:
        return (self.policy or ReleasePolicyIn()).policy()
