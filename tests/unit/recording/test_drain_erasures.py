"""Captures that were erased while they waited in the spool: the drain leaves them out."""

from collections.abc import Sequence
from typing import Any

import pytest

from model_deployment.documents.base import Collection, Document, Written
from model_deployment.recording.capture import encode
from model_deployment.recording.spool import Spool
from tests.support.drains import Store, drain_of, empty, numbered, put

AT = 1.7e9


async def test_erased_captures_in_the_spool_are_left_out(spool: Spool, store: Store) -> None:
    put(spool, "a", "b", "c")
    store.erase("b", AT + 0.5)
    drain = drain_of(spool, store)
    await empty(drain)
    assert store.requests == ["a", "c"]
    assert store.came.keys() == store.kept[Collection.CAPTURES].keys()
    assert (drain.state.written, drain.state.lost, drain.state.dead) == (2, 0, 0)


@pytest.mark.parametrize(("after", "kept"), [(-0.1, True), (0.0004, False), (0.1, False)])
async def test_erasure_leaves_out_only_earlier_captures(
    spool: Spool, store: Store, after: float, kept: bool
) -> None:
    put(spool, "a", at=AT + 0.1232)
    store.erase("a", AT + 0.1232 + after)
    await empty(drain_of(spool, store))
    assert store.requests == (["a"] if kept else [])


@pytest.mark.parametrize("other", [{"model": "other"}, {"version": 2}])
async def test_the_same_request_id_of_another_deployment_is_not_erased(
    spool: Spool, store: Store, other: dict[str, Any]
) -> None:
    put(spool, "a")
    put(spool, "a", **other)
    store.erase("a", AT + 1)
    await empty(drain_of(spool, store))
    (left,) = store.kept[Collection.CAPTURES].values()
    assert (left["model"], left["version"]) == (other.get("model", "m"), other.get("version", 1))


async def test_erasure_during_a_write_deletes_the_capture(spool: Spool, store: Store) -> None:
    put(spool, "a", "b", "c")
    real = store.insert

    async def insert(collection: Collection, documents: Sequence[Document]) -> Written:
        if collection is Collection.CAPTURES:
            store.erase("a", AT + 1)
            store.erase("b", AT + 1)
        return await real(collection, documents)

    store.insert = insert  # type: ignore[method-assign]
    store.refused = {"b"}
    await empty(drain_of(spool, store))
    assert (store.requests, store.dead) == (["c"], [])


async def test_erasures_are_queried_once_for_each_batch(spool: Spool, store: Store) -> None:
    put(spool, *numbered(700))
    drain = drain_of(spool, store)
    await empty(drain)
    # Before and after each of two writes.
    assert [len(query.request_ids or ()) for query in store.queries] == [500, 500, 200, 200]
    await empty(drain)
    assert len(store.queries) == 4


async def test_dead_letter_of_an_erased_request_is_deleted(spool: Spool, store: Store) -> None:
    put(spool, "a", "b", latency_ms=None, launch_id=None)
    for name in ("c", "d"):
        spool.append(encode({"model": "m", "version": 1, "at": AT, "request_id": name}, b"", b""))
    store.erase("d", AT + 1)
    await empty(drain_of(spool, store))
    assert store.requests == ["a", "b"]
    assert [letter["request_id"] for letter in store.dead] == ["c"]
