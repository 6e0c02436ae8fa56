"""Releases, and what devices make of them: every change of a state is one compare-and-set and one event."""

import sqlite3
from collections.abc import Iterable
from datetime import datetime

from model_deployment.core.devices import Device, DeviceProject, DeviceUpdate
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import IllegalTransition
from model_deployment.core.names import ModelKey
from model_deployment.core.release_lifecycle import check
from model_deployment.core.releases import Release, ReleaseEvent, ReleasePolicy, ReleaseState
from model_deployment.state import device_rows as rows
from model_deployment.state import release_files
from model_deployment.state.database import Database
from model_deployment.state.device_projects import require
from model_deployment.state.rows import now

_UPDATES = "SELECT u.*, r.number FROM device_updates u JOIN releases r ON r.id = u.release_id WHERE"
_UNDER_WAY = "state IN ('preparing', 'rolling', 'paused')"


class ReleaseStore:
    """Reads and changes the rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(
        self,
        project: DeviceProject,
        key: ModelKey,
        policy: ReleasePolicy,
        *,
        by: str,
        reason: str,
        endpoint: EndpointName | None = None,
        reverts: int | None = None,
        after: int | None = None,
    ) -> Release:
        """Begin a release with the next number, in place of one that is under way.

        Old releases that no device is told to run are removed, with what devices made of them.

        Args:
            endpoint: that the project follows; None: a version was named.
            reverts: number of the release that this one takes back.
            after: number of the project's newest release as the caller knows it, 0 without one; None: it
                does not matter.

        Raises:
            UnknownProject: the project was removed meanwhile.
            IllegalTransition: there is a newer release than ``after``.
        """

        def work(connection: sqlite3.Connection) -> Release:
            require(connection, project)
            if after is not None and (newest := _newest_number(connection, project.id)) != after:
                raise IllegalTransition(
                    f"cannot begin a release of {project.name} after release {after}: the newest one is "
                    f"release {newest}"
                )
            (number,) = connection.execute(
                "UPDATE device_projects SET last_number = last_number + 1 WHERE id = ? "
                "RETURNING last_number",
                (project.id,),
            ).fetchone()
            _supersede(connection, project.id, number)
            moment = now()
            begun = connection.execute(
                "INSERT INTO releases (project_id, number, model, version, policy, state, reason, "
                "endpoint, reverts, created_at, created_by, since) "
                "VALUES (?, ?, ?, ?, ?, 'preparing', ?, ?, ?, ?, ?, ?) RETURNING *",
                (
                    project.id, number, key.model, key.version, rows.policy_text(policy), reason,
                    str(endpoint) if endpoint else None, reverts, moment, by, moment,
                ),
            ).fetchone()  # fmt: skip
            state = ReleaseState.PREPARING
            rows.write_event(connection, project.id, moment, number, reason, state=state)
            release_files.prune(connection, project.id)
            return rows.release_of(begun)

        return await self._database.write(work)

    async def move(
        self,
        release: Release,
        state: ReleaseState,
        reason: str,
        *,
        stage: int | None = None,
        manifest: str | None = None,
        signature: str | None = None,
    ) -> Release:
        """Change the state of a release, or open a stage.

        Args:
            stage: number of the last stage that is open then; None: as it was.
            manifest: canonical JSON, given with its signature; None: as it was.

        Raises:
            IllegalTransition: the transition is not legal, or the row has changed since it was read.
        """
        signed = (manifest, signature) if manifest is not None else None
        return await self._database.write(
            lambda connection: _move(connection, release, state, reason, stage, signed)
        )

    async def settle(self, release: Release, at: datetime | None) -> None:
        """Write since when enough devices of the open stages run a release; None: they do not.

        Changes nothing if the release has moved meanwhile.
        """
        await self._database.change(
            "UPDATE releases SET settled_at = ? WHERE id = ? AND state = ? AND stage = ?",
            (at and rows.text_of(at), release.id, release.state, release.stage),
        )

    async def sign(self, release: Release, manifest: str, signature: str) -> None:
        """Write a manifest anew, which is signed before the one before expires.

        Raises:
            IllegalTransition: the release was not prepared, or the manifest has changed meanwhile.
        """

        def work(connection: sqlite3.Connection) -> None:
            changed = connection.execute(
                "UPDATE releases SET manifest = ?, signature = ? "
                "WHERE id = ? AND manifest = ? AND manifest != ''",
                (manifest, signature, release.id, release.manifest),
            )
            if changed.rowcount != 1:
                raise IllegalTransition(
                    f"cannot sign release {release.number} anew: its manifest has changed"
                )

        await self._database.write(work)

    async def note_told(self, release: Release) -> None:
        """Write that the webhook was told of the state that a release is in."""
        await self._database.change(
            "UPDATE releases SET told = 1 WHERE id = ? AND state = ?", (release.id, release.state)
        )

    async def untold(self) -> list[Release]:
        """The releases that have ended, unless a newer one came before, and whose end was not told."""
        return await self._many(
            "SELECT * FROM releases WHERE NOT told AND state IN ('complete', 'stopped', 'failed') "
            "ORDER BY id"
        )

    async def all(
        self, project: DeviceProject, limit: int, before: int | None = None
    ) -> list[Release]:
        """Newest first; with ``before`` those of lower numbers."""
        return await self._many(
            "SELECT * FROM releases WHERE project_id = :project "
            "AND (:before IS NULL OR number < :before) ORDER BY number DESC LIMIT :limit",
            project=project.id, before=before, limit=limit,
        )  # fmt: skip

    async def find(self, project: DeviceProject, number: int) -> Release | None:
        return await self._database.read(lambda c: _by_number(c, project.id, number))

    async def undecided(self) -> list[Release]:
        """The releases that are under way, one of a project at most; oldest first."""
        return await self._many(f"SELECT * FROM releases WHERE {_UNDER_WAY} ORDER BY id")  # noqa: S608

    async def offerable(self, project: DeviceProject) -> list[Release]:
        """What devices may be told to run, newest first.

        The last of it is the newest complete release, which is for all devices.
        """
        return await self._many(
            "SELECT * FROM releases WHERE project_id = :project "
            "AND state IN ('rolling', 'paused', 'complete') AND number >= coalesce((SELECT max(number) "
            "FROM releases WHERE project_id = :project AND state = 'complete'), 0) ORDER BY number DESC",
            project=project.id,
        )

    async def offer(self, release: Release, device_ids: Iterable[int]) -> None:
        """Write that devices were told of a release, those that were not before."""
        values = [(id, release.id) for id in device_ids]

        def work(connection: sqlite3.Connection) -> None:
            moment = now()
            connection.executemany(
                "INSERT INTO device_updates (device_id, release_id, state, reason, since) "
                "SELECT d.id, r.id, 'offered', '', ? FROM devices d, releases r "
                "WHERE d.id = ? AND r.id = ? ON CONFLICT DO NOTHING",
                [(moment, *one) for one in values],
            )

        await self._database.write(work)

    async def updates(self, release: Release) -> list[DeviceUpdate]:
        """What devices have made of a release; of those that were told of it."""
        return await self._updates(f"{_UPDATES} u.release_id = ? ORDER BY u.device_id", release.id)

    async def updates_of(self, device: Device) -> list[DeviceUpdate]:
        """What a device has made of releases, the newest release first."""
        return await self._updates(f"{_UPDATES} u.device_id = ? ORDER BY r.number DESC", device.id)

    async def events(
        self, project: DeviceProject, limit: int, number: int | None = None
    ) -> list[ReleaseEvent]:
        """Newest first; those of the release with a number, or of all of the project."""

        def work(connection: sqlite3.Connection) -> list[ReleaseEvent]:
            found = connection.execute(
                "SELECT * FROM release_events WHERE project_id = :project "
                "AND (:number IS NULL OR number = :number) ORDER BY id DESC LIMIT :limit",
                {"project": project.id, "number": number, "limit": limit},
            )
            return [rows.event_of(row) for row in found]

        return await self._database.read(work)

    async def note(
        self, project: DeviceProject, number: int | None, reason: str, *, device: str | None = None
    ) -> None:
        """Write an event without a change.

        Raises:
            UnknownProject: the project was removed meanwhile.
        """

        def work(connection: sqlite3.Connection) -> None:
            require(connection, project)
            rows.write_event(connection, project.id, now(), number, reason, device=device)

        await self._database.write(work)

    async def wanted_files(self) -> list[str]:
        """The manifests of releases under way, and of the last complete ones: their files are kept."""
        return await self._database.read(release_files.manifests)

    async def _many(self, query: str, **values: object) -> list[Release]:
        def work(connection: sqlite3.Connection) -> list[Release]:
            return [rows.release_of(row) for row in connection.execute(query, values)]

        return await self._database.read(work)

    async def _updates(self, query: str, id: int) -> list[DeviceUpdate]:
        def work(connection: sqlite3.Connection) -> list[DeviceUpdate]:
            found = connection.execute(query, (id,))
            return [rows.update_of(row) for row in found]

        return await self._database.read(work)


def _move(
    connection: sqlite3.Connection,
    release: Release,
    state: ReleaseState,
    reason: str,
    stage: int | None = None,
    signed: tuple[str, str | None] | None = None,
) -> Release:
    if not check(release.state, state):
        raise IllegalTransition(
            f"cannot move release {release.number} from {release.state} to {state}"
        )
    moment = now()
    manifest, signature = signed or (release.manifest, release.signature)
    changed = connection.execute(
        "UPDATE releases SET state = ?, reason = ?, stage = ?, since = ?, settled_at = NULL, "
        "told = 0, manifest = ?, signature = ? WHERE id = ? AND state = ? AND stage = ? AND manifest = ?",
        (
            state, reason, release.stage if stage is None else stage, moment, manifest, signature or "",
            release.id, release.state, release.stage, release.manifest,
        ),
    )  # fmt: skip
    if changed.rowcount != 1:
        raise IllegalTransition(
            f"cannot move release {release.number} to {state}: it is no longer {release.state} at stage "
            f"{release.stage}"
        )
    rows.write_event(
        connection, release.project_id, moment, release.number, reason,
        previous=release.state, state=state,
    )  # fmt: skip
    return _reread(connection, release)


def _supersede(connection: sqlite3.Connection, project_id: int, number: int) -> None:
    """End the release that is under way, if there is one: the release of this number takes its place."""
    found = connection.execute(
        f"SELECT * FROM releases WHERE project_id = ? AND {_UNDER_WAY}",  # noqa: S608
        (project_id,),
    ).fetchone()
    if found is not None:
        reason = f"release {number} came after it"
        _move(connection, rows.release_of(found), ReleaseState.SUPERSEDED, reason)


def _reread(connection: sqlite3.Connection, release: Release) -> Release:
    found = _by_number(connection, release.project_id, release.number)
    assert found is not None  # noqa: S101 - it was changed
    return found


def _newest_number(connection: sqlite3.Connection, project_id: int) -> int:
    (number,) = connection.execute(
        "SELECT coalesce(max(number), 0) FROM releases WHERE project_id = ?", (project_id,)
    ).fetchone()
    return int(number)


def _by_number(connection: sqlite3.Connection, project_id: int, number: int) -> Release | None:
    row = connection.execute(
        "SELECT * FROM releases WHERE project_id = ? AND number = ?", (project_id, number)
    ).fetchone()
    return rows.release_of(row) if row else None
