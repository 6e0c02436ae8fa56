"""The document store as it looks to the present owner of a name.

A model may be deleted in the registry and registered anew, under the same name and version: another model,
whose captures, metrics, reports and references begin with it. What is older stays in the store until it
is too old, and whoever reads by deployment does not find it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from model_deployment.core.names import ModelKey
from model_deployment.documents.base import Collection, Document, Documents, Query, Written
from model_deployment.documents.opening import OpenedStore

#: From when on a name stands for the model that is deployed now; None if it always did.
FindSince = Callable[[ModelKey], Awaitable[datetime | None]]


class Store(Protocol):
    """Where documents are had from."""

    async def opened(self) -> Documents:
        """The store, with its collections made.

        Raises:
            StoreUnavailable: it does not answer.
        """
        ...


class Filling(Store, Protocol):
    """Where captures arrive a moment after their answers."""

    async def caught_up(self, patience: float) -> bool:
        """Wait until all that is captured by now is in the store; False if it is not after some seconds."""
        ...


class Present:
    """Documents of the models that are deployed now."""

    def __init__(
        self, store: OpenedStore, since: FindSince, caught_up: Callable[[float], Awaitable[bool]]
    ) -> None:
        self._documents = store.documents
        self._store = store
        self._since = since
        self._caught_up = caught_up

    async def opened(self) -> Documents:
        """As :class:`Store` has it."""
        await self._store.opened()
        return self

    async def caught_up(self, patience: float) -> bool:
        """As :class:`Filling` has it."""
        return await self._caught_up(patience)

    async def open(self) -> None:
        """As all below: of the store itself, unless it says otherwise."""
        await self._documents.open()

    async def close(self) -> None:
        """Close it."""
        await self._documents.close()

    async def ping(self) -> None:
        """Make sure that it could be written to now."""
        await self._documents.ping()

    async def insert(self, collection: Collection, documents: Sequence[Document]) -> Written:
        """Write documents."""
        return await self._documents.insert(collection, documents)

    async def replace(self, collection: Collection, document: Document) -> None:
        """Write one in the place of another."""
        await self._documents.replace(collection, document)

    async def get(self, collection: Collection, id: str) -> dict[str, Any] | None:
        """One, unless it is of an earlier model."""
        found = await self._documents.get(collection, id)
        if found is None or not await self._is_present(collection, found, {}):
            return None
        return found

    async def find(self, query: Query) -> AsyncIterator[dict[str, Any]]:
        """Documents that are of no earlier model."""
        known: dict[ModelKey, datetime | None] = {}
        query = await self._narrowed(query, known)
        found = self._documents.find(query)
        try:
            async for document in found:
                if await self._is_present(query.collection, document, known):
                    yield document
        finally:
            if (close := getattr(found, "aclose", None)) is not None:
                await close()

    async def count(self, query: Query) -> int:
        """How many are of no earlier model; of one deployment."""
        return await self._documents.count(await self._narrowed(query, {}))

    async def delete(self, query: Query) -> int:
        """Delete documents, those of earlier models too."""
        return await self._documents.delete(query)

    async def put_blob(self, id: str, content: bytes) -> None:
        """Keep some bytes."""
        await self._documents.put_blob(id, content)

    async def get_blob(self, id: str) -> bytes | None:
        """The bytes of a name."""
        return await self._documents.get_blob(id)

    async def delete_blob(self, id: str) -> None:
        """Forget the bytes of a name."""
        await self._documents.delete_blob(id)

    async def _narrowed(self, query: Query, known: dict[ModelKey, datetime | None]) -> Query:
        if query.model is None or query.version is None:
            return query
        since = await self._begin(query.collection, ModelKey(query.model, query.version), known)
        if since is None or (query.since is not None and query.since >= since):
            return query
        return replace(query, since=since)

    async def _is_present(
        self, collection: Collection, found: Document, known: dict[ModelKey, datetime | None]
    ) -> bool:
        since = await self._begin(collection, ModelKey(found["model"], found["version"]), known)
        return since is None or bool(found["ts"] >= since)

    async def _begin(
        self, collection: Collection, key: ModelKey, known: dict[ModelKey, datetime | None]
    ) -> datetime | None:
        if key not in known:
            known[key] = await self._since(key)
        since = known[key]
        if since is None:
            return None
        if collection is Collection.TRAFFIC:  # by the minute it began in
            return since.replace(second=0, microsecond=0)
        return since.replace(microsecond=since.microsecond // 1000 * 1000)
