"""The interface of a document store, and the collections it keeps.

A document is a mapping of JSON values with an envelope: ``_id`` (text that the writer chooses, so that
writing twice is writing once), ``model``, ``version``, ``ts`` (an aware UTC datetime, in whole
milliseconds), and optionally ``request_id``. All other members are the collection's own.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, Self

from model_deployment.core.names import ModelKey

Document = Mapping[str, Any]


class Collection(StrEnum):
    """What is stored. :data:`RETENTION_DAYS` says for how long."""

    CAPTURES = "captures"  # one answered request: columns, data, predictions, latency
    SHADOWS = "shadows"  # what a candidate answered to the copy of a request
    ERRORS = "errors"  # predictions that a model failed to make, in groups of the same kind
    LABELS = "labels"  # late ground truth, one row of one request
    METRICS = "metrics"  # metrics that were set or computed at one moment
    TRAFFIC = "traffic"  # what was served in one minute
    DEVICE_CAPTURES = "device_captures"  # as captures, of predictions that devices made
    DEVICE_TRAFFIC = "device_traffic"  # as traffic, of one device
    REFERENCES = "references"  # frozen rows that reports compare with
    REPORTS = "reports"  # verdicts; blobs hold the page (with the same id) and Evidently's page
    DEAD_LETTERS = "dead_letters"  # captures that the store refused, with the reason
    ERASED = "erased"  # requests whose captures must no longer be stored


class CapturedOn(StrEnum):
    """Where captured predictions were made."""

    SERVERS = "servers"
    DEVICES = "devices"

    @property
    def captures(self) -> Collection:
        """The collection of these captures."""
        devices = self is CapturedOn.DEVICES
        return Collection.DEVICE_CAPTURES if devices else Collection.CAPTURES


#: Days a document is kept, unless its deployment chooses otherwise; None keeps it.
RETENTION_DAYS: Mapping[Collection, float | None] = {
    Collection.CAPTURES: 30,
    Collection.SHADOWS: 30,
    Collection.ERRORS: 30,
    Collection.LABELS: 90,
    Collection.METRICS: 5 * 365,
    Collection.TRAFFIC: 30,
    Collection.DEVICE_CAPTURES: 30,
    Collection.DEVICE_TRAFFIC: 30,
    Collection.REFERENCES: None,
    Collection.REPORTS: 180,
    Collection.DEAD_LETTERS: 30,
    Collection.ERASED: 7,
}


def evidently_blob(report: str) -> str:
    """The id of the blob with Evidently's page of a report."""
    return f"{report}.evidently"


@dataclass(frozen=True, slots=True)
class Query:
    """Selects documents of a collection. A member that is None restricts nothing."""

    collection: Collection
    model: str | None = None
    version: int | None = None
    #: From this moment on, inclusive.
    since: datetime | None = None
    #: Before this moment, exclusive.
    until: datetime | None = None
    #: None restricts nothing; an empty sequence finds nothing.
    request_ids: Sequence[str] | None = None
    #: None restricts nothing; an empty sequence finds nothing.
    ids: Sequence[str] | None = None
    newest_first: bool = False
    limit: int | None = None

    @classmethod
    def of(
        cls,
        collection: Collection,
        key: ModelKey,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        request_ids: Sequence[str] | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> Self:
        """A query for the documents of one deployment."""
        return cls(
            collection, key.model, key.version, since, until,
            request_ids=request_ids, newest_first=newest_first, limit=limit,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Written:
    """The outcome of an insert."""

    inserted: int = 0
    #: Documents whose ``_id`` was there already; the stored ones stay unchanged.
    known: int = 0
    #: The reason of each refusal, by ``_id``. The store will never take these documents.
    refused: Mapping[str, str] = field(default_factory=dict)


class StoreUnavailable(Exception):
    """The store does not answer, or cannot write now. A later attempt may succeed."""


class StoreUnusable(StoreUnavailable):
    """The store is damaged or not ours. Nothing was changed; an operator has to look at it."""


class DocumentRefused(ValueError):
    """The store will never take this document; the text says why."""


class Documents(Protocol):
    """A document store. Any method raises :class:`StoreUnavailable` within seconds instead of hanging."""

    async def open(self) -> None:
        """Create missing collections and indexes. Idempotent."""
        ...

    async def close(self) -> None: ...

    async def insert(self, collection: Collection, documents: Sequence[Document]) -> Written:
        """Write documents durably. A refused document does not keep the others out."""
        ...

    async def replace(self, collection: Collection, document: Document) -> None:
        """Write a document in place of the one with the same ``_id``, if there is one.

        Raises:
            DocumentRefused: the store will never take this document.
        """
        ...

    async def get(self, collection: Collection, id: str) -> dict[str, Any] | None:
        """The document with this ``_id``."""
        ...

    def find(self, query: Query) -> AsyncIterator[dict[str, Any]]:
        """Stream documents in the order of ``ts``, then of ``_id``."""
        ...

    async def count(self, query: Query) -> int:
        """Count documents; limit and order are ignored."""
        ...

    async def delete(self, query: Query) -> int:
        """Delete documents and return their number; limit and order are ignored."""
        ...

    async def put_blob(self, id: str, content: bytes) -> None:
        """Store the page of a report, in place of the one with the same id, if there is one.

        Raises:
            DocumentRefused: the id is not text, or the content has more than
                :data:`~model_deployment.documents.envelope.MAX_BLOB` bytes.
        """
        ...

    async def get_blob(self, id: str) -> bytes | None: ...

    async def delete_blob(self, id: str) -> None: ...
