"""The schema says what the state machines say, and holds rows to it."""

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from model_deployment.core import replacement
from model_deployment.core.domain import Desired, LaunchRole, LaunchState, State, Step
from model_deployment.core.replacement import ReplacementState, Strategy

SCHEMA = (Path(__file__).parents[3] / "schema.sql").read_text()
RESTING = {State.PARKED, State.STOPPED, State.FAILED}
LIVE = {LaunchState.STARTING, LaunchState.READY, LaunchState.STOPPING}


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=ON")
        connection.executescript(SCHEMA)
        yield connection


DEPLOYMENT = {
    "model": "m",
    "version": 1,
    "desired": "running",
    "options": "{}",
    "artifact": "m-1-0",
    "created_at": "2026-01-31",
}
LAUNCH = {
    "deployment_id": 1,
    "role": "serving",
    "state": "pending",
    "replica": 0,
    "options": "{}",
    "artifact": "m-1-0",
    "generation": 1,
    "since": "2026-01-31",
    "reason": "",
    "step": None,
    "launch_id": None,
}
REPLACEMENT = {
    "deployment_id": 1,
    "state": "coming",
    "strategy": "beside",
    "options": "{}",
    "reason": "",
    "purpose": "",
    "since": "2026-01-31",
}


def insert(database: sqlite3.Connection, table: str, **values: object) -> None:
    database.execute(
        f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
        [*values.values()],
    )


def deploy(database: sqlite3.Connection, **changes: object) -> None:
    insert(database, "deployments", **DEPLOYMENT | changes)


def launch(database: sqlite3.Connection, **changes: object) -> None:
    insert(database, "launches", **LAUNCH | changes)


@pytest.fixture
def deployed(database: sqlite3.Connection) -> sqlite3.Connection:
    """With one deployment."""
    deploy(database)
    return database


@pytest.mark.parametrize("state", LaunchState)
@pytest.mark.parametrize("launch_id", [None, "launch"])
@pytest.mark.parametrize("step", [None, *Step])
def test_processes_and_a_step_exist_exactly_while_the_state_says_so(
    deployed: sqlite3.Connection, state: LaunchState, launch_id: str | None, step: Step | None
) -> None:
    right = (launch_id is not None) == (state in LIVE) and (
        (step is not None) == (state is LaunchState.STOPPING)
    )
    if right:
        launch(deployed, state=state, launch_id=launch_id, step=step)
    else:
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            launch(deployed, state=state, launch_id=launch_id, step=step)


@pytest.mark.parametrize(("role", "state"), [*itertools.product(LaunchRole, LaunchState)])
def test_what_comes_does_not_answer_and_what_retires_only_ends(
    deployed: sqlite3.Connection, role: LaunchRole, state: LaunchState
) -> None:
    row = {
        "role": role,
        "state": state,
        "launch_id": "l" if state in LIVE else None,
        "step": "drain" if state is LaunchState.STOPPING else None,
    }
    wrong = (role is LaunchRole.COMING and state is LaunchState.READY) or (
        role is LaunchRole.RETIRING and state is not LaunchState.STOPPING
    )
    if wrong:
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            launch(deployed, **row)
    else:
        launch(deployed, **row)


@pytest.mark.parametrize("desired", Desired)
def test_every_wish_can_be_written(database: sqlite3.Connection, desired: Desired) -> None:
    deploy(database, desired=desired)


@pytest.mark.parametrize("state", State)
def test_a_deployment_rests_in_three_states(database: sqlite3.Connection, state: State) -> None:
    if state in RESTING:
        deploy(database, rest=state)
    else:
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            deploy(database, rest=state)


@pytest.mark.parametrize(("state", "strategy"), [*itertools.product(ReplacementState, Strategy)])
def test_every_state_of_a_replacement_can_be_written(
    deployed: sqlite3.Connection, state: ReplacementState, strategy: Strategy
) -> None:
    assert any(state in pair for pair in replacement.TRANSITIONS)
    insert(deployed, "replacements", **REPLACEMENT | {"state": state, "strategy": strategy})


@pytest.mark.parametrize(
    "changes",
    [
        {"rest": "backoff"},
        {"rest": "Parked"},
        {"desired": "restarting"},
        {"desired": None},
        {"rest": "parked", "parking": "idle"},
        {"replicas": 0},
        {"replicas": -1},
        {"replicas": 1.5},
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
def test_what_no_deployment_can_hold_is_refused(
    database: sqlite3.Connection, changes: dict[str, object]
) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        deploy(database, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "backoff"},
        {"state": None},
        {"role": "leading"},
        {"role": None},
        {"state": "stopping", "launch_id": "x", "step": "pause"},
        {"replica": -1},
        {"replica": None},
        {"deployment_id": 2},
        {"deployment_id": None},
        {"generation": None},
        {"options": None},
        {"artifact": None},
        {"since": None},
    ],
)
def test_what_no_launch_can_hold_is_refused(
    deployed: sqlite3.Connection, changes: dict[str, object]
) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        launch(deployed, **changes)


def test_a_model_version_has_one_row(database: sqlite3.Connection) -> None:
    deploy(database)
    with pytest.raises(sqlite3.IntegrityError, match=r"UNIQUE.*model, deployments\.version"):
        deploy(database)
    deploy(database, version=2)


def test_a_launch_has_an_id_and_a_port_of_its_own(deployed: sqlite3.Connection) -> None:
    launch(deployed, state="ready", launch_id="x", port=8001)
    with pytest.raises(sqlite3.IntegrityError, match=r"UNIQUE.*launch_id"):
        launch(deployed, state="ready", replica=1, launch_id="x")
    with pytest.raises(sqlite3.IntegrityError, match=r"UNIQUE.*port"):
        launch(deployed, replica=1, port=8001)
    launch(deployed, replica=1)
    launch(deployed, replica=2)  # any number of launches may have no processes


def test_a_place_has_one_launch_and_a_change_too(deployed: sqlite3.Connection) -> None:
    launch(deployed)
    with pytest.raises(sqlite3.IntegrityError, match=r"UNIQUE.*replica"):
        launch(deployed)
    launch(deployed, role="coming")  # that is to take the place
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        launch(deployed, role="coming", replica=1)
    retiring = {"role": "retiring", "state": "stopping", "step": "drain"}
    launch(deployed, launch_id="a", **retiring)  # and those that had it, however many
    launch(deployed, launch_id="b", **retiring)


def test_a_launch_leases_one_port(database: sqlite3.Connection) -> None:
    lease = "INSERT INTO ports (port, launch_id) VALUES (?, ?)"
    database.execute(lease, (8001, "x"))
    for values in ((8001, "y"), (8002, "x")):
        with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
            database.execute(lease, values)


def test_all_there_is_of_a_deployment_goes_with_it(deployed: sqlite3.Connection) -> None:
    launch(deployed)
    insert(deployed, "replacements", **REPLACEMENT)
    event = "INSERT INTO events (deployment_id, at, state, reason) VALUES (?, '', 'pending', '')"
    deployed.execute(event, (1,))
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        deployed.execute(event, (2,))
    deployed.execute("DELETE FROM deployments")
    for table in ("launches", "replacements", "events"):
        assert deployed.execute(f"SELECT * FROM {table}").fetchall() == [], table


def test_the_schema_can_be_run_again(deployed: sqlite3.Connection) -> None:
    deployed.executescript(SCHEMA)
    assert len(deployed.execute("SELECT * FROM deployments").fetchall()) == 1
