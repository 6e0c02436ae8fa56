"""The file of the embedded store: private, and left as it is where it is damaged or not ours."""

import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from model_deployment.documents.base import Collection, Query, StoreUnavailable, StoreUnusable
from model_deployment.documents.embedded import EmbeddedDocuments, file
from tests.support.document_store_bench import documents, ids

pytest_plugins = ["tests.support.document_store_fixtures"]

CAPTURES = Collection.CAPTURES


def files(folder: Path) -> list[Path]:
    return [it for it in folder.iterdir() if it.is_file()]


def content(path: Path) -> dict[str, bytes]:
    """Without what is made anew, and logs with nothing in them."""
    contents = {it.name: it.read_bytes() for it in files(path.parent) if it.suffix != ".db-shm"}
    return {name: data for name, data in contents.items() if data}


CORRUPTIONS: dict[str, Callable[[bytes], bytes]] = {
    "text": lambda _: b"this is no database\n" * 100,
    "zeros": lambda data: bytes(len(data)),
    "half of it": lambda data: data[: len(data) // 2],
    "half a header": lambda data: data[:50],
    "a page less": lambda data: data[:-4096],
    "a page of zeros": lambda data: data[:8192] + bytes(4096) + data[12288:],
}


async def damaged(path: Path) -> str:
    before = content(path)
    with pytest.raises(StoreUnusable) as error:
        await EmbeddedDocuments(path).open()
    assert content(path) == before
    assert str(path) in str(error.value)
    return str(error.value)


async def test_the_file_is_private(embedded: EmbeddedDocuments, tmp_path: Path) -> None:
    await embedded.insert(CAPTURES, documents(3))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in files(tmp_path)}
    assert {"documents.db", "documents.db-wal"} <= {*modes}
    assert {*modes.values()} == {0o600}


@pytest.mark.parametrize("corrupt", CORRUPTIONS.values(), ids=[*CORRUPTIONS])
async def test_a_damaged_file_is_told_of_and_left_as_it_is(
    tmp_path: Path, corrupt: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "documents.db"
    store = EmbeddedDocuments(path)
    await store.open()
    await store.insert(CAPTURES, documents(2000))
    await store.close()
    path.write_bytes(corrupt(path.read_bytes()))
    assert "damaged" in await damaged(path)


async def test_damage_is_told_when_it_is_read(
    embedded: EmbeddedDocuments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await embedded.insert(CAPTURES, documents(5000))
    await embedded.close()
    path = tmp_path / "documents.db"
    # As if it were too large to be looked through.
    monkeypatch.setattr(file, "check", lambda *_, **__: None)
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xaa" * (len(whole) - 8192))

    async def read() -> None:
        await embedded.open()
        await ids(embedded)

    with pytest.raises(StoreUnusable, match="damaged"):
        await read()


async def test_the_database_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE deployments (x)")
    assert "another program" in await damaged(path)


async def test_the_file_of_a_newer_release_is_left_as_it_is_also_after_a_kill(
    tmp_path: Path,
) -> None:
    path, copy = tmp_path / "a" / "documents.db", tmp_path / "b" / "documents.db"
    path.parent.mkdir()
    copy.parent.mkdir()
    store = EmbeddedDocuments(path)
    await store.open()
    await store.insert(CAPTURES, documents(10))
    await store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 2")
        for suffix in ("", "-wal"):  # as a kill leaves it, with a log that is not merged
            shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    assert len(content(copy)) == 2
    assert "newer release" in await damaged(copy)


async def test_a_first_start_that_was_cut_off_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "documents.db").touch()
    store = EmbeddedDocuments(tmp_path / "documents.db")
    await store.open()
    assert (await store.insert(CAPTURES, documents(1))).inserted == 1
    await store.close()


@pytest.mark.parametrize("path", ["missing/documents.db", "."])
async def test_a_place_where_no_file_can_be(tmp_path: Path, path: str) -> None:
    store = EmbeddedDocuments(tmp_path / path)
    with pytest.raises(StoreUnavailable, match="cannot use the document store"):
        await store.open()
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.count(Query(CAPTURES))


async def test_a_file_that_was_removed_takes_nothing_more(
    embedded: EmbeddedDocuments, tmp_path: Path
) -> None:
    for path in files(tmp_path):
        path.unlink()
    with pytest.raises(StoreUnavailable):
        await embedded.insert(CAPTURES, documents(1))
    (tmp_path / "documents.db").touch()
    with pytest.raises(StoreUnavailable, match="replaced"):
        await embedded.insert(CAPTURES, documents(1))
