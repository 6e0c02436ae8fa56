"""What is wrong with the rows of devices in a database that was found or restored."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from model_deployment.state import device_rows as rows


def _policy(row: Mapping[str, Any]) -> object:
    return rows.project_of(row), row["follows"] and rows.followed_of(row)


#: Tables of which each row is read, and what a row of each is.
_READ: Mapping[str, tuple[Callable[[Mapping[str, Any]], object], str]] = {
    "device_projects": (_policy, "project"),
    "enrolments": (rows.enrolment_of, "enrolment"),
    "devices": (rows.device_of, "device"),
    "releases": (rows.release_of, "release"),
    "device_commands": (rows.command_of, "command"),
}


def problems(connection: sqlite3.Connection) -> Iterator[str]:
    """What cannot be read, in words.

    Args:
        connection: with ``sqlite3.Row``, to a database of layout 8 at least.
    """
    for table, (read, what) in _READ.items():
        for row in connection.execute(f"SELECT * FROM {table}"):  # noqa: S608
            if not _can_be_read(read, row):
                yield f"the {what} {row['id']} of devices cannot be read"
    # There may be many of them.
    broken = "SELECT id FROM device_messages WHERE json_valid(data) = 0 OR julianday(at) IS NULL"
    for (id,) in connection.execute(broken):
        yield f"the message {id} of devices cannot be read"


def _can_be_read(read: Callable[[Mapping[str, Any]], object], row: Mapping[str, Any]) -> bool:
    try:
        read(row)
    except (ValueError, TypeError, KeyError, AttributeError):
        return False
    return True
