"""The document store as the rest knows it: a narrow Protocol, and what is kept in it.

A document is a mapping of JSON values with an envelope: ``_id`` (text, chosen by us beforehand, so that
writing twice is writing once), ``model``, ``version``, ``ts`` (an aware UTC datetime, to the
millisecond), and where there is one ``request_id``. Everything else is the collection's own.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, Self

from model_deployment.core.names import ModelKey

Document = Mapping[str, Any]


class Collection(StrEnum):
    """What is kept. Retention is declared in :data:`RETENTION_DAYS`."""

    CAPTURES = "captures"  # one answered request: columns, data, predictions, latency
    LABELS = "labels"  # late ground truth, one row of one request
    METRICS = "metrics"  # metrics that were set or computed, one moment
    TRAFFIC = "traffic"  # what was served in one minute
    REFERENCES = "references"  # frozen rows to compare with
    REPORTS = "reports"  # verdicts; their pages are blobs of the same name
    DEAD_LETTERS = "dead_letters"  # captures that no store takes, with the reason
    ERASED = "erased"  # requests whose captures must not come any more, and since when


#: Days a document is kept, for deployments that choose no other.
RETENTION_DAYS: Mapping[Collection, float | None] = {
    Collection.CAPTURES: 30,
    Collection.LABELS: 90,
    Collection.METRICS: 5 * 365,
    Collection.TRAFFIC: 30,
    Collection.REFERENCES: None,
    Collection.REPORTS: 180,
    Collection.DEAD_LETTERS: 30,
    Collection.ERASED: 7,
}


@dataclass(frozen=True, slots=True)
class Query:
    """Which documents of a collection. Members that are None, or empty, restrict nothing."""

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
        """Of one deployment."""
        return cls(
            collection, key.model, key.version, since, until,
            request_ids=request_ids, newest_first=newest_first, limit=limit,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Written:
    """What became of some documents."""

    #: Written now.
    inserted: int = 0
    #: There already, by ``_id``, and left as they were.
    known: int = 0
    #: By ``_id``, those that the store will never take, with its reason.
    refused: Mapping[str, str] = field(default_factory=dict)


class StoreUnavailable(Exception):
    """The store does not answer, or cannot write now; trying again later may help."""


class StoreUnusable(StoreUnavailable):
    """What is there is damaged, or not ours: nothing was changed, and somebody has to look at it."""


class Refused(ValueError):
    """A document that the store will never take, with its reason."""


class Documents(Protocol):
    """A document store. Every method may raise :class:`StoreUnavailable`, soon: it never hangs."""

    async def open(self) -> None:
        """Make collections and indexes, where they are missing. Idempotent."""
        ...

    async def close(self) -> None:
        """Let go of connections and files."""
        ...

    async def ping(self) -> None:
        """Make sure that it could be written to now."""
        ...

    async def insert(self, collection: Collection, documents: Sequence[Document]) -> Written:
        """Write documents, durably. One that is refused does not keep the others out."""
        ...

    async def replace(self, collection: Collection, document: Document) -> None:
        """Write one in the place of whatever has its ``_id``.

        Raises:
            Refused: the store will never take it.
        """
        ...

    async def get(self, collection: Collection, id: str) -> dict[str, Any] | None:
        """One by its ``_id``."""
        ...

    def find(self, query: Query) -> AsyncIterator[dict[str, Any]]:
        """Documents in the order of ``ts`` and then of ``_id``, streamed."""
        ...

    async def count(self, query: Query) -> int:
        """How many there are (``limit`` and order do not matter)."""
        ...

    async def delete(self, query: Query) -> int:
        """Delete them (``limit`` and order do not matter); how many they were."""
        ...

    async def put_blob(self, id: str, content: bytes) -> None:
        """Keep some bytes, up to hundreds of megabytes, in the place of what has this name.

        Raises:
            Refused: the name is no text.
        """
        ...

    async def get_blob(self, id: str) -> bytes | None:
        """The bytes of this name."""
        ...

    async def delete_blob(self, id: str) -> None:
        """Forget the bytes of this name, if there are any."""
        ...
