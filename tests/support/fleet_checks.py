"""What has to hold of releases and devices after every tick of a fleet, and when all trouble is gone."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from model_deployment.core.devices import UNDER_WAY, DeviceUpdate, UpdateState
from model_deployment.core.release_lifecycle import check
from model_deployment.core.releases import OFFERABLE, UNDECIDED, Release, ReleaseState
from model_deployment.devices.decide import wish
from model_deployment.devices.manifest import wanted_blobs

if TYPE_CHECKING:
    from tests.support.fleet import Fleet

_CURRENT = frozenset({ReleaseState.COMPLETE, ReleaseState.ROLLING, ReleaseState.PAUSED})


class FleetChecks:
    """Remembers what was seen before."""

    def __init__(self) -> None:
        #: By id of a release that has ended: the devices that were told of it.
        self._ended: dict[int, set[int]] = {}

    async def check(self, it: "Fleet") -> None:
        """What holds after every tick."""
        project = await it.project()
        found = await it.releases.all(project, 1000)
        await self._check_events(it, project.id, found)
        reverted = [one.reverts for one in found if one.reverts is not None]
        assert len(reverted) == len({*reverted}), f"taken back twice: {reverted}"
        missing = {*wanted_blobs([one.manifest for one in _wanted(found)])} - it.files
        assert not missing, "files of a release that devices should run are gone"
        for release in found:
            await self._check_release(it, release)

    async def _check_events(self, it: "Fleet", project_id: int, found: Sequence[Release]) -> None:
        """Each state of each release was entered by a legal move, and has a reason for people."""
        moves = await it.query(
            "SELECT number, previous, state, reason FROM release_events "
            "WHERE number IS NOT NULL AND state IS NOT NULL AND device IS NULL AND project_id = ? "
            "ORDER BY id",
            project_id,
        )
        last: dict[int, str | None] = defaultdict(lambda: None)
        opened: dict[int, int] = defaultdict(int)
        for number, previous, state, reason in moves:
            assert previous == last[number], f"release {number}: {previous} after {last[number]}"
            source = ReleaseState(previous) if previous else None
            assert check(source, ReleaseState(state))
            assert len(reason) >= 3
            last[number] = state
            opened[number] += previous == state == ReleaseState.ROLLING
        for one in found:
            assert last[one.number] == one.state, f"release {one.number}: no event says {one.state}"
            assert opened[one.number] == one.stage, f"release {one.number}: stages opened at once"

    async def _check_release(self, it: "Fleet", release: Release) -> None:
        told = {one.device_id for one in await it.releases.updates(release)}
        if not release.manifest:
            assert not told, f"release {release.number} is not signed, and devices know it"
        if release.state not in OFFERABLE | {ReleaseState.PREPARING}:
            known = self._ended.setdefault(release.id, told)
            assert told <= known, f"release {release.number} is {release.state}, and goes on"


async def check_settled(it: "Fleet") -> None:
    """Everything has ended as it must."""
    assert not await it.releases.untold()
    project = await it.project()
    found = await it.releases.all(project, 1000)
    assert not [one for one in found if one.state in UNDECIDED]
    if found and found[0].state is ReleaseState.STOPPED and found[0].manifest:
        complete = [one for one in found if one.state is ReleaseState.COMPLETE]
        assert found[0].reverts is not None or not complete, "nothing took it back"
    for followed in await it.projects.followed():
        champion = it.champions.get(followed.endpoint)
        back = {one.number: one.key for one in found}
        excused = found and found[0].reverts and back[found[0].reverts] == champion
        assert champion is None or excused or found[0].key == champion, f"{champion} missed"
    offerable = await it.releases.offerable(project)
    for row in await it.devices.all(project):
        wanted = wish(row, offerable)
        if row.revoked_at is None and wanted is not None:
            state = _said(await it.releases.updates(wanted), row.id)
            assert state not in {None, *UNDER_WAY}, f"{row} is {state}"


def _said(updates: Sequence[DeviceUpdate], device_id: int) -> UpdateState | None:
    return next((one.state for one in updates if one.device_id == device_id), None)


def _wanted(releases: Sequence[Release]) -> list[Release]:
    """Those that some device should run: newest first, as they come."""
    found = []
    for release in releases:
        if release.state in _CURRENT:
            found.append(release)
        if release.state is ReleaseState.COMPLETE:
            break
    return found
