"""Documents in MongoDB: kills, hangs and errors of the server, its indexes, and its URL."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from model_deployment.documents.base import (
    Collection,
    DocumentRefused,
    Documents,
    Query,
    StoreUnavailable,
    Written,
)
from model_deployment.documents.mongo import MongoDocuments
from tests.support.document_store_bench import Lag, document, documents, found, ids, works
from tests.support.mongod import Mongod
from tests.support.waiting import until

pytest_plugins = ["tests.support.document_store_fixtures"]

CAPTURES = Collection.CAPTURES


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
