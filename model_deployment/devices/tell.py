"""Tells connected devices what they should run, and which commands are open: when it has changed."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from model_deployment.core.devices import Device
from model_deployment.core.releases import Release
from model_deployment.devices.decide import wish
from model_deployment.devices.limits import CloseCode
from model_deployment.devices.outbox import desired_frame
from model_deployment.devices.rows import DeviceRows
from model_deployment.devices.session import Session
from model_deployment.state.devices import DeviceStore

#: Devices that are read one by one; of more, all of the project are read at once.
_FEW = 20

NO_TOKEN = "the token is no longer good"  # noqa: S105 - no token


async def tell(rows: DeviceRows, sessions: Iterable[Session]) -> None:
    """Tell devices what has changed since their sessions were told last.

    Raises:
        DatabaseError: some were not told.
    """
    by_project: dict[int, list[Session]] = defaultdict(list)
    for session in sessions:
        by_project[session.device.project_id].append(session)
    if not by_project:
        return
    for project in await rows.projects.all():
        if found := by_project.pop(project.id, None):
            releases = await rows.releases.offerable(project)
            known = {one.device.id for one in found}
            devices = (
                {one.id: one for one in await rows.devices.all(project)}
                if len(found) > _FEW
                else await _each(rows.devices, known)
            )
            await _tell_project(rows, found, devices, releases)
    for session in (one for removed in by_project.values() for one in removed):
        session.end(CloseCode.TOKEN, NO_TOKEN)


async def _each(devices: DeviceStore, ids: Collection[int]) -> dict[int, Device]:
    found = [await devices.get(id) for id in ids]
    return {one.id: one for one in found if one is not None}


async def _tell_project(
    rows: DeviceRows,
    sessions: Iterable[Session],
    devices: Mapping[int, Device],
    releases: Collection[Release],
) -> None:
    open_now: list[Session] = []
    wanted: dict[Session, Release | None] = {}
    for session in sessions:
        device = devices.get(session.device.id)
        if device is None or device.revoked_at is not None:
            session.end(CloseCode.TOKEN, NO_TOKEN)
            continue
        open_now.append(session)
        release = wish(device, releases)
        if session.told != _told(release):
            wanted[session] = release
    # Written first: a device that was told of a release has been offered it, whatever happens now.
    await rows.offer({one.device.id: release for one, release in wanted.items() if release})
    key = rows.key_id() if any(wanted.values()) else ""
    frames: dict[int | None, str] = {}
    for session, release in wanted.items():
        id = release.id if release else None
        if id not in frames:
            frames[id] = desired_frame(release, key)
        session.desire(_told(release), frames[id])
    commands = await rows.commands.open_of([one.device.id for one in open_now])
    for session in open_now:
        session.command(commands.get(session.device.id, []))


def _told(release: Release | None) -> tuple[int | None, str]:
    return (release.number, release.signature) if release else (None, "")
