"""The bodies of answers about releases."""

import json
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from model_deployment.api.examples import example
from model_deployment.core.devices import UpdateState
from model_deployment.core.releases import (
    OFFERABLE,
    UNDECIDED,
    FollowedEndpoint,
    Release,
    ReleaseEvent,
    ReleasePolicy,
    ReleaseState,
)
from model_deployment.devices.views import NamedUpdate, ReleaseStageView, ReleaseView

AT = "2026-01-31T12:00:00Z"
#: Devices of a stage that are shown, those that could not first.
SHOWN_DEVICES = 50
_POLICY = json.loads(json.dumps(ReleasePolicy().as_dict()))
RELEASE: dict[str, Any] = {
    "project": "warehouse", "number": 4, "model": "diabetes", "version": 4, "state": "rolling",
    "active": True, "stage": 1, "stage_count": 3, "reason": "10 %: 3 of 4 devices run it",
    "policy": _POLICY,
    "endpoint": "diabetes@champion", "reverts": None, "created_at": AT, "created_by": "ann",
    "since": AT,
}  # fmt: skip
UPDATE: dict[str, Any] = {
    "device": "camera-7", "release": 4, "state": "downloading", "reason": "", "since": AT,
    "bytes": 1_500_000, "of": 4_000_000,
}  # fmt: skip
_STAGE = {
    "number": 0, "name": "group canary", "open": True, "devices": 4,
    "counts": {"offered": 0, "downloading": 1, "verifying": 0, "trying": 0, "running": 3, "failed": 0,
               "refused": 0},
    "updates": [UPDATE],
}  # fmt: skip
_EVENT = {
    "at": AT, "number": 4, "previous": "preparing", "state": "rolling", "device": None,
    "reason": "stage 1 of 3 opens: group canary",
}  # fmt: skip


class FollowedEndpointOut(BaseModel):
    """An endpoint whose versions a project releases."""

    model_config = example({"endpoint": "diabetes@champion", "policy": _POLICY})

    endpoint: str
    policy: ReleasePolicy = Field(description="Of its releases.")

    @classmethod
    def of(cls, followed: FollowedEndpoint | None) -> "FollowedEndpointOut | None":
        if followed is None:
            return None
        return cls(endpoint=str(followed.endpoint), policy=followed.policy)


class ReleaseOut(BaseModel):
    """What devices should run, and how far that is."""

    model_config = example(RELEASE)

    project: str
    number: int = Field(description="Rises with each release of the project.")
    model: str
    version: int
    state: ReleaseState
    active: bool = Field(description="It is not decided how it ends.")
    stage: int = Field(description="Number of the last stage that is open, from 0.")
    stage_count: int = Field(description="Groups, shares, and the rest.")
    reason: str = Field(description="What it waits for, or why it ended.")
    policy: ReleasePolicy
    endpoint: str | None = Field(
        description="The endpoint that it follows; null if a version was named."
    )
    reverts: int | None = Field(description="Number of the release that it takes back.")
    created_at: datetime
    created_by: str = Field(description="The user; empty if no password is needed.")
    since: datetime = Field(description="When it entered its state or stage.")

    @classmethod
    def members(cls, release: Release, project: str) -> dict[str, Any]:
        """The fields, for this class and its subclasses."""
        same = ("number", "state", "stage", "reason", "policy", "reverts", "created_at", "created_by",
                "since")  # fmt: skip
        return {
            "project": project,
            "model": release.key.model,
            "version": release.key.version,
            "active": release.state in UNDECIDED,
            "stage_count": release.policy.stages,
            "endpoint": None if release.endpoint is None else str(release.endpoint),
            **{name: getattr(release, name) for name in same},
        }

    @classmethod
    def of(cls, release: Release, project: str) -> "ReleaseOut":
        return cls(**cls.members(release, project))


class DeviceUpdateOut(BaseModel):
    """What a device has made of a release."""

    model_config = example(UPDATE)

    device: str
    release: int = Field(description="Number.")
    state: UpdateState
    reason: str
    since: datetime = Field(description="When it entered its state.")
    bytes: int = Field(description="Bytes that it has.")
    of: int = Field(description="Bytes that it needs; 0 until it is known.")

    @classmethod
    def of_named(cls, named: NamedUpdate) -> "DeviceUpdateOut":
        update = named.update
        return cls(
            device=named.device,
            release=update.number,
            state=update.state,
            reason=update.reason,
            since=update.since,
            bytes=update.bytes,
            of=update.of,
        )


class UpdateCountsOut(BaseModel):
    """Number of devices by what they have made of a release."""

    offered: int = Field(0, description="Told of it.")
    downloading: int = 0
    verifying: int = 0
    trying: int = Field(0, description="They predict the example.")
    running: int = Field(0, description="Success.")
    failed: int = Field(
        0, description="They could not, or went back; they run what they ran before."
    )
    refused: int = Field(
        0, description="They may not: signature, expiry, lower number, or an agent that is too old."
    )


class ReleaseStageOut(BaseModel):
    """Devices that are told of a release together."""

    model_config = example(_STAGE)

    number: int = Field(description="From 0.")
    name: str = Field(description="`group canary`, `10 %` or `the rest`.")
    open: bool = Field(description="Its devices are told to run the release.")
    devices: int = Field(description="Number of its devices, without revoked ones.")
    counts: UpdateCountsOut
    updates: list[DeviceUpdateOut] = Field(
        description="Of the devices that were told of it, those that could not first, then those that are "
        f"busy with it; {SHOWN_DEVICES} at most."
    )

    @classmethod
    def of(cls, stage: ReleaseStageView) -> "ReleaseStageOut":
        return cls(
            number=stage.number,
            name=stage.name,
            open=stage.open,
            devices=stage.devices,
            counts=UpdateCountsOut(**{str(one): n for one, n in stage.counts.items()}),
            updates=[DeviceUpdateOut.of_named(one) for one in stage.updates[:SHOWN_DEVICES]],
        )


class ReleaseEventOut(BaseModel):
    """Something that happened to a release, to all devices or to one."""

    model_config = example(_EVENT)

    at: datetime
    number: int | None = Field(description="Of the release.")
    previous: ReleaseState | None
    state: ReleaseState | None
    device: str | None = Field(description="Name, where it is about one device.")
    reason: str

    @classmethod
    def of(cls, event: ReleaseEvent) -> "ReleaseEventOut":
        names = cls.model_fields.keys()
        return cls(**{name: getattr(event, name) for name in names})


_DETAIL = {
    **RELEASE, "offered": True, "stages": [_STAGE], "events": [_EVENT],
    "manifest": {"format": 1, "project": "warehouse", "number": 4}, "signature": "q2N5b2Y=",
}  # fmt: skip


class ReleaseDetailOut(ReleaseOut):
    """A release with its stages, events and manifest."""

    model_config = example(_DETAIL)

    offered: bool = Field(description="Devices of open stages are told to run it.")
    stages: list[ReleaseStageOut] = Field(description="In the order in which they open.")
    events: list[ReleaseEventOut] = Field(description="The newest ones of it, newest first.")
    manifest: dict[str, Any] | None = Field(
        description="What devices get, see the protocol of devices; null until it is prepared."
    )
    signature: str | None = Field(description="Ed25519 of the manifest, in base64.")

    @classmethod
    def with_stages(cls, view: ReleaseView, events: list[ReleaseEvent]) -> "ReleaseDetailOut":
        release = view.release
        return cls(
            **cls.members(release, view.project),
            offered=release.state in OFFERABLE,
            stages=[ReleaseStageOut.of(one) for one in view.stages],
            events=[ReleaseEventOut.of(one) for one in events],
            manifest=json.loads(release.manifest) if release.manifest else None,
            signature=release.signature or None,
        )


class SetReleaseOut(BaseModel):
    """What a project releases from now on."""

    model_config = example({
        "project": "warehouse", "release": RELEASE,
        "follows": {"endpoint": "diabetes@champion", "policy": _POLICY},
    })  # fmt: skip

    project: str
    release: ReleaseOut | None = Field(
        description="The release that begins; null if the endpoint serves no version yet, or none is "
        "followed any more."
    )
    follows: FollowedEndpointOut | None
