"""What every document store finds: which documents, in which order, how many."""

import random
from datetime import timedelta
from typing import Any

import pytest

from model_deployment.documents.base import Collection, Documents, Query
from tests.support.document_store_bench import START, document, documents, found, ids

pytest_plugins = ["tests.support.document_store_fixtures"]

CAPTURES = Collection.CAPTURES


async def test_documents_come_in_the_order_of_moment_and_name(store: Documents) -> None:
    names = ["a", "B", "é", "Z", "z", "10", "9", "😀", "\uffff", ""]
    batch = [
        document(_id=name + str(step), ts=START - timedelta(seconds=step))
        for step in range(3)
        for name in names
    ]
    random.Random(1).shuffle(batch)
    await store.insert(CAPTURES, batch)
    batch.sort(key=lambda it: (it["ts"], it["_id"].encode()))
    assert await found(store) == batch
    assert await found(store, newest_first=True) == batch[::-1]
    assert await found(store, newest_first=True, limit=7) == batch[:-8:-1]


@pytest.mark.parametrize("newest_first", [False, True])
async def test_pages_lose_and_repeat_nothing(store: Documents, newest_first: bool) -> None:
    # Many of one moment, so that pages end between them.
    batch = [document(n, ts=START + timedelta(seconds=n // 900)) for n in range(2300)]
    await store.insert(CAPTURES, batch)
    expected = [it["_id"] for it in batch][:: -1 if newest_first else 1]
    assert await ids(store, newest_first=newest_first) == expected
    assert await ids(store, newest_first=newest_first, model="m", version=1) == expected


@pytest.mark.parametrize("limit", [0, 1, 199, 200, 201, 500, 501, 1200, 1201, 5000, -1])
async def test_limit_is_kept(store: Documents, limit: int) -> None:
    await store.insert(CAPTURES, documents(1200))
    assert len(await ids(store, limit=limit)) == max(0, min(limit, 1200))


async def test_large_documents_come_in_small_pages(store: Documents) -> None:
    batch = documents(12, x="x" * (3 * 2**20))
    assert (await store.insert(CAPTURES, batch)).inserted == 12
    assert await found(store) == batch
    assert await ids(store, limit=7) == [it["_id"] for it in batch[:7]]


async def test_documents_may_be_written_and_deleted_while_they_are_read(store: Documents) -> None:
    await store.insert(CAPTURES, documents(1000))
    seen = []
    async for it in store.find(Query(CAPTURES)):
        seen.append(it["_id"])
        if len(seen) == 100:
            await store.delete(Query(CAPTURES, ids=["id000999"]))
            await store.insert(CAPTURES, [document(5000)])
    assert seen == [f"id{n:06}" for n in range(999)] + ["id005000"]


async def test_a_search_may_be_given_up(store: Documents) -> None:
    await store.insert(CAPTURES, documents(1000))
    search = store.find(Query(CAPTURES))
    assert (await anext(search))["_id"] == "id000000"
    await search.aclose()  # type: ignore[attr-defined]
    assert await store.count(Query(CAPTURES)) == 1000


@pytest.fixture
async def various(store: Documents) -> Documents:
    await store.insert(
        CAPTURES,
        [
            document(1, request_id="r1"),
            document(2, model="n", request_id="r2"),
            document(3, version=2, request_id="r1"),
            document(4, model="n", version=2),
            document(5, request_id=None),
        ],
    )
    return store


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "12345"),
        ({"model": "m"}, "135"),
        ({"model": "n"}, "24"),
        ({"model": ""}, ""),
        ({"model": "\ud800"}, ""),
        ({"version": 2}, "34"),
        ({"model": "m", "version": 1}, "15"),
        ({"model": "M", "version": 1}, ""),
        ({"since": START + timedelta(milliseconds=3)}, "345"),
        ({"until": START + timedelta(milliseconds=3)}, "12"),
        ({"since": START, "until": START}, ""),
        ({"model": "m", "since": START + timedelta(milliseconds=2)}, "35"),
        ({"request_ids": ["r1"]}, "13"),
        ({"request_ids": ["r1", "r2", "r3", "r1"]}, "123"),
        ({"request_ids": ()}, ""),
        ({"request_ids": ["\ud800", "r2"]}, "2"),
        ({"ids": ["id000004", "id000002", "x"]}, "24"),
        ({"ids": []}, ""),
        ({"ids": ["id000001"], "request_ids": ["r2"]}, ""),
        ({"ids": ["id000001", "id000003"], "request_ids": ["r1"], "version": 2}, "3"),
        ({"ids": [f"id{n:06}" for n in range(40_000)]}, "12345"),
    ],
)
async def test_queries_find_count_and_delete_the_same(
    various: Documents, query: dict[str, Any], expected: str
) -> None:
    all_of = Query(CAPTURES, **query, limit=1, newest_first=True)
    assert "".join(id[-1] for id in await ids(various, **query)) == expected
    assert (
        "".join(id[-1] for id in await ids(various, **query, newest_first=True)) == expected[::-1]
    )
    assert await various.count(all_of) == len(expected)
    assert await various.delete(all_of) == len(expected)
    assert await various.count(Query(CAPTURES)) == 5 - len(expected)
    assert await various.delete(all_of) == 0


async def test_a_document_that_is_not_there(store: Documents) -> None:
    assert await store.get(CAPTURES, "x") is None
    assert await store.get(CAPTURES, "\ud800") is None
