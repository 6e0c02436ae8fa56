"""What a device should run, and what to do next about a release, pure: nothing here reads a clock, a file
or a database.

A release reaches devices by **stages**: those of the policy's groups, then rising shares of the other
devices, then the rest. ``wish`` says which release a device should run. ``decide_release`` takes a release
one step on, and returns one action, which the loop applies.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from model_deployment.core.devices import (
    UNDER_WAY,
    UNSUCCESSFUL,
    Device,
    DeviceUpdate,
    Presence,
    UpdateState,
    presence,
)
from model_deployment.core.releases import OFFERABLE, Release, ReleasePolicy, ReleaseState

#: Characters of a reason that a device gave, reasons, and names of devices, in one sentence: at most.
_REASON, _REASONS, _NAMES = 160, 2, 3


# Which device belongs to which stage, and what it should run.


def stage_of(policy: ReleasePolicy, number: int, device: Device) -> int:
    """The stage that a device belongs to, from 0.

    The shares are sticky: a device that is among 10 % is among 50 % as well. Another release, which has
    another number, begins with other devices.
    """
    for place, group in enumerate(policy.groups):
        if group in device.groups:
            return place
    drawn = _percent(device.name, number)
    for place, percent in enumerate(policy.percent, len(policy.groups)):
        if drawn < percent:
            return place
    return policy.stages - 1


def _percent(name: str, number: int) -> float:
    """A number from 0 to below 100 that a device and a release always get."""
    digest = hashlib.sha256(f"{number}:{name.lower()}".encode()).digest()
    # 53 bits: as many as a float keeps, so that it stays below 100.
    return (int.from_bytes(digest[:8]) >> 11) / 2**53 * 100


def stage_name(policy: ReleasePolicy, stage: int) -> str:
    """``group canary``, ``10 %`` or ``the rest``."""
    if stage < len(policy.groups):
        return f"group {policy.groups[stage]}"
    place = stage - len(policy.groups)
    return f"{policy.percent[place]:g} %" if place < len(policy.percent) else "the rest"


def is_stage_open(release: Release, stage: int) -> bool:
    """Whether the devices of a stage may be told to run a release."""
    if release.state is ReleaseState.COMPLETE:
        return True
    return release.state in OFFERABLE and stage <= release.stage


def is_open(release: Release, device: Device) -> bool:
    """Whether a device may be told to run a release."""
    return is_stage_open(release, stage_of(release.policy, release.number, device))


def wish(device: Device, releases: Iterable[Release]) -> Release | None:
    """The release that a device should run: the newest one that is open for it; None if there is none.

    None as well where that would be an older one than it runs, which it refuses: while a release that takes
    the place of the running one is prepared, the device goes on as it is.

    Args:
        releases: those of its project, in any order.
    """
    if device.revoked_at is not None:
        return None
    least = device.running or 0
    found = (one for one in releases if one.project_id == device.project_id and one.number >= least)
    return max((one for one in found if is_open(one, device)), key=_number, default=None)


def _number(release: Release) -> int:
    return release.number


# What to do about a release.


@dataclass(frozen=True, slots=True)
class PrepareRelease:
    """Fetch its files and sign its manifest; then the first stage is open."""


@dataclass(frozen=True, slots=True)
class OpenStage:
    stage: int
    reason: str


@dataclass(frozen=True, slots=True)
class Finish:
    """All stages are open, and enough devices run it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Halt:
    """Too many devices failed."""

    reason: str


@dataclass(frozen=True, slots=True)
class NoteSettled:
    """Note since when enough devices run it; None: they do not any more."""

    at: datetime | None


ReleaseAction = PrepareRelease | OpenStage | Finish | Halt | NoteSettled


def decide_release(
    release: Release, devices: Sequence[Device], updates: Iterable[DeviceUpdate], now: datetime
) -> ReleaseAction | None:
    """What to do about a release; None: nothing now.

    Args:
        devices: all of the project.
        updates: what devices have made of this release.
    """
    if release.state is ReleaseState.PREPARING:
        return PrepareRelease()
    if release.state not in (ReleaseState.ROLLING, ReleaseState.PAUSED):
        return None
    standing = ReleaseStanding(release, devices, updates, now)
    if reason := standing.failure():
        return Halt(reason)
    if not standing.succeeds:
        return None if release.settled_at is None else NoteSettled(None)
    if not _rested(release, standing, now):
        # A moment in the future is one of a clock that was set back since.
        begun = release.settled_at is not None and release.settled_at <= now
        return None if begun else NoteSettled(now)
    if release.state is ReleaseState.PAUSED:
        return None
    return _next(release, standing)


def _rested(release: Release, standing: "ReleaseStanding", now: datetime) -> bool:
    if release.policy.soak <= 0 or not standing.newest:
        return True
    since = release.settled_at
    return since is not None and now - since >= timedelta(seconds=release.policy.soak)


def _next(release: Release, standing: "ReleaseStanding") -> ReleaseAction:
    stage = release.stage + 1
    if stage < release.policy.stages:
        return OpenStage(stage, f"{standing.success()}: opens {stage_name(release.policy, stage)}")
    if not standing.reached:
        return Finish("no device has registered yet; those that come get it")
    return Finish(standing.success())


class ReleaseStanding:
    """How far the devices are with a release that is rolling or paused."""

    def __init__(
        self,
        release: Release,
        devices: Sequence[Device],
        updates: Iterable[DeviceUpdate],
        now: datetime,
    ) -> None:
        self._release = release
        self._now = now
        policy, number = release.policy, release.number
        present = [one for one in devices if one.revoked_at is None]
        stages = {one.id: stage_of(policy, number, one) for one in present}
        self._devices = {one.id: one for one in present}
        #: Devices of the open stages, and of the newest of these.
        self.members = [one for one in present if stages[one.id] <= release.stage]
        self.newest = [one for one in present if stages[one.id] == release.stage]
        opened = {one.id for one in self.members}
        #: By device: of those that were told of the release. One that belongs to no open stage any more was
        #: told to run something else: only what it has reported until then counts.
        self.reached = {
            one.device_id: one
            for one in updates
            if one.device_id in opened
            or (one.device_id in self._devices and one.state not in UNDER_WAY)
        }

    @cached_property
    def running(self) -> int:
        """Number of devices that run the release."""
        return sum(one.state is UpdateState.RUNNING for one in self.reached.values())

    @cached_property
    def failed(self) -> list[DeviceUpdate]:
        """What the devices say that could not run it."""
        return [one for one in self.reached.values() if one.state in UNSUCCESSFUL]

    @property
    def reported(self) -> int:
        """Number of devices that have said how it went."""
        return self.running + len(self.failed)

    @property
    def enough(self) -> bool:
        """Whether as many of the devices reached run it as the policy wants; one at least."""
        wanted = self._release.policy.success * len(self.reached)
        return self.running > 0 and self.running * 100 >= wanted

    @property
    def succeeds(self) -> bool:
        """Whether the next stage may be opened, but for the rest of this one."""
        if not self.reached:
            return not self.members  # nobody is there who could show anything
        return self.enough and not self.unreached()

    def unreached(self) -> list[Device]:
        """Devices of the newest stage that are there, and were not told of the release yet."""
        return [
            one
            for one in self.newest
            if one.id not in self.reached and presence(one, self._now) is Presence.ONLINE
        ]

    def failure(self) -> str:
        """Why the release has to be stopped, in words; else empty."""
        policy, failed = self._release.policy, len(self.failed)
        rule = policy.abort
        if failed >= rule.failed and failed * rule.of >= rule.failed * self.reported:
            limit = f"the limit is {rule.failed} of {rule.of}"
            return f"{failed} of {self.reported} devices failed ({limit}): {self._why(self.failed)}"
        if self.failed and not self.enough and self._all_reported():
            return (
                f"{self.running} of {len(self.reached)} devices run it, {policy.success:g} % have to, "
                f"and no other one can: {self._why(self.failed)}"
            )
        return ""

    def waiting(self) -> str:
        """What the next stage waits for, in words; empty if for nothing but its rest."""
        if self.succeeds:
            return ""
        if not self.reached:
            return f"waits for one of {len(self.members)} devices to come"
        if self.enough:
            return f"waits until {_some([one.name for one in self.unreached()])} was told of it"
        busy = sorted(
            f"{self._devices[one.device_id].name} ({one.state})"
            for one in self.reached.values()
            if one.state is not UpdateState.RUNNING
        )
        policy = self._release.policy
        return (
            f"waits for {_some(busy)}: {self.running} of {len(self.reached)} devices run it, "
            f"{policy.success:g} % have to"
        )

    def success(self) -> str:
        """Why the next stage may be opened, in words."""
        if not self.newest:
            return f"no device belongs to {stage_name(self._release.policy, self._release.stage)}"
        return f"{self.running} of {len(self.reached)} devices run it"

    def _all_reported(self) -> bool:
        known = {*self.reached, *(one.id for one in self.members)}
        return self.reported == len(known)

    def _why(self, failed: Iterable[DeviceUpdate]) -> str:
        """The most frequent reasons, with the devices that gave them."""
        names: dict[str, list[str]] = defaultdict(list)
        for one in failed:
            reason = " ".join(one.reason.split())[:_REASON] or f"{one.state}, without a reason"
            names[reason].append(self._devices[one.device_id].name)
        frequent = sorted(names.items(), key=lambda item: (-len(item[1]), item[0]))
        parts = [f"{reason} ({_some(sorted(who))})" for reason, who in frequent[:_REASONS]]
        more = len(frequent) - _REASONS
        return "; ".join(parts) + (f"; and {more} more reasons" if more > 0 else "")


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMES
    return ", ".join(names[:_NAMES]) + (f" and {more} more" if more > 0 else "")
