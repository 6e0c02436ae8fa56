"""What every document store does, whatever is below it."""

import asyncio
import math
import random
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
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
from model_deployment.documents.envelope import MAX_BLOB
from tests.support.document_store_bench import START, Bench, document, documents, found, ids, works
from tests.support.waiting import until

pytest_plugins = ["tests.support.document_store_fixtures"]

CAPTURES = Collection.CAPTURES

#: Longer than any call may take while its store is away.
SOON = 8.0


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


# Inserting


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


#: What no store takes.
POISON: dict[str, dict[str, Any]] = {
    "no model": {"model": None},
    "a model that is no text": {"model": 1},
    "half a surrogate pair as model": {"model": "\ud800"},
    "no version": {"version": "1"},
    "a version that is none": {"version": True},
    "a version of many digits": {"version": 2**63},
    "no moment": {"ts": None},
    "a moment anywhere": {"ts": datetime(2026, 1, 1)},
    "a request that is no text": {"request_id": 5},
    "a set": {"x": {1}},
    "bytes": {"x": b"x"},
    "another moment": {"x": START},
    "an object of Python": {"x": object()},
    "complex numbers deep inside": {"x": [{"y": [1, 2, 3j]}]},
    "a key that is no text": {"x": {1: 2}},
    "too deep": {"x": nested(200)},
    "far too deep": {"x": nested(50_000)},
    "too large": {"x": "x" * (17 * 2**20)},
}

#: What a store may take, and has to give back as it was then.
ODD: dict[str, Any] = {
    "a large integer": 2**63,
    "a very large integer": -(10**400),
    "an integer of too many digits": 10 ** (sys.get_int_max_str_digits() + 10),
    "NUL in a key": {"a\0b": 1},
    "half a surrogate pair": "\ud800",
    "half a surrogate pair in a key": {"x": [{"\udfff": 1}]},
}


@pytest.mark.parametrize("members", POISON.values(), ids=[*POISON])
async def test_poison_is_refused_and_the_rest_is_written(
    store: Documents, members: dict[str, Any]
) -> None:
    batch = [document(1), document(2, **members), document(3)]
    written = await store.insert(CAPTURES, batch)
    assert (written.inserted, written.known, [*written.refused]) == (2, 0, ["id000002"])
    assert written.refused["id000002"]
    assert await ids(store) == ["id000001", "id000003"]
    with pytest.raises(DocumentRefused):
        await store.replace(CAPTURES, batch[1])
    assert await ids(store) == ["id000001", "id000003"]


@pytest.mark.parametrize("value", ODD.values(), ids=[*ODD])
async def test_odd_values_are_kept_exactly_or_refused(store: Documents, value: Any) -> None:
    batch = [document(1), document(2, x=value), document(3)]
    written = await store.insert(CAPTURES, batch)
    refused = "id000002" in written.refused
    assert (written.inserted, written.known) == (3 - refused, 0)
    expected = [it for it in batch if it["_id"] not in written.refused]
    assert await found(store) == expected


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


# Values


VALUES: dict[str, Any] = {
    "unicode": ["é", "漢字", "😀", "\u202e", "\0", "\x7f", ""],
    "keys with dots": {"a.b": 1, ".": 2, "a": {"b.c": {"..": 3}}},
    "keys with dollars": {"$set": {"$x": 1}, "$": 2, "a$": [{"$gt": 3}], "": {"": 4}},
    "an object that looks like a reference": {"$ref": "x", "$id": {"$ref": "y", "$id": 1}},
    "half such an object": [{"$ref": 1}, {"$id": 1}, {"$db": "x"}, {"$ref": "x", "$db": 2}],
    "an object of other JSON": {"$oid": "x", "$date": 1, "$numberLong": "1", "$code": ""},
    "keys of an envelope": {"_id": 1, "ts": 2, "model": 3},
    "integers": [0, -1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, -(2**63)],
    "floats": [0.1, 1e308, 5e-324, -1.5, 1.0, math.pi],
    "nothing": [None, [], {}, [[]], [{}], {"a": None}],
    "truth": [True, False, [True]],
    "deep": nested(90),
    "wide": {f"column {n}": [n] * 20 for n in range(300)},
    "long": "x" * (6 * 2**20),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=[*VALUES])
async def test_values_come_back_as_they_were(store: Documents, value: Any) -> None:
    one, two = document(1, value=value), document(2)
    if isinstance(value, dict) and not {"_id", "$ref"} & {*value}:
        two.update({key: it for key, it in value.items() if key != "ts"})  # as members of their own
    assert (await store.insert(CAPTURES, [one])).inserted == 1
    await store.replace(CAPTURES, two)
    assert repr(await found(store)) == repr(
        [await reordered(store, one), await reordered(store, two)]
    )
    assert await found(store) == [one, two]


async def reordered(store: Documents, it: dict[str, Any]) -> dict[str, Any]:
    """In the order of the store, which means nothing; types do, and ``repr`` tells them."""
    kept = await store.get(CAPTURES, it["_id"])
    assert kept is not None
    assert kept.keys() == it.keys()
    return {key: it[key] if key != "value" else kept[key] for key in kept}


async def test_integers_and_truth_keep_their_types(store: Documents) -> None:
    values = [1, 2**40, True, 1.0, None, "1"]
    await store.insert(CAPTURES, [document(1, x=values)])
    (kept,) = await found(store)
    assert [type(it) for it in kept["x"]] == [type(it) for it in values]
    assert type(kept["version"]) is int


async def test_numbers_that_are_none_and_infinite_come_back(store: Documents) -> None:
    await store.insert(CAPTURES, [document(1, x=[math.nan, math.inf, -math.inf, -0.0], y=math.nan)])
    (kept,) = await found(store)
    assert repr((kept["x"], kept["y"])) == "([nan, inf, -inf, -0.0], nan)"


@pytest.mark.parametrize(
    "moment",
    [
        START,
        datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
        datetime(2026, 3, 29, 2, 30, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    ],
    ids=str,
)
async def test_moments_come_back_in_utc(store: Documents, moment: datetime) -> None:
    await store.insert(CAPTURES, [document(1, ts=moment)])
    (kept,) = await found(store)
    assert kept["ts"] == moment
    assert kept["ts"].utcoffset() == timedelta()
    assert await ids(store, since=moment, until=moment + timedelta(microseconds=1)) == ["id000001"]


async def test_moments_are_cut_to_milliseconds(store: Documents) -> None:
    moment = START + timedelta(microseconds=999)
    await store.insert(CAPTURES, [document(1, ts=moment)])
    assert [it["ts"] for it in await found(store)] == [START]
    assert await ids(store, since=moment) == []
    assert await ids(store, until=moment) == ["id000001"]
    assert await ids(store, until=START) == []


# Finding


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


async def test_deleting_takes_many_and_leaves_other_collections(store: Documents) -> None:
    for collection in (CAPTURES, Collection.LABELS):
        await store.insert(collection, documents(5000))
    until = START + timedelta(milliseconds=4500)
    assert await store.delete(Query(CAPTURES, until=until)) == 4500
    assert await store.count(Query(CAPTURES)) == 500
    assert await store.count(Query(Collection.LABELS)) == 5000


async def test_a_document_that_is_not_there(store: Documents) -> None:
    assert await store.get(CAPTURES, "x") is None
    assert await store.get(CAPTURES, "\ud800") is None


async def test_a_replacement_stands_where_the_other_was(store: Documents) -> None:
    await store.insert(CAPTURES, documents(3, x=1))
    other = document(1, y=2, model="n", ts=START + timedelta(days=1), request_id="r")
    await store.replace(CAPTURES, other)
    assert await found(store) == [document(0, x=1), document(2, x=1), other]
    assert await found(store, request_ids=["r"]) == [other]
    await store.replace(CAPTURES, document(9))
    assert await store.count(Query(CAPTURES)) == 4


# Many at once


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


# Blobs


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, MAX_BLOB - 5])
async def test_blobs_come_back_whole(store: Documents, size: int) -> None:
    content = random.Random(size).randbytes(size)
    await store.put_blob("report", content)
    assert await store.get_blob("report") == content
    await store.put_blob("report", content[: size // 2] + b"other")
    assert await store.get_blob("report") == content[: size // 2] + b"other"
    await store.delete_blob("report")
    assert await store.get_blob("report") is None


async def test_blob_that_no_document_holds_is_refused(store: Documents) -> None:
    await store.put_blob("report", b"page")
    with pytest.raises(
        DocumentRefused, match=f"it has {MAX_BLOB + 1} bytes; at most {MAX_BLOB} are"
    ):
        await store.put_blob("report", bytes(MAX_BLOB + 1))
    await store.put_blob("i" * 1000, bytes(MAX_BLOB))
    assert await store.get_blob("report") == b"page"


async def test_blobs_have_names(store: Documents) -> None:
    await store.put_blob("a", b"1")
    await store.put_blob("ä/😀 $.", b"2")
    assert await store.get_blob("a") == b"1"
    assert await store.get_blob("ä/😀 $.") == b"2"
    assert await store.get_blob("A") is None
    await store.delete_blob("A")
    await store.delete_blob("a")
    assert await store.get_blob("ä/😀 $.") == b"2"
    assert await store.get_blob("\ud800") is None
    await store.delete_blob("\ud800")
    with pytest.raises(DocumentRefused):
        await store.put_blob("\ud800", b"")


async def test_a_blob_that_is_replaced_is_one_or_the_other(store: Documents) -> None:
    contents = [bytes([n]) * 3_000_000 for n in range(4)]
    await store.put_blob("x", contents[0])
    writing = asyncio.gather(*(store.put_blob("x", content) for content in contents))
    while not writing.done():
        assert await store.get_blob("x") in contents
    await writing
    assert await store.get_blob("x") in contents
    await store.put_blob("x", b"last")
    assert await store.get_blob("x") == b"last"
    await store.delete_blob("x")
    assert await store.get_blob("x") is None


# Opening and being away


async def test_reopened_store_has_everything(depot: Bench) -> None:
    await depot.store.insert(CAPTURES, documents(300))
    await depot.store.put_blob("x", b"blob")
    await depot.store.close()
    depot.store = depot.make()
    await depot.store.open()
    await depot.store.open()  # and again, which changes nothing
    assert await found(depot.store) == documents(300)
    assert await depot.store.get_blob("x") == b"blob"
    assert await depot.store.insert(CAPTURES, documents(301)) == Written(inserted=1, known=300)


async def test_two_may_open_at_once(depot: Bench) -> None:
    others = [depot.make() for _ in range(4)]
    await asyncio.gather(*(other.open() for other in others))
    await others[0].insert(CAPTURES, documents(1))
    for other in others:
        assert await found(other) == documents(1)
        await other.close()


async def test_closing_twice(depot: Bench) -> None:
    await depot.store.close()
    await depot.store.close()
    with pytest.raises(StoreUnavailable):
        await depot.store.insert(CAPTURES, documents(1))
    with pytest.raises(StoreUnavailable):
        await ids(depot.store)


Call = Callable[[Documents], Awaitable[object]]
WRITES: dict[str, Call] = {
    "insert": lambda store: store.insert(CAPTURES, documents(3)),
    "replace": lambda store: store.replace(CAPTURES, document(1)),
    "delete": lambda store: store.delete(Query(CAPTURES)),
    "put_blob": lambda store: store.put_blob("x", b"new"),
    "delete_blob": lambda store: store.delete_blob("x"),
}
READS: dict[str, Call] = {
    "find": found,
    "get": lambda store: store.get(CAPTURES, "id000000"),
    "count": lambda store: store.count(Query(CAPTURES)),
    "get_blob": lambda store: store.get_blob("x"),
}


async def at_once(calls: dict[str, Call], store: Documents) -> dict[str, tuple[float, object]]:
    """Seconds of each call that failed, and what came of it."""
    results = await asyncio.gather(*(timed(call(store)) for call in calls.values()))
    return dict(zip(calls, results, strict=True))


async def timed(call: Awaitable[object]) -> tuple[float, object]:
    begun = time.monotonic()
    try:
        return 0.0, await call
    except StoreUnavailable as error:
        return time.monotonic() - begun, error


async def test_a_store_that_is_away_says_so_soon_and_is_used_again(depot: Bench) -> None:
    store = depot.store
    await store.insert(CAPTURES, documents(1))
    await store.put_blob("x", b"old")
    before = {name: (await timed(read(store)))[1] for name, read in READS.items()}
    with depot.away():
        writes = await at_once(WRITES, store)
        reads = await at_once(READS, store)
    for name, (seconds, result) in writes.items():
        assert isinstance(result, StoreUnavailable), name
        assert str(result).startswith("cannot")
        assert seconds < SOON, name
    for name, (seconds, result) in reads.items():  # some can be read meanwhile
        assert isinstance(result, StoreUnavailable) or result == before[name]
        assert seconds < SOON, name
    await until(lambda: works(store), what="the store")
    assert await store.insert(CAPTURES, documents(5)) == Written(inserted=4, known=1)
    assert await store.get_blob("x") == b"old"
