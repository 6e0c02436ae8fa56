"""Every document store is opened, closed and opened again, and has what it had."""

import asyncio

import pytest

from model_deployment.documents.base import Collection, StoreUnavailable, Written
from tests.support.document_store_bench import Bench, documents, found, ids

pytest_plugins = ["tests.support.document_store_fixtures"]

CAPTURES = Collection.CAPTURES


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
