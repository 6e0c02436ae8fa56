"""Prepares a state database of a backup for a start."""

import sqlite3
from contextlib import closing
from pathlib import Path

from model_deployment.state import migration
from model_deployment.state.snapshot import sync


def prepare(path: Path, *, foreign: bool) -> None:
    """Prepare a restored database for a start.

    Its monotonic times may be long past, even in the same boot. A launch that was starting has its health
    checked once. A backup of an earlier release gets the layout of this one.

    Args:
        path: the database, which no other process has open.
        foreign: no process of this machine belongs to it.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        migration.migrate(connection)
        connection.executescript(f"BEGIN IMMEDIATE; {_SETTLE} {_FORGET if foreign else ''} COMMIT;")
    sync(path)


_SETTLE = """
UPDATE launches SET not_before = 0, ready_since = NULL, tries = 0,
    deadline = iif(deadline IS NULL OR state = 'pending', NULL, 0);
UPDATE replacements SET deadline = NULL;
UPDATE ports SET quarantined_until = 0, blocked_until = 0;
"""

#: Launches that another machine, or another controller, has the processes of.
_FORGET = """
UPDATE ports SET launch_id = NULL;
DELETE FROM replacements;
DELETE FROM launches WHERE role != 'serving';
UPDATE deployments SET parking = '';
UPDATE deployments SET rest = 'stopped', rest_reason = 'restored as a copy', rest_tries = 0
    WHERE desired = 'stopped' AND rest IS NULL;
DELETE FROM launches WHERE deployment_id IN (SELECT id FROM deployments WHERE rest IS NOT NULL);
UPDATE launches SET
    since = iif(launch_id IS NULL, since, strftime('%Y-%m-%dT%H:%M:%f+00:00')),
    reason = iif(launch_id IS NULL, reason, 'restored as a copy'),
    state = 'pending', launch_id = NULL, handle = NULL, port = NULL, session = NULL, step = NULL,
    deadline = NULL, ready_at = NULL,
    (options, artifact, generation) = (SELECT options, artifact, generation FROM deployments d
        WHERE d.id = launches.deployment_id);
"""
