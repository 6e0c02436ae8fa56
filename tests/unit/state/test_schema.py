"""The schema says what the state machine says, and holds rows to it."""

import itertools
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from model_deployment.core.domain import Desired, State, Step
from model_deployment.core.lifecycle import LIVE, TRANSITIONS

SCHEMA = (Path(__file__).parents[3] / "schema.sql").read_text()

Move = tuple[State | None, State]


def states(text: str) -> list[State | None]:
    return [None if name == "(new)" else State(name) for name in text.split(" | ")]


def moves_in_comments() -> list[tuple[Move, str]]:
    """Each move the comment beside the state column allows, with its cause."""
    (block,) = re.findall(r"what the reconciler has seen:\n(.*?)\n    state ", SCHEMA, re.DOTALL)
    moves: list[tuple[Move, str]] = []
    for line in block.splitlines():
        found = re.fullmatch(r"    -- +(.+?) +-> (\S+(?: \| \S+)*) +(\S.*)", line)
        assert found, line
        sources, targets, cause = states(found[1].strip()), states(found[2]), found[3]
        moves += [
            ((source, target), cause)
            for source, target in itertools.product(sources, targets)
            if target is not None
        ]
    return moves


def test_the_comment_allows_what_the_state_machine_allows() -> None:
    moves = [move for move, _ in moves_in_comments()]
    assert len(moves) == len({*moves})
    assert {*moves} == TRANSITIONS.keys()


def test_the_comment_names_the_same_causes() -> None:
    for move, cause in moves_in_comments():
        first = re.split(r"[:,/]", TRANSITIONS[move])[0].strip()
        if move not in {(State.PENDING, State.FAILED), (State.STOPPING, State.STOPPING)}:
            assert cause.startswith(first), move


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=ON")
        connection.executescript(SCHEMA)
        yield connection


COLUMNS = {
    "model": "m",
    "version": 1,
    "desired": "running",
    "state": "pending",
    "step": None,
    "options": "{}",
    "artifact": "m-1-0",
    "launch_id": None,
    "created_at": "2026-01-31",
}


def insert(database: sqlite3.Connection, **changes: object) -> None:
    row = COLUMNS | changes
    names = ", ".join(row)
    database.execute(
        f"INSERT INTO deployments ({names}) VALUES ({', '.join('?' * len(row))})", [*row.values()]
    )


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("launch_id", [None, "launch"])
@pytest.mark.parametrize("step", [None, *Step])
def test_a_launch_and_a_step_exist_exactly_while_the_state_says_so(
    database: sqlite3.Connection, state: State, launch_id: str | None, step: Step | None
) -> None:
    right = (launch_id is not None) == (state in LIVE) and (
        (step is not None) == (state is State.STOPPING)
    )
    if right:
        insert(database, state=state, launch_id=launch_id, step=step)
    else:
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            insert(database, state=state, launch_id=launch_id, step=step)


@pytest.mark.parametrize("desired", Desired)
def test_every_wish_can_be_written(database: sqlite3.Connection, desired: Desired) -> None:
    insert(database, desired=desired)


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "backoff"},
        {"state": "Ready"},
        {"state": None},
        {"desired": "restarting"},
        {"desired": None},
        {"state": "stopping", "launch_id": "x", "step": "pause"},
        {"version": 0},
        {"version": -1},
        {"version": None},
        {"version": "latest"},
        {"version": 1.5},
        {"model": None},
        {"options": None},
        {"artifact": None},
    ],
)
def test_what_no_row_can_hold_is_refused(
    database: sqlite3.Connection, changes: dict[str, object]
) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        insert(database, **changes)


def test_a_model_version_has_one_row_and_a_launch_belongs_to_one(
    database: sqlite3.Connection,
) -> None:
    insert(database, state="ready", launch_id="x")
    with pytest.raises(sqlite3.IntegrityError, match=r"UNIQUE.*model, deployments\.version"):
        insert(database)
    with pytest.raises(sqlite3.IntegrityError, match=r"UNIQUE.*launch_id"):
        insert(database, version=2, state="ready", launch_id="x")
    insert(database, version=2)
    insert(database, version=3)  # any number of rows may have no launch


def test_a_launch_leases_one_port(database: sqlite3.Connection) -> None:
    lease = "INSERT INTO ports (port, launch_id) VALUES (?, ?)"
    database.execute(lease, (8001, "x"))
    for values in ((8001, "y"), (8002, "x")):
        with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
            database.execute(lease, values)


def test_events_belong_to_a_deployment_and_go_with_it(database: sqlite3.Connection) -> None:
    insert(database)
    event = "INSERT INTO events (deployment_id, at, state, reason) VALUES (?, '', 'pending', '')"
    database.execute(event, (1,))
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        database.execute(event, (2,))
    database.execute("DELETE FROM deployments")
    assert database.execute("SELECT * FROM events").fetchall() == []


def test_the_schema_can_be_run_again(database: sqlite3.Connection) -> None:
    insert(database)
    database.executescript(SCHEMA)
    assert len(database.execute("SELECT * FROM deployments").fetchall()) == 1
