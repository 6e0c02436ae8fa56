"""Which projects of devices need attention."""

from datetime import UTC, datetime

import pytest

from model_deployment.core.device_figures import ProjectFigures, ReleaseFigures
from model_deployment.core.devices import Presence
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import ReleaseState
from model_deployment.dashboard.device_troubles import device_troubles

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


def figures(number: int, state: ReleaseState, **changes: object) -> ReleaseFigures:
    reason = "2 of 2 devices failed"
    return ReleaseFigures(number, ModelKey("diabetes", number), state, reason, AT, **changes)  # type: ignore[arg-type]


def said(project: ProjectFigures) -> list[tuple[str, str]]:
    found = device_troubles([project]).values()
    return [(problem.name, problem.text) for one in found for problem in one.problems]


@pytest.mark.parametrize(
    ("offline", "online", "told"),
    [
        (0, 0, False),
        (1, 0, False),
        (2, 0, True),
        (1, 3, False),
        (2, 8, True),
        (2, 9, False),
        (400, 1600, True),
        (399, 1601, False),
    ],
)
def test_many_devices_offline_are_told_of(offline: int, online: int, told: bool) -> None:
    presence = {Presence.OFFLINE: offline, Presence.ONLINE: online, Presence.NEVER: 50}
    found = said(ProjectFigures("warehouse", presence))
    assert bool(found) is told
    if told:
        assert f"of {offline + online:,} devices send nothing" in found[0][1]


@pytest.mark.parametrize(
    ("state", "name"),
    [
        (ReleaseState.STOPPED, "Release stopped"),
        (ReleaseState.FAILED, "Release failed"),
        (ReleaseState.ROLLING, ""),
        (ReleaseState.PAUSED, ""),
        (ReleaseState.COMPLETE, ""),
        (ReleaseState.SUPERSEDED, ""),
    ],
)
def test_release_that_ended_badly_is_told_of(state: ReleaseState, name: str) -> None:
    newest = figures(3, state)
    found = said(ProjectFigures("warehouse", newest=newest, asked=newest))
    assert [one for one, _ in found] == ([name] if name else [])
    if name:
        assert found[0][1] == "release 3 (diabetes-3): 2 of 2 devices failed"


def test_release_that_was_taken_back_is_told_of_until_another_one_is_asked_for() -> None:
    stopped = figures(3, ReleaseState.STOPPED)
    back = figures(4, ReleaseState.COMPLETE, reverts=3)
    [(_, text)] = said(ProjectFigures("warehouse", newest=back, asked=stopped))
    assert text.endswith("; release 4 (diabetes-4) takes it back")
    next_one = figures(5, ReleaseState.ROLLING)
    assert said(ProjectFigures("warehouse", newest=next_one, asked=next_one)) == []
