"""The state database: opened whole or not at all, one transaction after the other, one owner."""

import asyncio
import random
import shutil
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from model_deployment.core.domain import Rest, State
from model_deployment.core.errors import StateError
from model_deployment.core.options import Options
from model_deployment.core.replacement import Strategy
from model_deployment.state.database import Database
from model_deployment.state.files import SCHEMA_VERSION
from tests.support.stored import NOW, Store, opened

PAGE = 4096


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A closed database of several pages."""
    async with opened(tmp_path) as store:
        for version in range(1, 60):
            await store.deploy("m" * 60, version)
    return tmp_path / "state.db"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another data directory."""
    folder = tmp_path / "other"
    folder.mkdir()
    return folder


def crash(folder: Path, left: Path) -> None:
    """As a SIGKILL leaves an open database: nothing closed, and the log not merged."""
    for name in ("state.db", "state.db-wal"):
        if (folder / name).exists():
            shutil.copy(folder / name, left)


def connect(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(path, isolation_level=None))


def content(folder: Path) -> dict[str, bytes]:
    """What would be restored from a copy; the shared memory is made anew from the log."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    files.pop("state.db-shm", None)
    return files


def threads() -> list[str]:
    """Those of databases; one that is closed or was never opened has none."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("state")]


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


async def refused(path: Path) -> str:
    """The message of a database that is not opened, and not touched either."""
    before = content(path.parent)
    with pytest.raises(StateError) as error:
        await Database(path).open()
    assert content(path.parent) == before
    assert str(path) in error.value.detail
    assert error.value.status == 500
    assert threads() == []
    return error.value.detail


async def test_a_new_database_is_private_and_knows_who_it_is(tmp_path: Path, other: Path) -> None:
    async with opened(tmp_path) as store:
        instance = await store.database.instance_id()
    assert len(instance) == 12
    assert stat.S_IMODE(store.database.path.stat().st_mode) == 0o600
    async with opened(tmp_path) as store:
        assert await store.database.instance_id() == instance
    async with opened(other) as store:
        assert await store.database.instance_id() != instance


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("user_version", SCHEMA_VERSION),
        ("busy_timeout", 10_000),
    ],
)
async def test_commits_are_durable_and_references_hold(
    tmp_path: Path, pragma: str, value: object
) -> None:
    async with opened(tmp_path) as store:
        ((found,),) = await store.database.read(lambda c: c.execute(f"PRAGMA {pragma}").fetchall())
        assert found == value


@pytest.mark.usefixtures("path")
async def test_what_was_written_outlives_a_crash(tmp_path: Path, other: Path) -> None:
    async with opened(tmp_path) as store:
        await store.deploy("last", 1)
        crash(tmp_path, other)
    assert len(content(other)["state.db-wal"]) > PAGE
    async with opened(other) as store:
        assert [str(row.key) for row in await store.deployments.all()][-1] == "last-1"


async def test_a_first_start_that_was_cut_off_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / ".state.db.new").touch()
    async with opened(tmp_path) as store:
        assert await store.database.instance_id()


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def noise(data: bytes) -> bytes:
    return random.Random(7).randbytes(len(data))


CORRUPTIONS: dict[str, Callable[[bytes], bytes]] = {
    "random bytes": noise,
    "random bytes after the header": lambda data: data[:100] + noise(data)[100:],
    "text": lambda _: b"this is no database\n" * 100,
    "zeros": lambda data: bytes(len(data)),
    "half of it": half,
    "half a header": lambda data: data[:50],
    "a page less": lambda data: data[:-PAGE],
    "another byte order": lambda data: data[:16] + data[17:15:-1] + data[18:],
}


@pytest.mark.parametrize("corrupt", CORRUPTIONS.values(), ids=[*CORRUPTIONS])
async def test_a_damaged_file_is_refused_and_left_as_it_is(
    path: Path, corrupt: Callable[[bytes], bytes]
) -> None:
    write(path, corrupt(content(path.parent)["state.db"]))
    message = await refused(path)
    assert message.startswith("cannot open the state database")
    assert "Nothing was changed" in message


async def test_any_lost_page_is_noticed(path: Path) -> None:
    whole = content(path.parent)["state.db"]
    assert len(whole) > 8 * PAGE
    for at in range(0, len(whole), PAGE):
        write(path, whole[:at] + bytes(PAGE) + whole[at + PAGE :])
        await refused(path)


async def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    assert "Is a directory" in await refused(tmp_path / "state.db")


async def test_the_database_of_a_newer_release_is_refused(path: Path) -> None:
    with connect(path) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    message = await refused(path)
    assert f"layout {SCHEMA_VERSION + 1}; this release reads layout {SCHEMA_VERSION}" in message


@pytest.mark.parametrize("mode", ["wal", "delete"])
async def test_it_is_left_as_it_is_also_after_a_crash_and_in_another_mode(
    path: Path, other: Path, mode: str
) -> None:
    with connect(path) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
        crash(path.parent, other)
    await refused(other / "state.db")


async def test_an_exception_rolls_back(tmp_path: Path) -> None:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM meta")
        raise ValueError("half way")

    async with opened(tmp_path) as store:
        before = await store.dump()
        with pytest.raises(ValueError, match="half way"):
            await store.database.write(work)
        assert await store.dump() == before
        await store.deploy()  # and the next transaction is a new one


async def test_a_cancelled_caller_does_not_undo_its_transaction(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO meta VALUES ('cancelled', 'written')")
        begun.set()
        assert go_on.wait(10)

    async with opened(tmp_path) as store:
        task = asyncio.create_task(store.database.write(work))
        assert await asyncio.to_thread(begun.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        assert await store.database.meta("cancelled") == "written"


async def test_work_is_done_one_after_the_other(tmp_path: Path) -> None:
    def count(connection: sqlite3.Connection) -> None:
        (value,) = connection.execute("SELECT value FROM meta WHERE name = 'n'").fetchone()
        connection.execute("UPDATE meta SET value = ? WHERE name = 'n'", (str(int(value) + 1),))

    async with opened(tmp_path) as store:
        await store.execute("INSERT INTO meta VALUES ('n', '0')")
        await asyncio.gather(*(store.database.write(count) for _ in range(50)))
        assert await store.database.meta("n") == "50"


async def test_closing_waits_for_what_was_asked_before(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        writes = [asyncio.create_task(store.deploy("m", version)) for version in range(1, 20)]
        await asyncio.sleep(0)  # all are asked for
    assert all([await write for write in writes])
    assert threads() == []
    assert not (tmp_path / "state.db-wal").exists()
    async with opened(tmp_path) as store:
        assert len(await store.deployments.all()) == 19


async def test_a_closed_database_says_so(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")
    with pytest.raises(StateError, match="it is not open"):
        await database.read(lambda _: None)
    await database.close()


MONOTONIC = "SELECT not_before, deadline, ready_since FROM launches"
RESTING = "SELECT quarantined_until, blocked_until FROM ports WHERE port = 8002"


async def set_times(store: Store) -> None:
    await store.launch(await store.deploy())
    await store.execute(
        "UPDATE launches SET not_before = 1, deadline = 2, ready_since = 3, tries = 4, kills = 5"
    )
    await store.execute("UPDATE ports SET quarantined_until = 4, blocked_until = 5")


async def test_another_boot_clears_all_monotonic_times(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        assert await store.database.new_boot("one")
        await set_times(store)
        rows = await store.deployments.all()
        assert not await store.database.new_boot("one")
        assert await store.deployments.all() == rows
        assert [tuple(row) for row in await store.execute(RESTING)] == [(4, 5)]

        assert await store.database.new_boot("two")
        assert [tuple(row) for row in await store.execute(MONOTONIC)] == [(0, None, None)]
        assert [tuple(row) for row in await store.execute(RESTING)] == [(0, 0)]
        (row,) = await store.deployments.all()
        assert (row.tries, row.kills) == (
            0,
            0,
        )  # how long it was up is forgotten, so these mean nothing either
        # What is wanted, and what has to be looked for, stays.
        assert (row.desired, row.state, row.launch_id) == (
            rows[0].desired,
            rows[0].state,
            rows[0].launch_id,
        )
        assert (await store.ports.usage(NOW)).leased == 1
        assert not await store.database.new_boot("two")


async def test_another_boot_leaves_what_was_given_up_as_it_is(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        before = await store.bring(State.FAILED)
        assert await store.database.new_boot("two")
        assert (await store.reread(before)).rest == Rest(State.FAILED, "gone", 5)


async def test_another_boot_lets_a_change_wait_for_its_launch_anew(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        row = await store.bring(State.READY)
        await store.replacements.ask(row, Options(workers=2), Strategy.BESIDE, "change", NOW)
        assert await store.database.new_boot("two")
        now = await store.reread(row)
        assert now.replacement is not None
        assert (now.replacement.under_way, now.replacement.deadline) == (True, None)
        assert now.coming is not None
