"""Every kind of damage to a state: refused, kept byte for byte, and mended by one restore."""

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from model_deployment.backup.make import backup
from model_deployment.backup.reset import new_documents, new_state
from model_deployment.backup.restore import restore
from model_deployment.core.errors import StateError
from model_deployment.documents.base import StoreUnusable
from model_deployment.documents.embedded import EmbeddedDocuments
from model_deployment.state.database import Database
from model_deployment.state.files import SCHEMA_VERSION
from tests.support.stored import opened
from tests.support.waiting import until

Damage = Callable[[Path], object]
PAGE = 4096


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def flip(at: int) -> Damage:
    """Eight bytes inverted."""

    def change(data: bytes) -> bytes:
        return data[:at] + bytes(byte ^ 0xFF for byte in data[at : at + 8]) + data[at + 8 :]

    return lambda path: edit(path, change)


def sql(script: str) -> Damage:
    def work(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(script)

    return work


def replaced_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replaced_by_another(path: Path) -> None:
    path.unlink()
    sql("CREATE TABLE recipes (x); INSERT INTO recipes VALUES (1)")(path)


def replaced_by_empty_database(path: Path) -> None:
    path.unlink()
    sql("VACUUM")(path)


def replaced_by_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def sibling(suffix: str) -> Damage:
    """Something of a log without the rest."""

    def work(path: Path) -> None:
        path.rename(path.with_name(path.name + suffix)).write_bytes(b"x" * 100)

    return work


DAMAGES: dict[str, Damage] = {
    "removed": lambda path: path.unlink(),
    "removed but its log": sibling("-wal"),
    "removed but its index": sibling("-shm"),
    "a dangling link": replaced_by_link,
    "a folder": replaced_by_folder,
    "another database": replaced_by_another,
    "an empty database": replaced_by_empty_database,
    "empty": lambda path: edit(path, lambda _: b""),
    "one byte": lambda path: edit(path, lambda data: data[:1]),
    "half a header": lambda path: edit(path, lambda data: data[:50]),
    "one page": lambda path: edit(path, lambda data: data[:PAGE]),
    "half": lambda path: edit(path, lambda data: data[: len(data) // 2]),
    "a page less": lambda path: edit(path, lambda data: data[:-PAGE]),
    "odd size": lambda path: edit(path, lambda data: data[:-1000]),
    "zeros": lambda path: edit(path, lambda data: bytes(len(data))),
    "noise": lambda path: edit(path, lambda data: random.Random(7).randbytes(len(data))),
    "text": lambda path: edit(path, lambda _: b"this is no database\n" * 100),
    "flipped in the magic": flip(0),
    "flipped page size": flip(16),
    "flipped in the schema's page": flip(100),
    "flipped at the head of a page": flip(PAGE),
    "a page of zeros": lambda path: edit(path, lambda d: d[:PAGE] + bytes(PAGE) + d[2 * PAGE :]),
    "its log dropped": lambda path: path.with_name(f"{path.name}-shm").touch(),
    "a table dropped": sql("DROP TABLE ports"),
    "a trigger": sql("CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM meta; END"),
    "unreadable options": sql("UPDATE deployments SET options = '{'"),
    "unreadable options of a launch": sql("UPDATE launches SET options = '{'"),
    "unreadable address": sql("UPDATE launches SET handle = '{}'"),
    "launches of nothing": sql("DELETE FROM deployments WHERE id = 3"),
    "unreadable policy": sql("UPDATE endpoints SET policy = '{\"canary\": 7}'"),
    "unreadable evidence": sql("UPDATE rollouts SET evidence = '[]'"),
    "unreadable counts": sql(
        """UPDATE rollouts SET evidence = '{"counts": {"p": {"canary-0": {}}}}'"""
    ),
    "a newer layout": sql(f"PRAGMA user_version = {SCHEMA_VERSION + 1}"),
}


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """A data directory of several pages."""
    folder = tmp_path / "data"
    folder.mkdir()
    async with opened(folder) as store:
        for version in range(1, 30):
            await store.deploy("m" * 60, version)
        await store.follow()
    return folder


@pytest.fixture
def archive(data: Path, tmp_path: Path) -> Path:
    backup(data, tmp_path / "backup.tar.gz", documents="embedded")
    (data / "controller.lock").unlink()
    return tmp_path / "backup.tar.gz"


def content(folder: Path) -> dict[str, object]:
    def seen(path: Path) -> Iterator[object]:
        yield path.is_symlink(), path.is_dir()
        if path.is_file():
            yield path.read_bytes()

    return {path.name: [*seen(path)] for path in folder.iterdir()}


async def number(folder: Path) -> int:
    """Deployments in a data directory."""
    async with opened(folder) as store:
        return len(await store.deployments.all())


def test_damages_are_many() -> None:
    assert len(DAMAGES) >= 20


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=[*DAMAGES])
async def test_damaged_state_is_refused_kept_and_restored(
    data: Path, archive: Path, damage: Damage
) -> None:
    path = data / "state.db"
    damage(path)
    before = content(data)
    with pytest.raises(StateError, match="model-deployment restore --force FILE") as error:
        await Database(path).open()
    assert "Nothing was changed" in error.value.detail
    assert content(data) == before

    done = restore(data, archive, force=True)
    assert await number(data) == 31
    aside = {one.name for one in done.aside}
    assert len(aside) == len([name for name in before if name.startswith("state.db")])


@pytest.mark.parametrize("name", ["removed", "empty", "half", "a folder", "a newer layout"])
async def test_new_state_begins_only_on_request(data: Path, archive: Path, name: str) -> None:
    path = data / "state.db"
    DAMAGES[name](path)
    before = content(data).get("state.db")
    moved = new_state(data)
    assert [content(data)[one.name] for one in moved] == ([before] if before else [])
    assert await number(data) == 0
    with pytest.raises(StateError, match="is not damaged"):
        new_state(data)


async def test_state_without_its_log_is_up_to_date(data: Path) -> None:
    count = "SELECT count(*) FROM deployments"

    def without_log() -> bool:
        with closing(sqlite3.connect(f"file:{data}/state.db?immutable=1", uri=True)) as connection:
            return bool(connection.execute(count).fetchone() == (32,))

    async with opened(data) as store:
        await store.deploy("last", 1)
        await until(without_log)


async def test_damaged_document_store_is_refused_and_replaced_on_request(tmp_path: Path) -> None:
    path = tmp_path / "documents.db"
    store = EmbeddedDocuments(path)
    await store.open()
    await store.close()
    with pytest.raises(StateError, match="is not damaged"):
        new_documents(tmp_path)
    path.with_name("documents.db-shm").touch()
    path.with_name("documents.db-wal").unlink(missing_ok=True)
    with pytest.raises(StoreUnusable, match=r"documents\.db-wal is missing"):
        await store.open()
    kept = path.read_bytes()
    moved = new_documents(tmp_path)
    assert [one.name.partition(".replaced")[2] for one in moved] == ["", "-shm"]
    assert moved[0].read_bytes() == kept
    await store.open()
    await store.close()
