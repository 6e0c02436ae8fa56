"""Which releases are kept: the newest ones of each project, and with their files what devices may load.

The latter are those under way, and the last complete ones.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

#: Releases of a project that are kept.
RELEASES_KEPT = 200
#: Complete releases of a project whose files are kept: the newest one, and the one to go back to.
_COMPLETE_KEPT = 2
_WANTED = (
    "SELECT manifest FROM (SELECT *, row_number() OVER (PARTITION BY project_id, state "
    "ORDER BY number DESC) AS place FROM releases WHERE manifest != '') WHERE state IN "
    "('preparing', 'rolling', 'paused') OR (state = 'complete' AND place <= ?) ORDER BY id"
)


def manifests(connection: sqlite3.Connection) -> list[str]:
    """The manifests of these releases, oldest first."""
    return [manifest for (manifest,) in connection.execute(_WANTED, (_COMPLETE_KEPT,))]


def prune(connection: sqlite3.Connection, project_id: int) -> None:
    """Remove all but the newest releases of a project, and the last complete ones."""
    connection.execute(
        "DELETE FROM releases WHERE project_id = :project AND number <= (SELECT number FROM releases "
        "WHERE project_id = :project ORDER BY number DESC LIMIT 1 OFFSET :kept) AND number NOT IN "
        "(SELECT number FROM releases WHERE project_id = :project AND state = 'complete' "
        "ORDER BY number DESC LIMIT :complete)",
        {"project": project_id, "kept": RELEASES_KEPT, "complete": _COMPLETE_KEPT},
    )


def manifests_in(path: Path) -> list[str]:
    """As :func:`manifests`, of a database that is not open; none of a layout before 8."""
    with closing(sqlite3.connect(path)) as connection:
        had = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'releases'").fetchone()
        return manifests(connection) if had else []
