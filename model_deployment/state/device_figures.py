"""Counts devices, updates and messages by project, in SQL: a scrape must not read each device."""

import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from model_deployment.core.device_figures import ProjectFigures, ReleaseFigures
from model_deployment.core.devices import OFFLINE_AFTER, Presence, UpdateState
from model_deployment.core.names import ModelKey
from model_deployment.core.releases import ReleaseState
from model_deployment.state.database import Database

#: ``julianday`` reads every form of ISO 8601 that the rows have; texts of two forms would not compare.
_DEVICES = """
SELECT project_id, running, count(*) AS found, CASE
    WHEN revoked_at IS NOT NULL THEN 'revoked'
    WHEN last_seen_at IS NULL THEN 'never'
    WHEN julianday(last_seen_at) > julianday(:since) THEN 'online'
    ELSE 'offline' END AS presence
FROM devices GROUP BY project_id, running, presence
"""
_RELEASES = """
SELECT id, project_id, number, model, version, state, reason, since, reverts FROM releases
WHERE id IN (SELECT max(id) FROM releases GROUP BY project_id)
   OR id IN (SELECT max(id) FROM releases WHERE reverts IS NULL GROUP BY project_id)
ORDER BY number
"""
_UPDATES = """
SELECT release_id, state, count(*) AS found FROM device_updates
WHERE release_id IN ({ids}) AND device_id IN (SELECT id FROM devices WHERE revoked_at IS NULL)
GROUP BY release_id, state
"""


@dataclass(frozen=True, slots=True)
class StoredFigures:
    """What the database knows of the figures of devices."""

    projects: Sequence[ProjectFigures]
    #: Messages that wait for the document store.
    waiting: int


class DeviceFigureReader:
    """Reads the figures."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, at: datetime) -> StoredFigures:
        """The figures as they were at ``at``, by the last signs of life so far; projects by name."""
        return await self._database.read(lambda connection: _read(connection, at))


def _read(connection: sqlite3.Connection, at: datetime) -> StoredFigures:
    presence, running = _devices(connection, at)
    releases = _releases(connection)
    found = connection.execute("SELECT id, name FROM device_projects ORDER BY name")
    projects = []
    for row in found.fetchall():
        known = releases[row["id"]]
        projects.append(
            ProjectFigures(
                row["name"],
                presence[row["id"]],
                running[row["id"]],
                newest=known[-1] if known else None,
                asked=next((one for one in reversed(known) if one.reverts is None), None),
            )
        )
    waiting = connection.execute(
        "SELECT count(*) FROM device_messages WHERE kind IN ('metrics', 'captures')"
    ).fetchone()[0]
    return StoredFigures(projects, waiting)


def _devices(
    connection: sqlite3.Connection, at: datetime
) -> tuple[Mapping[int, dict[Presence, int]], Mapping[int, dict[int, int]]]:
    """By project: devices by presence, and by the release that they run."""
    presence: dict[int, dict[Presence, int]] = defaultdict(lambda: defaultdict(int))
    running: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    since = (at - OFFLINE_AFTER).astimezone(UTC).isoformat()
    for row in connection.execute(_DEVICES, {"since": since}):
        is_there = Presence(row["presence"])
        presence[row["project_id"]][is_there] += row["found"]
        if is_there is not Presence.REVOKED:
            running[row["project_id"]][row["running"] or 0] += row["found"]
    return presence, running


def _releases(connection: sqlite3.Connection) -> Mapping[int, list[ReleaseFigures]]:
    """By project, its newest releases that figures are about, the newest one last."""
    rows = connection.execute(_RELEASES).fetchall()
    updates: dict[int, dict[UpdateState, int]] = defaultdict(dict)
    ids = [row["id"] for row in rows]
    marks = ",".join("?" * len(ids))
    for row in connection.execute(_UPDATES.format(ids=marks), ids):
        updates[row["release_id"]][UpdateState(row["state"])] = row["found"]
    found: dict[int, list[ReleaseFigures]] = defaultdict(list)
    for row in rows:
        found[row["project_id"]].append(
            ReleaseFigures(
                row["number"],
                ModelKey(row["model"], row["version"]),
                ReleaseState(row["state"]),
                row["reason"],
                datetime.fromisoformat(row["since"]),
                row["reverts"],
                updates[row["id"]],
            )
        )
    return found
