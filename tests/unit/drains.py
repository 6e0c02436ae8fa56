"""A drain to test, records for it, and a store that fails when it is told to."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

from model_deployment.documents.base import (
    Collection,
    Document,
    Documents,
    StoreUnavailable,
    Written,
)
from model_deployment.monitoring.capture import encode
from model_deployment.monitoring.drain import Config, Drain
from model_deployment.monitoring.spool import Spool

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
        self.opened = 0

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
            if one.get("request_id") in self.refused:
                refused[one["_id"]] = "it is odd"
            elif one["_id"] not in self.kept[collection]:
                self.kept[collection][one["_id"]] = one
                inserted += 1
        return Written(inserted, len(documents) - inserted - len(refused), refused)

    @property
    def requests(self) -> list[str]:
        return [one["request_id"] for one in self.kept[Collection.CAPTURES].values()]

    @property
    def dead(self) -> list[Document]:
        return [*self.kept[Collection.DEAD_LETTERS].values()]


def drain_of(spool: Spool, store: Store, max_age: float = DAY) -> Drain:
    config = Config(str(spool.root), "", max_age, 10**6, "salt")
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
