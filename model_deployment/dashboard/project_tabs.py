"""The tabs of a project's page: what the template of each is filled with."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from model_deployment.core.devices import Presence
from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.releases import UNDECIDED, ReleasePolicy
from model_deployment.dashboard.device_rows import (
    DeviceFilter,
    device_page,
    groups_of,
    presences,
    running_of,
)
from model_deployment.dashboard.release_stages import ACTIONS, policy_text, stage_lines
from model_deployment.dashboard.stats_lines import stats_lines
from model_deployment.devices.service import Devices
from model_deployment.devices.views import ProjectView
from model_deployment.endpoints.reader import EndpointReader
from model_deployment.rendering.release_content import content_text

#: Releases, events and commands that are listed.
_RELEASES, _EVENTS, _COMMANDS = 50, 200, 200
#: Devices of a release that are named, at most, per stage.
_NAMED = 20
#: Windows of the comparison of devices and servers, in hours.
WINDOWS = {"1h": 1, "24h": 24, "7d": 168}
_WINDOW = "24h"


class ProjectTab(StrEnum):
    """A tab, as the address calls it."""

    DEVICES = "devices"
    RELEASES = "releases"
    COMMANDS = "commands"
    ENROLMENT = "enrolment"
    STATS = "stats"
    EVENTS = "events"


LABELS = {
    ProjectTab.DEVICES: "Devices",
    ProjectTab.RELEASES: "Releases",
    ProjectTab.COMMANDS: "Commands",
    ProjectTab.ENROLMENT: "Enrol",
    ProjectTab.STATS: "Devices and servers",
    ProjectTab.EVENTS: "Events",
}
#: Tabs that only operators have.
OPERATORS = frozenset({ProjectTab.ENROLMENT})


@dataclass(frozen=True, slots=True)
class OpenedProject:
    """What an address asks for."""

    project: str
    wanted: DeviceFilter
    page: int
    #: Of the release that is shown in full; None: the newest one.
    number: int | None
    window: str


async def values(tab: ProjectTab, devices: Devices, opened: OpenedProject) -> dict[str, Any]:
    """What the template of a tab shows."""
    match tab:
        case ProjectTab.DEVICES:
            return await _devices(devices, opened)
        case ProjectTab.RELEASES:
            return await _releases(devices, opened)
        case ProjectTab.COMMANDS:
            return {"commands": await devices.commands(opened.project, _COMMANDS)}
        case ProjectTab.ENROLMENT:
            return {}
        case ProjectTab.STATS:
            return await _stats(devices, opened)
        case ProjectTab.EVENTS:
            return {"events": await devices.events(opened.project, _EVENTS)}


async def _devices(devices: Devices, opened: OpenedProject) -> dict[str, Any]:
    views = await devices.devices(opened.project)
    return {
        "wanted": opened.wanted,
        "found": device_page(views, opened.wanted, opened.page),
        "presences": presences(views),
        "groups": groups_of(views),
        "running": running_of(views),
    }


async def _releases(devices: Devices, opened: OpenedProject) -> dict[str, Any]:
    releases = await devices.releases(opened.project, _RELEASES)
    number = opened.number or (releases[0].number if releases else None)
    shown = await devices.release(opened.project, number) if number is not None else None
    return {
        "releases": releases,
        "shown": shown,
        "stages": stage_lines(shown) if shown else [],
        "named": [
            (stage.name, one)
            for stage in (shown.stages if shown else ())
            for one in stage.updates[:_NAMED]
        ],
        "actions": ACTIONS.get(shown.release.state, ()) if shown else (),
        "policy": policy_text(shown.release.policy) if shown else [],
        "content": content_text(json.loads(shown.release.manifest))
        if shown and shown.release.manifest
        else [],
        "active": shown is not None and shown.release.state in UNDECIDED,
    }


async def _stats(devices: Devices, opened: OpenedProject) -> dict[str, Any]:
    window = opened.window if opened.window in WINDOWS else _WINDOW
    until = datetime.now(UTC)
    stats = await devices.stats(opened.project, until - timedelta(hours=WINDOWS[window]), until)
    return {"window": window, "windows": [*WINDOWS], "lines": stats_lines(stats)}


async def form(
    devices: Devices, endpoints: EndpointReader, tab: ProjectTab, view: ProjectView
) -> dict[str, Any]:
    """What the forms of a tab offer to an operator; they are not loaded again."""
    name = view.project.name
    if tab is ProjectTab.RELEASES:
        try:
            versions, problem = await devices.versions(name), ""
        except ModelDeploymentError as error:
            versions, problem = [], error.detail
        followed = [
            str(one.endpoint.name)
            for one in await endpoints.all()
            if one.endpoint.name.model in view.project.models
        ]
        return {
            "versions": versions,
            "versions_problem": problem,
            "endpoints": followed,
            "default": view.follows.policy if view.follows else ReleasePolicy(),
        }
    if tab in (ProjectTab.COMMANDS, ProjectTab.ENROLMENT):
        views = await devices.devices(name)
        there = sum(one.presence is not Presence.REVOKED for one in views)
        return {"groups": groups_of(views), "there": there}
    return {}
