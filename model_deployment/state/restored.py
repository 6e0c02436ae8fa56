"""Prepares a state database of a backup for a start."""

import sqlite3
from contextlib import closing
from pathlib import Path

from model_deployment.state import migration
from model_deployment.state.snapshot import sync

#: Releases that may have been begun since a backup: devices refuse their numbers and all lower ones.
_RELEASES_SINCE = 1_000
#: Commands and messages that may have been numbered since a backup.
_IDS_SINCE = 1_000_000


def prepare(path: Path, *, foreign: bool) -> None:
    """Prepare a restored database for a start.

    Its monotonic times may be long past, even in the same boot. A launch that was starting has its health
    checked once. A backup of an earlier release gets the layout of this one.

    Devices keep their tokens. Their connections are over, codes may have been used since the backup, and
    devices know releases and commands whose numbers nothing else may get.

    Args:
        path: the database, which no other process has open.
        foreign: no process of this machine belongs to it.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        migration.migrate(connection)
        forget = _FORGET if foreign else ""
        connection.executescript(f"BEGIN IMMEDIATE; {_SETTLE} {_SKIP} {forget} COMMIT;")
    sync(path)


_SETTLE = """
UPDATE launches SET not_before = 0, ready_since = NULL, tries = 0,
    deadline = iif(deadline IS NULL OR state = 'pending', NULL, 0);
UPDATE replacements SET deadline = NULL;
UPDATE ports SET quarantined_until = 0, blocked_until = 0;
UPDATE devices SET generation = generation + 1;
DELETE FROM enrolments WHERE used_at IS NULL;
"""

#: Nothing is to have a number that something had that is not in the backup.
_SKIP = f"""
UPDATE device_projects SET last_number = last_number + {_RELEASES_SINCE};
UPDATE meta SET value = CAST(value AS INTEGER) + {_RELEASES_SINCE} WHERE name GLOB 'last_number:*';
INSERT INTO sqlite_sequence (name, seq) SELECT column1, 0
    FROM (VALUES ('device_commands'), ('device_messages'))
    WHERE column1 NOT IN (SELECT name FROM sqlite_sequence);
UPDATE sqlite_sequence SET seq = seq + {_IDS_SINCE}
    WHERE name IN ('device_commands', 'device_messages');
"""  # noqa: S608 - two constants

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
