"""What every document store does with documents that are inserted, replaced and deleted."""

import asyncio
from datetime import timedelta

from model_deployment.documents.base import Collection, Documents, Query, Written
from tests.support.document_store_bench import START, Bench, document, documents, found, ids

pytest_plugins = ["tests.support.document_store_fixtures"]

CAPTURES = Collection.CAPTURES


async def test_inserted_document_is_found_unchanged(store: Documents) -> None:
    one = document(1, request_id="r", data=[[1, 2.5, None, "x", True]], params={"a": {"b": []}})
    assert await store.insert(CAPTURES, [one]) == Written(inserted=1)
    assert await store.get(CAPTURES, one["_id"]) == one
    assert await found(store) == [one]


async def test_inserting_nothing_changes_nothing(store: Documents) -> None:
    assert await store.insert(CAPTURES, []) == Written()


async def test_known_documents_stay_unchanged(store: Documents) -> None:
    await store.insert(CAPTURES, documents(3, x="old"))
    written = await store.insert(CAPTURES, documents(5, x="new"))
    assert written == Written(inserted=2, known=3)
    assert [it["x"] for it in await found(store)] == ["old"] * 3 + ["new"] * 2


async def test_the_first_of_two_with_one_name_is_kept(store: Documents) -> None:
    written = await store.insert(CAPTURES, [document(1, x=1), document(1, x=2)])
    assert written == Written(inserted=1, known=1)
    assert [it["x"] for it in await found(store)] == [1]


async def test_collections_are_apart(store: Documents) -> None:
    for collection in Collection:
        written = await store.insert(collection, [document(1, of=collection.value)])
        assert written == Written(inserted=1)
    for collection in Collection:
        assert [it["of"] for it in await found(store, collection=collection)] == [collection.value]


async def test_known_and_refused_and_written_in_one_batch(store: Documents) -> None:
    await store.insert(CAPTURES, documents(1500)[::3])
    batch = documents(3000)
    for number in range(1, 3000, 10):
        batch[number]["x"] = {1, 2}
    written = await store.insert(CAPTURES, batch)
    refused = {it["_id"] for it in batch if "x" in it}
    known = {it["_id"] for it in batch[:1500:3]} - refused
    assert {*written.refused} == refused
    assert written.known == len(known)
    assert written.inserted == 3000 - len(refused) - len(known)
    assert len(await ids(store)) == 500 + written.inserted


async def test_documents_without_a_name_are_refused(store: Documents) -> None:
    nameless = document(1)
    del nameless["_id"]
    written = await store.insert(CAPTURES, [nameless, document(2, _id=5), document(3)])
    assert written.inserted == 1
    assert {*written.refused} == {"None", "5"}


async def test_deleting_takes_many_and_leaves_other_collections(store: Documents) -> None:
    for collection in (CAPTURES, Collection.LABELS):
        await store.insert(collection, documents(5000))
    until = START + timedelta(milliseconds=4500)
    assert await store.delete(Query(CAPTURES, until=until)) == 4500
    assert await store.count(Query(CAPTURES)) == 500
    assert await store.count(Query(Collection.LABELS)) == 5000


async def test_a_replacement_stands_where_the_other_was(store: Documents) -> None:
    await store.insert(CAPTURES, documents(3, x=1))
    other = document(1, y=2, model="n", ts=START + timedelta(days=1), request_id="r")
    await store.replace(CAPTURES, other)
    assert await found(store) == [document(0, x=1), document(2, x=1), other]
    assert await found(store, request_ids=["r"]) == [other]
    await store.replace(CAPTURES, document(9))
    assert await store.count(Query(CAPTURES)) == 4


async def test_writers_at_once_write_each_document_once(depot: Bench) -> None:
    second = depot.make()
    await second.open()
    try:
        batches = [documents(2000)[start : start + 400] for start in range(0, 1700, 200)]
        done = await asyncio.gather(
            *(depot.store.insert(CAPTURES, batch) for batch in batches),
            *(second.insert(CAPTURES, batch) for batch in batches),
            *(store.replace(CAPTURES, document(5000)) for store in (depot.store, second) * 10),
        )
    finally:
        await second.close()
    written = [it for it in done if it is not None]
    assert sum(it.inserted for it in written) == 2000
    assert sum(it.inserted + it.known for it in written) == 2 * sum(map(len, batches))
    assert await depot.store.count(Query(CAPTURES)) == 2001


async def test_cancelled_callers_break_nothing(store: Documents) -> None:
    tasks = [asyncio.create_task(store.insert(CAPTURES, documents(500))) for _ in range(5)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    written = await store.insert(CAPTURES, documents(600))
    assert written.inserted + written.known == 600
    assert await store.count(Query(CAPTURES)) == 600
