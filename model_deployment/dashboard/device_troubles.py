"""Projects of devices that need attention: a release that was stopped, many devices offline. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from model_deployment.core.device_figures import ProjectFigures
from model_deployment.core.devices import Presence
from model_deployment.core.releases import ReleaseState
from model_deployment.dashboard.attention import Need, Problem
from model_deployment.dashboard.device_text import plain
from model_deployment.rendering import numbers

#: Devices are many offline from so many on, if they are at least this share of those that have ever been
#: online. The alert ``DevicesOffline`` in monitoring/rules.yml has the same figures.
OFFLINE, OFFLINE_SHARE = 2, 0.2

_RELEASES = {ReleaseState.STOPPED: "Release stopped", ReleaseState.FAILED: "Release failed"}


@dataclass(frozen=True, slots=True)
class DeviceTrouble:
    """A project that needs attention. Equal ones look the same."""

    #: No deployment, endpoint or flow has such a name.
    name: str
    #: In words, for people.
    title: str
    project: str
    problems: tuple[Problem, ...]


def device_troubles(projects: Iterable[ProjectFigures]) -> dict[str, DeviceTrouble]:
    """By name, the projects with problems."""
    found = {}
    for one in projects:
        problems = tuple(filter(None, (_release_problem(one), _offline_problem(one))))
        if problems:
            name = f"devices of {one.project}"
            found[name] = DeviceTrouble(name, one.project, one.project, problems)
    return found


def _release_problem(figures: ProjectFigures) -> Problem | None:
    asked, newest = figures.asked, figures.newest
    if asked is None or asked.state not in _RELEASES:
        return None
    text = f"release {asked.number} ({asked.key}): {plain(asked.reason)}"
    if newest is not None and newest.reverts == asked.number:
        text += f"; release {newest.number} ({newest.key}) takes it back"
    return Problem(Need.DEVICES, _RELEASES[asked.state], text, since=asked.since)


def _offline_problem(figures: ProjectFigures) -> Problem | None:
    offline = figures.presence.get(Presence.OFFLINE, 0)
    known = offline + figures.presence.get(Presence.ONLINE, 0)
    if offline < OFFLINE or offline < OFFLINE_SHARE * known:
        return None
    text = f"{numbers.number(offline)} of {numbers.count(known, 'device')} send nothing"
    return Problem(Need.DEVICES, "Devices offline", text, "warn")
