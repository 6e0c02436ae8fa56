"""What every document store takes into a document, gives back as it was, or refuses."""

import math
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from model_deployment.documents.base import Collection, DocumentRefused, Documents
from tests.support.document_store_bench import START, document, found, ids

pytest_plugins = ["tests.support.document_store_fixtures"]

CAPTURES = Collection.CAPTURES


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


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
