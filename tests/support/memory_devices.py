"""Projects of devices in memory, as their use cases show them, for pages without a controller."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from model_deployment.core.device_messages import DeviceLogLine
from model_deployment.core.devices import (
    Device,
    DeviceCommand,
    DeviceProject,
    DeviceUpdate,
    Presence,
    UpdateState,
    presence,
)
from model_deployment.core.errors import NotFound
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import Release, ReleaseEvent, ReleasePolicy, ReleaseState
from model_deployment.devices.service import Devices
from model_deployment.devices.views import (
    DeviceView,
    NamedCommand,
    NamedUpdate,
    PlaceStats,
    ProjectStats,
    ProjectView,
    ReleasableVersion,
    ReleaseStageView,
    ReleaseView,
    VersionStats,
)

NAME = "warehouse"


def moment(minutes: float) -> datetime:
    """So many minutes ago."""
    return datetime.now(UTC) - timedelta(minutes=minutes)


def device(number: int, **changes: Any) -> Device:
    """``camera-<number>``, which is there and runs release 2 unless told otherwise."""
    given: dict[str, Any] = {
        "groups": ("canary",) if number <= 2 else (),
        "attributes": {"place": f"hall {number % 4}"},
        "created_at": moment(9000),
        "last_seen_at": moment(0.1),
        "agent": "0.1.0",
        "running": 2,
        "generation": 3,
        "received": 812,
        "health": {"memory": 41_000_000, "temperature": 51.5, "disk_free": 0.7},
    }
    return Device(number, 1, f"camera-{number}", **{**given, **changes})


def update(number: int, state: UpdateState, **changes: Any) -> DeviceUpdate:
    """Of device ``number`` and release 3."""
    given: dict[str, Any] = {"reason": "", "since": moment(2)}
    return DeviceUpdate(number, 3, 3, state, **{**given, **changes})


def release(number: int = 3, **changes: Any) -> Release:
    given: dict[str, Any] = {
        "key": ModelKey("diabetes", number),
        "policy": ReleasePolicy(),
        "state": ReleaseState.ROLLING,
        "stage": 1,
        "reason": "10 %: 3 of 4 devices run it",
        "created_at": moment(12),
        "created_by": "ann",
        "since": moment(4),
    }
    return Release(number, 1, number, **{**given, **changes})


class MemoryDevices:
    """One project, its devices and what they have made of release 3. Calls that change it are missing."""

    def __init__(
        self,
        devices: Sequence[Device] = (),
        updates: Mapping[int, DeviceUpdate] | None = None,
        releases: Sequence[Release] = (),
        name: str = NAME,
    ) -> None:
        self.rows = list(devices)
        self.made = dict(updates or {})
        #: Newest first.
        self.all_releases = list(releases)
        self.named = DeviceProject(1, name, ("diabetes",), moment(20_000))
        self.given: list[NamedCommand] = []
        self.lines: list[DeviceLogLine] = []
        self.happened: list[ReleaseEvent] = []
        self.counted: list[VersionStats] = []

    def use_cases(self) -> Devices:
        return cast(Devices, self)

    def _check(self, project: str) -> None:
        if project.lower() != self.named.name.lower():
            raise NotFound(f"cannot find the project {project[:60]!a}")

    def _view(self, one: Device) -> DeviceView:
        there = presence(one, datetime.now(UTC))
        newest = self.all_releases[0].number if self.all_releases else None
        return DeviceView(
            one, self.named.name, there, newest, self.made.get(one.id), there is Presence.ONLINE
        )

    async def projects(self) -> list[ProjectView]:
        return [await self.project(self.named.name)]

    async def project(self, project: str) -> ProjectView:
        self._check(project)
        counts = dict.fromkeys(Presence, 0)
        for one in self.rows:
            counts[presence(one, datetime.now(UTC))] += 1
        return ProjectView(self.named, counts, next(iter(self.all_releases), None))

    async def devices(self, project: str) -> list[DeviceView]:
        self._check(project)
        return [self._view(one) for one in self.rows]

    async def device(self, project: str, device: str) -> DeviceView:
        self._check(project)
        for one in self.rows:
            if one.name == device:
                return self._view(one)
        raise NotFound(f"cannot find the device {device[:60]!a}")

    async def updates(self, project: str, device: str) -> list[NamedUpdate]:
        found = (await self.device(project, device)).update
        return [NamedUpdate(device, found)] if found else []

    async def releases(self, project: str, limit: int, before: int | None = None) -> list[Release]:
        self._check(project)
        return self.all_releases[:limit]

    async def release(self, project: str, number: int) -> ReleaseView:
        self._check(project)
        for one in self.all_releases:
            if one.number == number:
                return ReleaseView(self.named.name, one, self._stages(one))
        raise NotFound(f"cannot find release {number}")

    def _stages(self, release: Release) -> tuple[ReleaseStageView, ...]:
        names = [f"group {one}" for one in release.policy.groups]
        names += [f"{one:g} %" for one in release.policy.percent] + ["the rest"]
        found = []
        for number, name in enumerate(names):
            mine = [one for one in self.rows if min(len(names) - 1, (one.id - 1) // 2) == number]
            made = [NamedUpdate(one.name, self.made[one.id]) for one in mine if one.id in self.made]
            counts = dict.fromkeys(UpdateState, 0)
            for one in made:
                counts[one.update.state] += 1
            told = [one for one in made if one.update.state is not UpdateState.RUNNING]
            opened = number <= release.stage
            found.append(ReleaseStageView(number, name, opened, len(mine), counts, tuple(told)))
        return tuple(found)

    async def versions(self, project: str) -> list[ReleasableVersion]:
        self._check(project)
        return [
            ReleasableVersion(ModelKey("diabetes", number), moment(9000), devices=number)
            for number in (4, 3)
        ]

    async def events(
        self, project: str, limit: int, number: int | None = None
    ) -> list[ReleaseEvent]:
        self._check(project)
        return [one for one in self.happened if number in (None, one.number)][:limit]

    async def commands(
        self, project: str, limit: int, device: str | None = None
    ) -> list[NamedCommand]:
        self._check(project)
        return [one for one in self.given if device in (None, one.device)][:limit]

    async def logs(
        self, project: str, device: str, limit: int, before: int | None = None
    ) -> list[DeviceLogLine]:
        self._check(project)
        return self.lines[:limit]

    async def stats(self, project: str, since: datetime, until: datetime) -> ProjectStats:
        self._check(project)
        return ProjectStats(since, until, tuple(self.counted))


def command(number: int, name: str, value: Any, **changes: Any) -> NamedCommand:
    given: dict[str, Any] = {"created_at": moment(number), "created_by": "ann"}
    found = DeviceCommand(number, 1, name, value, **{**given, **changes})
    return NamedCommand("camera-1", found)


def warehouse() -> MemoryDevices:
    """A project in the middle of a release: one device failed, one loads, one is away, one was revoked."""
    rows = [device(number) for number in range(1, 13)]
    rows[3] = replace(rows[3], last_seen_at=moment(90))
    rows[10] = replace(rows[10], revoked_at=moment(300), groups=())
    rows[11] = replace(rows[11], last_seen_at=None, running=None, agent="", health={})
    made = {
        1: update(1, UpdateState.RUNNING),
        2: update(
            2, UpdateState.FAILED, reason="the example predicts 152.1, and 150.9 was expected"
        ),
        3: update(3, UpdateState.DOWNLOADING, bytes=1_500_000, of=4_000_000),
        4: update(4, UpdateState.OFFERED),
    }
    older = [
        release(2, state=ReleaseState.COMPLETE, stage=2, reason="", created_at=moment(3000)),
        release(1, state=ReleaseState.STOPPED, stage=0, reason="2 of 2 devices failed"),
    ]
    found = MemoryDevices(rows, made, [release(), *older])
    found.given = [
        command(2, "interval", {"seconds": 30}),
        command(3, "dark", True, delivered_at=moment(2.9)),
        command(4, "dark", False, answered_at=moment(3), ok=True, answer="the lamp is off"),
        command(5, "zoom", 9, answered_at=moment(4), ok=False, answer="there is no zoom"),
    ]
    found.lines = [
        DeviceLogLine(3, moment(1), "error", "the camera does not answer"),
        DeviceLogLine(2, moment(2), "warning", "the disk has 80 MB left"),
        DeviceLogLine(1, moment(3), "info", "runs release 2"),
    ]
    found.happened = [
        ReleaseEvent(moment(4), 3, ReleaseState.ROLLING, "10 % opens", ReleaseState.ROLLING),
        ReleaseEvent(moment(5), 3, None, "the trial failed", device="camera-2"),
    ]
    numbers = {"count": 900, "mean": 152.1, "std": 61.0, "min": 40.2, "max": 310.0}
    ours = PlaceStats(5000, 5000, {}, 2.1, 4.8, 9.0, numbers)
    theirs = PlaceStats(1200, 1200, {"invalid": 3}, 1.2, 2.5, 4.3, {**numbers, "mean": 170.0})
    found.counted = [
        VersionStats(ModelKey("diabetes", 3), 1, theirs, ours, 0.31, "predictions are higher"),
        VersionStats(ModelKey("diabetes", 2), 9, theirs, None, None, "it was not deployed here"),
    ]
    return found


async def traffic(
    device: Device, since: datetime, until: datetime
) -> list[tuple[datetime, Mapping[str, Any]]]:
    """Sixty requests in each of the last ten minutes, one of which failed."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    counted = {
        "requests": 60, "rows": 60, "errors": {"invalid": 1}, "latencies": [[12, 50], [20, 9]],
    }  # fmt: skip
    return [(now - timedelta(minutes=number), counted) for number in range(1, 11)]
