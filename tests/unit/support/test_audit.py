"""The world checker finds every kind of disagreement; one that never complains proves nothing."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import audit, children
from tests.support.stubs import Stub, Stubs
from tests.support.waiting import until_sync

SCHEMA = Path(__file__).parents[3] / "schema.sql"


class Database:
    """A state database filled by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.execute("PRAGMA journal_mode=WAL")
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(SCHEMA.read_text())

    def execute(self, statement: str, *values: object) -> None:
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute(statement, values)

    def row(self, state: str, launch_id: str | None, port: int | None) -> None:
        self.deployment()
        self.execute(
            "INSERT INTO launches (deployment_id, role, state, replica, step, options, artifact, "
            "generation, since, reason, launch_id, port) "
            "VALUES (1, 'serving', ?, 0, ?, '{}', '', 1, '', '', ?, ?)",
            state,
            "kill" if state == "stopping" else None,
            launch_id,
            port,
        )

    def deployment(self, rest: str | None = None) -> None:
        self.execute(
            "INSERT INTO deployments (id, model, version, desired, rest, options, artifact, created_at) "
            "VALUES (1, 'm', 1, 'running', ?, '{}', '', '')",
            rest,
        )

    def lease(self, port: int, launch_id: str | None) -> None:
        self.execute("INSERT INTO ports (port, launch_id) VALUES (?, ?)", port, launch_id)

    def problems(self, stub: Stub) -> list[str]:
        return audit.check(self.path, stub.instance, (stub.port, stub.port))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "the state?.db")


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Stub]:
    with Stubs(tmp_path) as stubs:
        yield stubs.serve(wrapper=True)


def test_is_content_with_a_ready_launch(database: Database, stub: Stub) -> None:
    database.execute("INSERT INTO meta VALUES ('instance_id', ?)", stub.instance)
    database.row("ready", "launch", stub.port)
    database.lease(stub.port, "launch")
    database.lease(1, None)
    assert database.problems(stub) == []
    audit.assert_clean(database.path, stub.instance, (stub.port, stub.port))


def test_is_content_with_nothing(tmp_path: Path) -> None:
    assert audit.check(tmp_path / "none.db", "nobody", (1, 2)) == []


@pytest.mark.parametrize("state", ["starting", "stopping"])
def test_a_launch_on_its_way_need_not_listen(database: Database, stub: Stub, state: str) -> None:
    database.row(state, "launch", stub.port)
    database.lease(stub.port, "launch")
    stub.destroy()
    assert database.problems(stub) == []


def test_finds_processes_without_a_row(database: Database, stub: Stub) -> None:
    database.deployment("stopped")
    first, second = database.problems(stub)
    assert f"process {stub.pid} of launch launch" in first + second
    with pytest.raises(AssertionError, match=r"not clean:\nprocess .* belongs to no live row"):
        audit.assert_clean(database.path, stub.instance, (1, 2), timeout=0.01)


def test_finds_a_ready_row_without_a_process(database: Database, stub: Stub) -> None:
    database.row("ready", "launch", stub.port)
    database.lease(stub.port, "launch")
    stub.destroy()
    dead, deaf = database.problems(stub)
    assert "has no living process" in dead
    assert "has no listener" in deaf


def test_finds_a_stranger_on_the_port(database: Database, stub: Stub, tmp_path: Path) -> None:
    with Stubs(tmp_path / "other") as others:
        other = others.serve()
        database.row("ready", "launch", other.port)
        database.lease(other.port, "launch")
        problems = audit.check(database.path, stub.instance, (other.port, other.port))
    assert problems == [
        f"m-1 (ready, launch launch, port {other.port}) has a stranger on its port: pid {other.pid}"
    ]


def test_finds_leases_and_rows_that_differ(database: Database, stub: Stub) -> None:
    database.row("starting", "launch", stub.port)
    database.lease(stub.port + 1, "launch")
    database.lease(stub.port + 2, "old")
    assert database.problems(stub) == [
        f"launch launch has no lease of its port {stub.port}",
        f"port {stub.port + 1} is leased to launch launch, which no live row has there",
        f"port {stub.port + 2} is leased to launch old, which no live row has there",
    ]


def test_finds_a_launch_of_what_rests(database: Database, stub: Stub) -> None:
    stub.destroy()
    database.row("pending", None, None)
    assert database.problems(stub) == []
    database.execute("UPDATE deployments SET rest = 'failed'")
    assert database.problems(stub) == ["m-1 rests (failed) and still has a launch"]


def test_finds_a_deployment_that_nobody_goes_on_with(database: Database, stub: Stub) -> None:
    stub.destroy()
    database.deployment()
    assert database.problems(stub) == ["m-1 has neither launches nor a state to rest in"]


def test_a_launch_without_a_port_needs_none(database: Database, stub: Stub) -> None:
    database.row("ready", "launch", None)
    assert database.problems(stub) == []


def test_finds_that_it_looks_for_the_wrong_instance(database: Database, stub: Stub) -> None:
    stub.destroy()
    database.execute("INSERT INTO meta VALUES ('instance_id', 'another')")
    (problem,) = database.problems(stub)
    assert "of instance another" in problem


def test_finds_zombies_that_led_a_session(tmp_path: Path) -> None:
    ended = os.posix_spawnp("true", ["true"], {}, setsid=True)

    def found() -> list[str]:
        return [zombie for zombie in children.zombies() if zombie.startswith(f"{ended} of ")]

    try:
        until_sync(found, what="the zombie")
        problem = f"zombie {found()[0]} was never reaped"
        assert problem in audit.check(tmp_path / "none.db", "nobody", (1, 2))
    finally:
        os.waitpid(ended, 0)
    assert not found()


def test_kills_all_of_one_instance_and_no_other(tmp_path: Path) -> None:
    with Stubs(tmp_path) as stubs:
        victim = stubs.serve(wrapper=True, fork_grandchild="double", ignore_sigterm=True)
        bystander = stubs.serve()
        assert len(audit.kill_all(victim.instance)) == 3
        assert victim.marked() == []
        assert [process.pid for process in bystander.marked()] == [bystander.pid]
