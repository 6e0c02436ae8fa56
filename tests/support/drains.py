"""A drain to test, records for it, and a store that fails when it is told to."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from model_deployment.documents.base import (
    Collection,
    Document,
    Documents,
    Query,
    StoreUnavailable,
    Written,
)
from model_deployment.recording.capture import encode
from model_deployment.recording.drain import Drain, DrainConfig
from model_deployment.recording.spool import Spool

DAY = 86400.0


class Store:
    """Keeps documents by their name, and fails when it is told to."""

    def __init__(self) -> None:
        self.kept: dict[Collection, dict[str, Document]] = {name: {} for name in Collection}
        #: How often each document came.
        self.came: Counter[str] = Counter()
        self.away = False
        self.hangs = False
        #: Documents it takes before it goes away in the middle.
        self.breaks_after: int | None = None
        #: Request ids of documents that it never takes.
        self.refused: set[str] = set()
        #: Whether it takes no letters about them either.
        self.refuses_letters = False
        self.opened = 0
        #: What was asked for.
        self.queries: list[Query] = []

    async def open(self) -> None:
        if self.away:
            raise StoreUnavailable("it is away")
        self.opened += 1

    async def insert(self, collection: Collection, documents: Sequence[Document]) -> Written:
        if self.hangs:
            await asyncio.Event().wait()
        if self.away:
            raise StoreUnavailable("it is away")
        inserted, refused = 0, {}
        for number, one in enumerate(documents):
            if number == self.breaks_after:
                raise StoreUnavailable("it went away")
            self.came[one["_id"]] += 1
            takes = collection is Collection.DEAD_LETTERS and not self.refuses_letters
            if one.get("request_id") in self.refused and not takes:
                refused[one["_id"]] = "it is odd"
            elif one["_id"] not in self.kept[collection]:
                self.kept[collection][one["_id"]] = one
                inserted += 1
        return Written(inserted, len(documents) - inserted - len(refused), refused)

    async def find(self, query: Query) -> AsyncIterator[dict[str, Any]]:
        if self.away:
            raise StoreUnavailable("it is away")
        assert query.request_ids is not None
        self.queries.append(query)
        for one in [*self.kept[query.collection].values()]:
            if one["request_id"] in query.request_ids:
                yield dict(one)

    async def delete(self, query: Query) -> int:
        assert query.ids is not None
        gone = [id for id in query.ids if self.kept[query.collection].pop(id, None)]
        return len(gone)

    def erase(self, request_id: str, at: float, model: str = "m", version: int = 1) -> None:
        """Note down that a request was erased, and delete what is there of it."""
        id = f"{model}-{version}/{request_id}"
        self.kept[Collection.ERASED][id] = {
            "_id": id,
            "model": model,
            "version": version,
            # As a store has it.
            "ts": datetime.fromtimestamp(int(at * 1000) / 1000, UTC),
            "request_id": request_id,
        }
        captures = self.kept[Collection.CAPTURES]
        for one in [*captures.values()]:
            if (one["request_id"], one["model"], one["version"]) == (request_id, model, version):
                del captures[one["_id"]]

    @property
    def requests(self) -> list[str]:
        return [one["request_id"] for one in self.kept[Collection.CAPTURES].values()]

    @property
    def dead(self) -> list[Document]:
        return [*self.kept[Collection.DEAD_LETTERS].values()]


def drain_of(spool: Spool, store: Store, max_age: float = DAY) -> Drain:
    config = DrainConfig(str(spool.root), "", max_age, 10**6, "salt")
    return Drain(config, cast(Documents, store))


def put(spool: Spool, *names: str, body: bytes = b'{"x": 1}', **head: Any) -> None:
    for name in names:
        known = {"model": "m", "version": 1, "at": 1.7e9, "launch_id": "l", "latency_ms": 1}
        known |= {"request_id": name, "media_type": "application/json", **head}
        assert spool.append(encode(known, body, b'{"predictions": [1]}'))


def numbered(number: int) -> list[str]:
    return [f"r{n}" for n in range(number)]


async def empty(drain: Drain) -> None:
    while await drain.step():
        pass
