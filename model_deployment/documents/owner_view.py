"""A view of the document store for the models that own their names now.

A model can be deleted in the registry and registered again under the same name and version. The new model
must not see the captures, metrics, reports and references of the old one. The view hides these documents;
they stay in the store until retention deletes them.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from model_deployment.core.names import ModelKey
from model_deployment.documents.base import Collection, Document, Documents, Query
from model_deployment.documents.opening import OpenedStore

#: Their documents carry the start of their minute.
_BY_MINUTE = frozenset({Collection.TRAFFIC, Collection.DEVICE_TRAFFIC})

#: The moment since which a name belongs to the model that is deployed now; None if it always did.
FindSince = Callable[[ModelKey], Awaitable[datetime | None]]


class DocumentSource(Protocol):
    """Opens the document store on demand."""

    async def opened(self) -> Documents:
        """The store, with its collections made.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        ...


class CaptureSource(DocumentSource, Protocol):
    """A document source that captures reach a moment after their answers."""

    async def caught_up(self, patience: float) -> bool:
        """Wait until the store has all captures made so far; False after ``patience`` seconds."""
        ...


class OwnerView:
    """The documents of the models that are deployed now. Writing and deleting pass through unchanged."""

    def __init__(
        self, store: OpenedStore, since: FindSince, caught_up: Callable[[float], Awaitable[bool]]
    ) -> None:
        self._documents = documents = store.documents
        self._store = store
        self._since = since
        self._caught_up = caught_up
        self.open, self.close = documents.open, documents.close
        self.insert, self.replace = documents.insert, documents.replace
        self.delete, self.delete_blob = documents.delete, documents.delete_blob
        self.put_blob, self.get_blob = documents.put_blob, documents.get_blob

    async def opened(self) -> Documents:
        await self._store.opened()
        return self

    async def caught_up(self, patience: float) -> bool:
        return await self._caught_up(patience)

    async def get(self, collection: Collection, id: str) -> dict[str, Any] | None:
        found = await self._documents.get(collection, id)
        if found is None or not await self._belongs_to_owner(collection, found, {}):
            return None
        return found

    async def find(self, query: Query) -> AsyncIterator[dict[str, Any]]:
        known: dict[ModelKey, datetime | None] = {}
        query = await self._narrowed(query, known)
        found = self._documents.find(query)
        try:
            async for document in found:
                if await self._belongs_to_owner(query.collection, document, known):
                    yield document
        finally:
            if (close := getattr(found, "aclose", None)) is not None:
                await close()

    async def count(self, query: Query) -> int:
        return await self._documents.count(await self._narrowed(query, {}))

    async def _narrowed(self, query: Query, known: dict[ModelKey, datetime | None]) -> Query:
        if query.model is None or query.version is None:
            return query
        since = await self._owned_since(
            query.collection, ModelKey(query.model, query.version), known
        )
        if since is None or (query.since is not None and query.since >= since):
            return query
        return replace(query, since=since)

    async def _belongs_to_owner(
        self, collection: Collection, found: Document, known: dict[ModelKey, datetime | None]
    ) -> bool:
        since = await self._owned_since(
            collection, ModelKey(found["model"], found["version"]), known
        )
        return since is None or bool(found["ts"] >= since)

    async def _owned_since(
        self, collection: Collection, key: ModelKey, known: dict[ModelKey, datetime | None]
    ) -> datetime | None:
        if key not in known:
            known[key] = await self._since(key)
        since = known[key]
        if since is None:
            return None
        if collection in _BY_MINUTE:
            return since.replace(second=0, microsecond=0)
        return since.replace(microsecond=since.microsecond // 1000 * 1000)
