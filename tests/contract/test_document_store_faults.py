"""What is acknowledged outlives kills, and a server that hangs or refuses costs seconds."""

import asyncio
import json
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from model_deployment.documents.base import (
    Collection,
    DocumentRefused,
    Documents,
    Query,
    StoreUnavailable,
    StoreUnusable,
    Written,
)
from model_deployment.documents.embedded import EmbeddedDocuments, file, sql
from model_deployment.documents.mongo import MongoDocuments
from tests.support.document_store_bench import Lag, document, documents, found, ids, works
from tests.support.mongod import Mongod
from tests.support.waiting import until, until_sync

pytest_plugins = ["tests.support.document_store_fixtures"]

CAPTURES = Collection.CAPTURES
ROOT = Path(__file__).parents[2]


# MongoDB


@pytest.fixture
async def mongo(mongod: Mongod) -> Any:
    store = MongoDocuments(mongod.url)
    await store.open()
    yield store
    await store.close()


async def test_mongo_keeps_acknowledged_writes_after_a_kill(
    mongo: MongoDocuments, mongod: Mongod
) -> None:
    blob = bytes(range(256)) * 4000
    await mongo.put_blob("x", blob)
    for start in range(0, 5000, 500):
        await mongo.insert(CAPTURES, documents(5000)[start : start + 500])
    await mongo.replace(CAPTURES, document(0, replaced=True))
    mongod.kill()
    mongod.revive()
    await until(lambda: works(mongo), timeout=20, what="mongod")
    kept = await found(mongo)
    assert kept == [document(0, replaced=True), *documents(5000)[1:]]
    assert await mongo.get_blob("x") == blob


async def test_inserts_go_on_over_kills(mongo: MongoDocuments, mongod: Mongod) -> None:
    """As the flusher does it: the same batch again, until it is acknowledged."""
    batches = [documents(6000)[start : start + 100] for start in range(0, 6000, 100)]
    acknowledged = 0

    async def write() -> None:
        nonlocal acknowledged
        for batch in batches:
            while True:
                try:
                    written = await mongo.insert(CAPTURES, batch)
                except StoreUnavailable:
                    continue
                assert written.inserted + written.known == len(batch)
                assert not written.refused
                break
            acknowledged += 1

    writing = asyncio.create_task(write())
    for kills in range(1, 4):
        await until(lambda kills=kills: acknowledged >= 10 * kills, timeout=30, what="batches")  # type: ignore[misc]
        mongod.kill()
        mongod.revive()
    await writing
    assert await ids(mongo) == [it["_id"] for it in documents(6000)]


CALLS: dict[str, Callable[[Documents], Any]] = {
    "open": lambda store: store.open(),
    "insert": lambda store: store.insert(CAPTURES, documents(1000)),
    "replace": lambda store: store.replace(CAPTURES, document(1)),
    "get": lambda store: store.get(CAPTURES, "x"),
    "find": ids,
    "count": lambda store: store.count(Query(CAPTURES)),
    "delete": lambda store: store.delete(Query(CAPTURES)),
    "put_blob": lambda store: store.put_blob("x", b"x"),
    "get_blob": lambda store: store.get_blob("x"),
    "delete_blob": lambda store: store.delete_blob("x"),
}


async def test_a_server_that_hangs_costs_seconds(mongo: MongoDocuments, mongod: Mongod) -> None:
    await mongo.insert(CAPTURES, documents(5))
    taken = {}

    async def one(name: str) -> None:
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await CALLS[name](mongo)
        taken[name] = time.monotonic() - begun

    mongod.pause()
    async with Lag() as lag:
        await asyncio.gather(*(one(name) for name in CALLS))
    again = time.monotonic()
    await one("insert")  # and it is known to be away
    again = time.monotonic() - again
    mongod.resume()
    assert max(taken.values()) < 6.5, taken
    assert again < 6.5
    assert lag.longest < 2  # without threads it takes several
    await until(lambda: works(mongo), what="mongod")
    written = await mongo.insert(CAPTURES, documents(1000))
    assert written.inserted + written.known == 1000


async def test_a_search_over_a_hang_ends(mongo: MongoDocuments, mongod: Mongod) -> None:
    await mongo.insert(CAPTURES, documents(1000))
    seen = 0
    begun = 0.0

    async def read() -> None:
        nonlocal seen, begun
        async for _ in mongo.find(Query(CAPTURES)):
            seen += 1
            if seen == 50:
                mongod.pause()
                begun = time.monotonic()

    with pytest.raises(StoreUnavailable):
        await read()
    assert time.monotonic() - begun < 6.5
    assert 50 <= seen < 1000
    mongod.resume()
    await until(lambda: works(mongo), what="mongod")


async def test_closing_while_the_server_hangs(mongod: Mongod) -> None:
    store = MongoDocuments(mongod.url)
    await store.open()
    mongod.pause()
    begun = time.monotonic()
    await store.close()
    assert time.monotonic() - begun < 6.5
    mongod.resume()


async def test_a_store_that_was_away_when_it_was_opened(mongod: Mongod) -> None:
    store = MongoDocuments(mongod.url)
    mongod.kill()
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await store.open()
    assert time.monotonic() - begun < 4
    mongod.revive()
    await until(lambda: works(store), what="mongod")
    await store.open()
    assert (await store.insert(CAPTURES, documents(3))).inserted == 3
    await store.close()


@pytest.mark.parametrize("code", [10107, 91, 13, 18, 14031, 50, 8000, 11600, 189])
async def test_server_errors_refuse_no_document(
    mongo: MongoDocuments, mongod: Mongod, code: int
) -> None:
    with mongod.failing("insert", "update", errorCode=code):
        for name in ("insert", "replace"):
            with pytest.raises(StoreUnavailable):
                await CALLS[name](mongo)
    assert await mongo.insert(CAPTURES, documents(3)) == Written(inserted=3)


async def test_a_write_that_is_not_replicated_is_not_acknowledged(
    mongo: MongoDocuments, mongod: Mongod
) -> None:
    lost = {"code": 64, "errmsg": "waiting"}
    with mongod.failing("insert", "update", writeConcernError=lost):
        for name in ("insert", "replace"):
            with pytest.raises(StoreUnavailable):
                await CALLS[name](mongo)
    written = await mongo.insert(CAPTURES, documents(1000))
    assert written == Written(known=1000)  # they had been written, and nobody could know


async def test_cut_connection_refuses_no_document(mongo: MongoDocuments, mongod: Mongod) -> None:
    with mongod.failing("insert", "find", closeConnection=True):
        for name in ("insert", "get"):
            with pytest.raises(StoreUnavailable):
                await CALLS[name](mongo)
    assert await mongo.insert(CAPTURES, documents(3)) == Written(inserted=3)


async def test_a_command_that_fails_for_one_document_is_taken_apart(
    mongo: MongoDocuments, mongod: Mongod
) -> None:
    with mongod.client() as client:
        client[mongod.database].command(
            "collMod", "captures", validator={"poison": {"$exists": False}}
        )
    batch = documents(10)
    batch[3]["poison"] = batch[7]["poison"] = 1
    written = await mongo.insert(CAPTURES, batch)
    assert (written.inserted, {*written.refused}) == (8, {"id000003", "id000007"})
    with pytest.raises(DocumentRefused):
        await mongo.replace(CAPTURES, batch[3])
    # Code 2, BadValue, for the whole command: whoever it is that is meant, nothing hangs for ever.
    with mongod.failing("insert", errorCode=2):
        written = await mongo.insert(CAPTURES, documents(4))
    assert len(written.refused) == 4


async def test_a_duplicate_of_an_index_that_is_not_ours_is_not_known(
    mongo: MongoDocuments, mongod: Mongod
) -> None:
    with mongod.client() as client:
        client[mongod.database]["captures"].create_index("x", unique=True)
    written = await mongo.insert(CAPTURES, [document(1, x=1), document(2, x=1)])
    assert (written.inserted, written.known, [*written.refused]) == (1, 0, ["id000002"])


async def test_indexes_are_those_that_are_needed(mongo: MongoDocuments, mongod: Mongod) -> None:
    with mongod.client() as client:
        database = client[mongod.database]
        for collection in Collection:
            keys = [tuple(it["key"]) for it in database[collection.value].list_indexes()]
            assert sorted(keys) == [
                ("_id",), ("model", "version", "ts", "_id"), ("request_id",), ("ts", "_id"),
            ]  # fmt: skip


@pytest.mark.parametrize(
    "url",
    [
        "http://x",
        "mongodb://",
        "mongodb://me:se/cret@localhost",
        "mongodb://me:secret@localhost:x/db",
        "",
    ],
)
def test_invalid_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="cannot use the URL of MongoDB") as error:
        MongoDocuments(url)
    assert "cret" not in str(error.value)


async def test_no_password_is_told(mongod: Mongod) -> None:
    address = mongod.url.partition("://")[2].rpartition("@")[2]
    store = MongoDocuments(f"mongodb://me:secret@{address}?authSource=admin")
    with pytest.raises(StoreUnavailable) as error:
        await store.count(Query(CAPTURES))
    assert "secret" not in str(error.value)
    await store.close()


# The embedded store


@pytest.fixture
async def embedded(tmp_path: Path) -> Any:
    store = EmbeddedDocuments(tmp_path / "documents.db", busy=0.3)
    await store.open()
    yield store
    await store.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from model_deployment.documents.base import Collection
from model_deployment.documents.embedded import EmbeddedDocuments
from tests.support.document_store_bench import document

async def main():
    store = EmbeddedDocuments(Path(sys.argv[1]))
    await store.open()
    number = int(sys.argv[2])
    while True:
        await store.insert(Collection.CAPTURES, [document(number + n, x="x" * 300) for n in range(50)])
        await store.put_blob(f"blob{number % 500}", bytes(300_000))
        number += 50
        print(number, flush=True)

asyncio.run(main())
"""


def write_until_killed(path: Path, told: Path, number: int) -> None:
    with told.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, path, str(number)], stdout=output, cwd=ROOT
        )
    try:
        until_sync(lambda: len(told.read_text().splitlines()) > 30, what="a writer at work")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)


async def test_embedded_store_keeps_acknowledged_writes_after_kills(tmp_path: Path) -> None:
    path, told = tmp_path / "documents.db", tmp_path / "told"
    number = 0
    for _ in range(3):
        write_until_killed(path, told, number)
        number = int(told.read_text().rpartition("\n")[0].splitlines()[-1])
        store = EmbeddedDocuments(path)
        await store.open()
        kept = await ids(store)
        assert kept[:number] == [f"id{n:06}" for n in range(number)]
        assert len(kept) in {number, number + 50}  # the last batch is whole, or not there
        assert await store.get_blob("blob0") == bytes(300_000)
        await store.close()
        number = len(kept)


async def test_the_file_is_private(embedded: EmbeddedDocuments, tmp_path: Path) -> None:
    await embedded.insert(CAPTURES, documents(3))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in files(tmp_path)}
    assert {"documents.db", "documents.db-wal"} <= {*modes}
    assert {*modes.values()} == {0o600}


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


FULL = """
import asyncio, json, resource, signal, sys
from pathlib import Path
from model_deployment.documents.base import Collection, Query, StoreUnavailable
from model_deployment.documents.embedded import EmbeddedDocuments
from tests.support.document_store_bench import documents

async def main():
    store = EmbeddedDocuments(Path(sys.argv[1]))
    await store.open()
    await store.insert(Collection.CAPTURES, documents(100))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
    told = []
    for call in (
        lambda: store.insert(Collection.LABELS, documents(10, x="x" * 1_000_000)),
        lambda: store.put_blob("x", bytes(5_000_000)),
    ):
        try:
            await call()
        except StoreUnavailable as error:
            told.append(str(error))
    told.append(await store.count(Query(Collection.CAPTURES)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    written = await store.insert(Collection.LABELS, documents(10, x="x" * 1_000_000))
    await store.put_blob("x", bytes(5_000_000))
    told.append(written.inserted)
    told.append(len(await store.get_blob("x")))
    await store.close()
    print(json.dumps(told))

asyncio.run(main())
"""


def test_a_disk_without_room_is_told_of_and_used_again(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path / "documents.db"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second, kept, written, blob = json.loads(done.stdout)
    assert first.startswith("cannot use the document store")
    assert second.startswith("cannot use the document store")
    assert (kept, written, blob) == (100, 10, 5_000_000)


async def test_foreign_lock_is_waited_for_as_configured(
    embedded: EmbeddedDocuments, tmp_path: Path
) -> None:
    await embedded.insert(CAPTURES, documents(3))
    with closing(sqlite3.connect(tmp_path / "documents.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable, match="locked"):
            await embedded.insert(CAPTURES, documents(5))
        assert time.monotonic() - begun < 2
        assert len(await ids(embedded)) == 3  # readers are not kept
        other.execute("ROLLBACK")
    assert await embedded.insert(CAPTURES, documents(5)) == Written(inserted=2, known=3)


async def test_no_reader_keeps_the_log_from_being_merged(
    embedded: EmbeddedDocuments, tmp_path: Path
) -> None:
    await embedded.insert(CAPTURES, documents(2000))
    search = embedded.find(Query(CAPTURES))
    await anext(search)
    await embedded.insert(CAPTURES, [document(9000, x="x" * 100)])
    with closing(sqlite3.connect(tmp_path / "documents.db")) as other:
        busy, log, merged = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert (busy, log, merged) == (0, 0, 0)
    assert len([it async for it in search]) == 2000


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ({}, "documents_by_time"),
        ({"model": "m"}, "documents_by_time"),
        ({"model": "m", "version": 1}, "documents_of_a_version"),
        ({"request_ids": ["r"]}, "documents_of_a_request"),
        ({"request_ids": ["r"], "model": "m", "version": 1}, "documents_of_a_request"),
        ({"ids": ["x"]}, "sqlite_autoindex_documents_1"),
        ({"ids": ["x"], "request_ids": ["r"], "version": 1}, "sqlite_autoindex_documents_1"),
    ],
)
@pytest.mark.parametrize("after", [None, (5, "x")])
async def test_searches_use_the_index_that_is_meant(
    embedded: EmbeddedDocuments, tmp_path: Path, query: Any, index: str, after: Any
) -> None:
    statement, values = sql.page(Query(CAPTURES, **query, since=document()["ts"]), after, 10)
    with closing(sqlite3.connect(tmp_path / "documents.db")) as other:
        plan = [row[3] for row in other.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert f"INDEX {index} " in plan[0]


async def test_the_loop_goes_on_while_it_works(embedded: EmbeddedDocuments) -> None:
    wide = {"data": [[0.5] * 20] * 100}
    async with Lag() as lag:
        await embedded.insert(CAPTURES, documents(500, **wide))
        await embedded.put_blob("x", bytes(16_000_000))
        assert len(await found(embedded)) == 500
        await embedded.get_blob("x")
        await embedded.delete(Query(CAPTURES))
    assert lag.longest < 0.5


async def test_a_write_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    store = EmbeddedDocuments(tmp_path / "documents.db", busy=30, patience=0.5)
    await store.open()
    with closing(sqlite3.connect(tmp_path / "documents.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waits = [store.insert(CAPTURES, documents(5)) for _ in range(3)]
        results = await asyncio.gather(*waits, return_exceptions=True)
        assert [type(it) for it in results] == [StoreUnavailable] * 3
        assert "did not answer within 0.5 s" in str(results[0])
        other.execute("ROLLBACK")
    await until(lambda: works(store), what="the store")
    assert (
        await store.insert(CAPTURES, documents(5))
    ).known == 5  # the first went through after all
    await store.close()
