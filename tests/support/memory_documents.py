"""A document store in memory, for tests of what reads from one."""

from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from model_deployment.documents.base import Collection, Documents, Query, StoreUnavailable

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


class MemoryDocuments:
    """Finds what was put into it."""

    def __init__(self) -> None:
        self.kept: dict[Collection, list[dict[str, Any]]] = defaultdict(list)
        #: Documents it gives before it goes away.
        self.breaks_after: int | None = None
        self.open_streams = 0

    @property
    def store(self) -> Documents:
        """The same object for functions that take a document store, and only read from it."""
        return cast(Documents, self)

    def capture(
        self, id: str, columns: list[str], data: list[Any], predictions: Any, **more: Any
    ) -> None:
        self.kept[Collection.CAPTURES].append(
            {
                "_id": f"c-{id}",
                "model": "m",
                "version": 1,
                "ts": START + timedelta(seconds=len(self.kept[Collection.CAPTURES])),
                "request_id": id,
                "columns": columns,
                "data": data,
                "predictions": predictions,
                "rows": len(data),
                "truncated": False,
                **more,
            }
        )

    def label(self, id: str, row: int, label: Any) -> None:
        document = {"_id": f"{id}#{row}", "request_id": id, "row": row, "label": label}
        document |= {"model": "m", "version": 1, "ts": START + timedelta(days=3)}
        self.kept[Collection.LABELS].append(document)

    async def find(self, query: Query) -> AsyncIterator[dict[str, Any]]:
        found = [one for one in self.kept[query.collection] if _fits(one, query)]
        found.sort(key=lambda one: (one["ts"], one["_id"]), reverse=query.newest_first)
        self.open_streams += 1
        try:
            for number, one in enumerate(found[: query.limit]):
                if query.collection is Collection.CAPTURES and number == self.breaks_after:
                    raise StoreUnavailable("it went away")
                yield dict(one)
        finally:
            self.open_streams -= 1

    async def count(self, query: Query) -> int:
        return len([one async for one in self.find(replace(query, limit=None))])


def _fits(one: dict[str, Any], query: Query) -> bool:
    return (
        (query.model is None or one["model"] == query.model)
        and (query.version is None or one["version"] == query.version)
        and (query.since is None or one["ts"] >= query.since)
        and (query.until is None or one["ts"] < query.until)
        and (query.request_ids is None or one["request_id"] in query.request_ids)
        and (query.ids is None or one["_id"] in query.ids)
    )
