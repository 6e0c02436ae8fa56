"""Rows of the update: what is wanted, how far the device is, what it has accepted and what failed."""

import sqlite3
from collections.abc import Mapping
from typing import Any

from model_deployment_agent import outbox
from model_deployment_agent.database import fact, set_fact
from model_deployment_agent.update_rules import UpdateRow, UpdateStage

#: What the controller calls a stage; those that are not here it need not know.
_TOLD: Mapping[UpdateStage, str] = {
    UpdateStage.DOWNLOADING: "downloading",
    UpdateStage.VERIFYING: "verifying",
    UpdateStage.TRYING: "trying",
    UpdateStage.WATCHING: "running",
    UpdateStage.FAILED: "failed",
}


def load(connection: sqlite3.Connection) -> UpdateRow | None:
    """The row, if there is one."""
    found = connection.execute(
        "SELECT number, folder, state, reason, starts, excused FROM update_row"
    ).fetchone()
    if found is None:
        return None
    number, folder, state, reason, starts, excused = found
    if state not in {*UpdateStage}:  # of another agent
        return None
    return UpdateRow(number, folder, UpdateStage(state), reason, starts, bool(excused))


def save(connection: sqlite3.Connection, row: UpdateRow | None, at: int, *, size: int = 0) -> None:
    """Replace the row, and tell the controller of its stage.

    Args:
        at: milliseconds since 1970.
        size: bytes that the release has.
    """
    before = load(connection)
    connection.execute("DELETE FROM update_row")
    if row is None:
        return
    connection.execute(
        "INSERT INTO update_row VALUES (1, ?, ?, ?, ?, ?, ?)",
        (row.number, row.folder, row.stage, row.reason, row.starts, row.excused),
    )
    moved = before is None or (before.folder, before.stage) != (row.folder, row.stage)
    if moved and row.stage in _TOLD:
        tell(connection, row.number, _TOLD[row.stage], row.reason, at, of=size)
    if row.stage is UpdateStage.FAILED:
        connection.execute("INSERT OR REPLACE INTO failed VALUES (?, ?)", (row.number, row.reason))


def tell(
    connection: sqlite3.Connection,
    number: int,
    state: str,
    reason: str,
    at: int,
    *,
    had: int = 0,
    of: int = 0,
) -> None:
    """Add a message of progress; ``had`` of ``of`` bytes are there."""
    said = {"release": number, "state": state, "reason": reason[:500], "bytes": had, "of": of}
    outbox.put(connection, "progress", said, at)


def failed(connection: sqlite3.Connection) -> dict[int, str]:
    """Releases that are not tried again, and why."""
    return dict(connection.execute("SELECT number, reason FROM failed").fetchall())


def forgive(connection: sqlite3.Connection) -> list[int]:
    """Let failed releases be tried again; their numbers."""
    numbers = sorted(failed(connection))
    connection.execute("DELETE FROM failed")
    return numbers


def accept(connection: sqlite3.Connection, number: int, created: int) -> None:
    """Refuse lower numbers from now on, and clocks that say that it is before this."""
    set_fact(connection, "highest", max(number, highest(connection)))
    set_fact(connection, "not_before", max(created, not_before(connection)))


def highest(connection: sqlite3.Connection) -> int:
    """The highest number that was accepted; 0 if none."""
    return int(fact(connection, "highest", 0))


def not_before(connection: sqlite3.Connection) -> int:
    """It is later than this for sure: a good signature said so. Milliseconds since 1970."""
    return int(fact(connection, "not_before", 0))


def wanted(connection: sqlite3.Connection) -> Any:
    """The offer that the controller named last; JSON."""
    return fact(connection, "wanted")


def want(connection: sqlite3.Connection, offer: Any) -> None:
    """Keep the offer that the controller names."""
    set_fact(connection, "wanted", offer)


def proven(connection: sqlite3.Connection) -> str | None:
    """Folder of the last release that has proved itself."""
    found: str | None = fact(connection, "proven")
    return found


def prove(connection: sqlite3.Connection, folder: str) -> None:
    """Note that a release has proved itself: it is the one to go back to."""
    set_fact(connection, "proven", folder)
