"""Restores that are killed at any point, and what a restore leaves."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from model_deployment.backup.make import backup
from model_deployment.backup.restore import restore
from model_deployment.core.domain import State
from model_deployment.core.endpoints import RolloutState
from model_deployment.core.errors import StateError
from model_deployment.core.options import Options
from model_deployment.core.replacement import Strategy
from model_deployment.core.rollout_policy import RolloutPolicy
from model_deployment.documents.base import Collection, Query
from model_deployment.documents.embedded import EmbeddedDocuments
from model_deployment.state import instance
from model_deployment.state.deployments import live_launches
from tests.support import earlier_layouts
from tests.support.backed_up import ROOT, populate
from tests.support.stored import ENDPOINTS, NOW, by_number, leader, opened

# ruff: noqa: ASYNC221 - nothing else is on these loops

#: Restores in child processes that kill themselves at one point each, and prints what the next start says.
KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from model_deployment.backup.restore import restore
from model_deployment.core.errors import StateError
from model_deployment.devices.signing import open_key
from tests.support.stored import opened

data, archive = Path(sys.argv[1]), Path(sys.argv[2])

async def look():
    async with opened(data) as store:
        models = sorted(str(row.key) for row in await store.deployments.all())
    # The key of what was restored, not of the one before, and its public half.
    assert open_key(data, trusted=True).id == (old_key if models == ["old-1"] else new_key)
    return models

old_key, new_key = open_key(data).id, open_key(Path(sys.argv[2]).with_name("new")).id
assert old_key != new_key

def killed(at):
    if (pid := os.fork()) == 0:
        passed = []
        def step(name):
            passed.append(name)
            if len(passed) == at:
                print(name, end=": ", flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
        restore(data, archive, force=True, step=step)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == signal.SIGKILL

at = 1
while killed(at):
    try:
        print(*asyncio.run(look()), flush=True)
    except StateError as error:
        print(error.detail, flush=True)
        restore(data, archive, force=True)
        assert asyncio.run(look()) == ["new-1"]
    asyncio.run(look())
    # As it was before, for the next round.
    restore(data, Path(sys.argv[3]), force=True)
    assert asyncio.run(look()) == ["old-1"]
    at += 1
"""


@pytest.mark.slow
async def test_killed_restore_is_complete_or_refused(tmp_path: Path) -> None:
    new = await populate(tmp_path / "new", "new")
    old = await populate(tmp_path / "old", "old")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "old"), str(new), str(old)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = [line.split(": ", 1) for line in done.stdout.splitlines()]
    assert told[0] == ["checked", "old-1"]
    assert told[-1] == ["done", "new-1"]
    assert len(told) >= 12
    for name, said in told[1:-1]:
        assert "a restore was interrupted" in said, name
        assert "model-deployment restore --force FILE" in said
    assert not [*(tmp_path / "old").glob(".restore-*")]


async def test_instance_id_is_kept_or_taken_from_the_backup(
    tmp_path: Path,
) -> None:
    archive = await populate(tmp_path / "first", "m")
    (await populate(tmp_path / "second", "n")).unlink()
    names = [instance.read(tmp_path / name / "instance-id") for name in ("first", "second")]
    restore(tmp_path / "second", archive, force=True)
    restore(tmp_path / "third", archive)
    restore(tmp_path / "fourth", archive, clone=True)
    found = [
        instance.read(tmp_path / name / "instance-id") for name in ("second", "third", "fourth")
    ]
    assert found[:2] == [names[1], names[0]]
    assert found[2] not in (None, *names)


@pytest.mark.parametrize("own", [True, False])
async def test_restored_state_has_no_old_times_or_foreign_launches(
    tmp_path: Path, own: bool
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    async with opened(data) as store:
        await store.bring(State.STARTING)
        await store.execute("UPDATE launches SET not_before = 5, ready_since = ?, tries = 2", NOW)
        await store.execute("UPDATE ports SET quarantined_until = 5, blocked_until = 5")
    archive = tmp_path / "backup.tar.gz"
    backup(data, archive, documents="mongodb")
    target = data if own else tmp_path / "target"
    restore(target, archive, force=True, clone=not own)
    async with opened(target) as store:
        (row,) = await store.deployments.all()
        (resting,) = await store.execute("SELECT max(quarantined_until + blocked_until) FROM ports")
        launch = leader(row)
        assert (launch.not_before, launch.ready_since, launch.tries) == (0, None, 0)
        assert resting[0] == 0
        if own:
            assert (row.state, launch.deadline) == (State.STARTING, 0)
            assert row.launch_id
        else:
            assert (row.state, row.launch_id, row.handle, row.port) == (
                State.PENDING, None, None, None,
            )  # fmt: skip
            assert (await store.ports.usage(NOW)).leased == 0


async def test_a_copy_has_no_launches_of_the_original(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    async with opened(tmp_path / "data") as store:
        row = await store.grow(await store.bring(State.READY), 3)
        row = await store.launches.retire(row, by_number(row, 2), "2 are enough", NOW)
        row = await store.replacements.ask(row, Options(workers=2), Strategy.BESIDE, "change", NOW)
        assert row.coming
        await store.launch(row, launch=row.coming)
        gone = await store.serve(await store.deploy("gone"))
        await store.deployments.park(gone, "idle")
        await store.deployments.want_stopped(gone.key)
        before = await store.deployments.all()
    archive = tmp_path / "backup.tar.gz"
    backup(tmp_path / "data", archive, documents="mongodb")
    restore(tmp_path / "data", archive, force=True)
    async with opened(tmp_path / "data") as store:
        row, gone = await store.deployments.all()
        assert live_launches([row, gone]) == live_launches(before)
        assert row.replacement is not None
        assert row.replacement.under_way
        assert gone.parking == "idle"
    restore(tmp_path / "copy", archive, clone=True)
    async with opened(tmp_path / "copy") as store:
        row, gone = await store.deployments.all()
        assert [(one.role, one.replica, one.state) for one in row.launches] == [
            ("serving", 0, "pending"),
            ("serving", 1, "pending"),
        ]
        assert live_launches([row, gone]) == set()
        assert row.replacement is None
        assert (gone.state, gone.launches, gone.parking) == (State.STOPPED, (), "")
        assert (await store.ports.usage(NOW)).leased == 0
        row = await store.launch(row)  # and they can be started
        assert row.state is State.STARTING


@pytest.mark.parametrize("own", [True, False])
async def test_backup_of_the_release_before_is_restored(tmp_path: Path, own: bool) -> None:
    (data := tmp_path / "data").mkdir()
    earlier_layouts.write(data / "state.db", earlier_layouts.LAYOUT_6, 6)
    instance.write(data / "instance-id", "0123456789ab")
    with closing(sqlite3.connect(data / "state.db", isolation_level=None)) as connection:
        connection.execute("INSERT INTO meta VALUES ('instance_id', '0123456789ab')")
        for id, state in enumerate(State, 1):
            earlier_layouts.deployment(connection, id, state)
        earlier_layouts.replacement(connection, 3, "starting")
    archive = tmp_path / "backup.tar.gz"
    backup(data, archive, documents="mongodb")
    restore(tmp_path / "other", archive, clone=not own)
    async with opened(tmp_path / "other") as store:
        rows = await store.deployments.all()
        if own:
            assert [row.state for row in rows] == [*State]
            assert live_launches(rows) == {"l2", "l3", "l4", "r3"}
            assert leader(rows[1]).deadline == 0
        else:
            assert [row.state for row in rows[:4]] == [State.PENDING] * 4
            assert [row.state for row in rows[4:]] == [*State][4:]
            assert live_launches(rows) == set()
        leases = await store.execute("SELECT launch_id FROM ports WHERE launch_id NOT NULL")
        assert {lease["launch_id"] for lease in leases} == live_launches(rows)


async def test_endpoints_and_their_rollouts_are_restored(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    async with opened(tmp_path / "data") as store:
        rollout = await store.follow(RolloutPolicy(keep_previous=7.0))
        before = (await store.dump())[-len(ENDPOINTS) :]
    archive = tmp_path / "backup.tar.gz"
    backup(tmp_path / "data", archive, documents="mongodb")
    for target, own in ((tmp_path / "data", True), (tmp_path / "copy", False)):
        restore(target, archive, force=True, clone=not own)
        async with opened(target) as store:
            assert (await store.dump())[-len(ENDPOINTS) :] == before
            ((endpoint, newest),) = await store.endpoints.all()
            assert (endpoint.champion, endpoint.policy.keep_previous) == (1, 7.0)
            assert newest is not None
            assert (newest.id, newest.state) == (rollout.id, RolloutState.CANARY)


async def test_collections_and_report_pages_are_restored(tmp_path: Path) -> None:
    archive = await populate(tmp_path / "data", "m")
    restore(tmp_path / "target", archive)
    store = EmbeddedDocuments(tmp_path / "target" / "documents.db")
    await store.open()
    for collection in Collection:
        assert await store.count(Query(collection)) == 20
    assert await store.get_blob("page") == bytes(1_000_000)
    await store.close()


async def test_restore_replaces_nothing_without_force(tmp_path: Path) -> None:
    archive = await populate(tmp_path / "data", "m")
    with pytest.raises(StateError, match=r"state\.db, documents\.db would be replaced"):
        restore(tmp_path / "data", archive)
    done = restore(tmp_path / "data", archive, force=True)
    names = [path.name.partition(".2")[0] for path in done.aside]
    assert names == ["state.db", "documents.db", "drain.json"]
