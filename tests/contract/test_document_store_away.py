"""A document store that is away says so soon, and is used again when it is back."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from model_deployment.documents.base import Collection, Documents, Query, StoreUnavailable, Written
from tests.support.document_store_bench import Bench, document, documents, found, works
from tests.support.waiting import until

pytest_plugins = ["tests.support.document_store_fixtures"]

CAPTURES = Collection.CAPTURES

#: Longer than any call may take while its store is away.
SOON = 8.0

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
