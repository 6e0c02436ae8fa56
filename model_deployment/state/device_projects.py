"""The projects of devices, and the endpoints whose champions become their releases."""

import sqlite3
from collections.abc import Sequence

from model_deployment.core.devices import DeviceProject
from model_deployment.core.errors import Conflict, UnknownProject
from model_deployment.core.releases import FollowedEndpoint
from model_deployment.state import device_rows as rows
from model_deployment.state.database import Database
from model_deployment.state.rows import now

#: Digits of an id, at most: SQLite has no larger ones.
_DIGITS = 18
#: Begins the names of the rows of ``meta`` with the last numbers of releases of removed projects, by name.
LAST_NUMBER = "last_number:"


class DeviceProjectStore:
    """Reads and changes the rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, name: str, models: Sequence[str]) -> DeviceProject:
        """Make a project.

        Its releases are numbered behind those of a removed project of its name: devices that come back
        refuse lower numbers than they know.

        Args:
            name: as :func:`model_deployment.core.devices.device_name` lets it pass.

        Raises:
            Conflict: there is one of this name; capitals do not distinguish names.
        """

        def work(connection: sqlite3.Connection) -> DeviceProject:
            if found := _by_name(connection, name):
                raise Conflict(
                    f"cannot create the project {name}: there is a project {found.name}; use it, or "
                    f"choose another name"
                )
            connection.execute(
                "INSERT INTO device_projects (name, models, created_at, last_number) VALUES (?, ?, ?, "
                "coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE name = ?), 0))",
                (name, rows.names_text(models), now(), LAST_NUMBER + name.lower()),
            )
            created = _by_name(connection, name)
            assert created is not None  # noqa: S101 - it was inserted
            return created

        return await self._database.write(work)

    async def all(self) -> list[DeviceProject]:
        """Oldest first."""

        def work(connection: sqlite3.Connection) -> list[DeviceProject]:
            found = connection.execute("SELECT * FROM device_projects ORDER BY id")
            return [rows.project_of(row) for row in found]

        return await self._database.read(work)

    async def find(self, text: str) -> DeviceProject | None:
        """The project with a name, else the one with an id."""

        def work(connection: sqlite3.Connection) -> DeviceProject | None:
            found = _by_name(connection, text)
            if found is None and text.isascii() and text.isdecimal() and len(text) <= _DIGITS:
                return _by_id(connection, int(text))
            return found

        return await self._database.read(work)

    async def change(self, project: DeviceProject, models: Sequence[str]) -> DeviceProject:
        """Let a project have other models.

        Raises:
            UnknownProject: it was removed meanwhile.
        """

        def work(connection: sqlite3.Connection) -> DeviceProject:
            text = rows.names_text(models)
            connection.execute(
                "UPDATE device_projects SET models = ? WHERE id = ?", (text, project.id)
            )
            return require(connection, project)

        return await self._database.write(work)

    async def remove(self, project: DeviceProject) -> None:
        """Remove a project with its devices, releases, commands, messages and events."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO meta SELECT ? || lower(name), last_number FROM device_projects "
                "WHERE id = ? AND last_number > 0",
                (LAST_NUMBER, project.id),
            )
            connection.execute("DELETE FROM device_projects WHERE id = ?", (project.id,))

        await self._database.write(work)

    async def follow(self, followed: FollowedEndpoint) -> None:
        """Release each champion of an endpoint from now on, in place of one that was followed before.

        Raises:
            UnknownProject: the project was removed meanwhile.
        """

        def work(connection: sqlite3.Connection) -> None:
            changed = connection.execute(
                "UPDATE device_projects SET follows = ?, policy = ? WHERE id = ?",
                (str(followed.endpoint), rows.policy_text(followed.policy), followed.project_id),
            )
            if changed.rowcount != 1:
                raise UnknownProject(
                    f"cannot follow {followed.endpoint}: the project was removed meanwhile"
                )

        await self._database.write(work)

    async def unfollow(self, project: DeviceProject) -> None:
        await self._database.change(
            "UPDATE device_projects SET follows = NULL, policy = NULL WHERE id = ?", (project.id,)
        )

    async def followed(self) -> list[FollowedEndpoint]:
        """What projects follow, oldest project first."""

        def work(connection: sqlite3.Connection) -> list[FollowedEndpoint]:
            found = connection.execute(
                "SELECT * FROM device_projects WHERE follows IS NOT NULL ORDER BY id"
            )
            return [rows.followed_of(row) for row in found]

        return await self._database.read(work)


def require(connection: sqlite3.Connection, project: DeviceProject) -> DeviceProject:
    """A project as it is now.

    Raises:
        UnknownProject: it was removed meanwhile.
    """
    found = _by_id(connection, project.id)
    if found is None:
        raise UnknownProject(f"cannot find the project {project.name}: it was removed meanwhile")
    return found


def _by_id(connection: sqlite3.Connection, id: int) -> DeviceProject | None:
    row = connection.execute("SELECT * FROM device_projects WHERE id = ?", (id,)).fetchone()
    return rows.project_of(row) if row else None


def _by_name(connection: sqlite3.Connection, name: str) -> DeviceProject | None:
    row = connection.execute("SELECT * FROM device_projects WHERE name = ?", (name,)).fetchone()
    return rows.project_of(row) if row else None
