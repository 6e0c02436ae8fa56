"""The benches of the document stores: one store each, and what can be done to what is below it."""

import asyncio
import gc
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from model_deployment.documents.base import Collection, Documents, Query, StoreUnavailable
from model_deployment.documents.embedded import EmbeddedDocuments
from model_deployment.documents.mongo import MongoDocuments
from tests.support.mongod import Mongod

START = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


class Bench(Protocol):
    """What a test needs of an implementation."""

    store: Documents

    def make(self) -> Documents:
        """Another object for the same documents."""
        ...

    def away(self) -> Any:
        """A context in which nothing can be written."""
        ...


class MongoBench:
    def __init__(self, server: Mongod) -> None:
        self.server = server
        self.store: Documents = self.make()

    def make(self) -> MongoDocuments:
        return MongoDocuments(self.server.url)

    @contextmanager
    def away(self) -> Iterator[None]:
        self.server.kill()
        try:
            yield
        finally:
            self.server.revive()


class EmbeddedBench:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.store: Documents = self.make()

    def make(self) -> EmbeddedDocuments:
        return EmbeddedDocuments(self.path, busy=0.5)

    @contextmanager
    def away(self) -> Iterator[None]:
        """As another program keeps the file, which writes to it for longer than one waits."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield
            connection.execute("ROLLBACK")


def document(number: int = 0, **members: Any) -> dict[str, Any]:
    """A capture; numbers are moments as well."""
    return {
        "_id": f"id{number:06}",
        "model": "m",
        "version": 1,
        "ts": START + timedelta(milliseconds=number),
        **members,
    }


def documents(number: int, **members: Any) -> list[dict[str, Any]]:
    return [document(n, **members) for n in range(number)]


async def found(store: Documents, **query: Any) -> list[dict[str, Any]]:
    collection = query.pop("collection", Collection.CAPTURES)
    return [it async for it in store.find(Query(collection, **query))]


async def ids(store: Documents, **query: Any) -> list[str]:
    return [it["_id"] for it in await found(store, **query)]


class Lag:
    """How long the event loop was kept from its work, at most.

    What other tests left in memory is frozen: the garbage collector would look through all of it, which
    took more than half a second.
    """

    def __init__(self) -> None:
        self.longest = 0.0

    async def __aenter__(self) -> "Lag":
        gc.collect()
        gc.freeze()
        self._task = asyncio.create_task(self._watch())
        return self

    async def _watch(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            before = clock()
            await asyncio.sleep(0.005)
            self.longest = max(self.longest, clock() - before - 0.005)

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()


async def works(store: Documents) -> bool:
    """Whether the store can be written to."""
    try:
        await store.delete_blob("none")
    except StoreUnavailable:
        return False
    return True
