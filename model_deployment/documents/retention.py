"""Deletes documents that are older than they have to be kept."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta

from model_deployment.core.names import ModelKey
from model_deployment.documents.base import (
    RETENTION_DAYS,
    Collection,
    Query,
    StoreUnavailable,
    evidently_blob,
)
from model_deployment.documents.opening import OpenedStore

_log = logging.getLogger(__name__)

#: Seconds between two rounds.
_PAUSE = 3600.0
#: Reports of a deployment that are kept, and how many of them with their pages.
_REPORTS, _PAGES, _EVIDENTLY_PAGES = 200, 50, 20
#: Kept for as long as the captures of their deployment, if these are kept for a shorter time.
_NO_LONGER_THAN_CAPTURES = (
    Collection.LABELS,
    Collection.SHADOWS,
    Collection.ERRORS,
    Collection.DEVICE_CAPTURES,
)
#: The resolution of times in the stores.
_MILLISECOND = timedelta(milliseconds=1)

#: Days that captures are kept, of the deployments that chose a number of days.
ChosenDays = Callable[[], Awaitable[Mapping[ModelKey, float]]]


class Retention:
    def __init__(self, store: OpenedStore, chosen_days: ChosenDays) -> None:
        self._store = store
        self._documents = store.documents
        self._chosen_days = chosen_days
        #: Reports of a deployment from this moment on have pages.
        self._pages: dict[ModelKey, datetime] = {}
        #: The same for Evidently's pages.
        self._evidently: dict[ModelKey, datetime] = {}

    async def run(self) -> None:
        """Delete old documents every hour, until cancelled."""
        while True:
            try:
                await self.purge()
            except StoreUnavailable as error:
                _log.debug("the document store does not answer: %s", error)
            except Exception:
                _log.exception("cannot delete old documents")
            await asyncio.sleep(_PAUSE)

    async def purge(self) -> None:
        """Delete everything that is too old now.

        Raises:
            StoreUnavailable: the rest is deleted in the next round.
        """
        await self._store.opened()
        now = datetime.now(UTC)
        chosen = await self._chosen_days()
        for collection, days in RETENTION_DAYS.items():
            if collection is Collection.CAPTURES:
                await self._purge_captures(now, chosen, days)
            elif days is not None:
                await self._delete(collection, now - timedelta(days=days))
        for key, own in chosen.items():
            for collection in _NO_LONGER_THAN_CAPTURES:
                if own < (RETENTION_DAYS[collection] or math.inf):
                    await self._delete(collection, now - timedelta(days=own), key)
            await self._thin_out_reports(key)

    async def _purge_captures(
        self, now: datetime, chosen: Mapping[ModelKey, float], days: float | None
    ) -> None:
        captures = Collection.CAPTURES
        for key, own in chosen.items():
            await self._delete(captures, now - timedelta(days=own), key)
        if days is None:
            return
        until = now - timedelta(days=days)
        longer = [key for key, own in chosen.items() if own > days]
        if not longer:
            await self._delete(captures, until)
            return
        # A store deletes the captures of one deployment, or all. Counting tells whether deployments without
        # a choice have old ones; as a rule they have none.
        left = await self._documents.count(Query(captures, until=until))
        for key in longer:
            left -= await self._documents.count(Query.of(captures, key, until=until))
        if left <= 0:
            return
        seen = set(longer)
        # The newest first: they have become too old since the last round.
        async for found in self._documents.find(Query(captures, until=until, newest_first=True)):
            key = ModelKey(found["model"], found["version"])
            if key not in seen:
                seen.add(key)
                left -= await self._delete(captures, until, key)
            if left <= 0:
                break

    async def _thin_out_reports(self, key: ModelKey) -> None:
        documents, reports = self._documents, Collection.REPORTS
        excess = await documents.count(Query.of(reports, key)) - _REPORTS
        if excess > 0:
            query = Query.of(reports, key, limit=excess)
            ids = [found["_id"] async for found in documents.find(query)]
            for id in ids:
                await documents.delete_blob(id)
                await documents.delete_blob(evidently_blob(id))
            await documents.delete(Query(reports, ids=ids))
        await self._thin_out_pages(key, self._pages, _PAGES, lambda id: id)
        await self._thin_out_pages(key, self._evidently, _EVIDENTLY_PAGES, evidently_blob)

    async def _thin_out_pages(
        self,
        key: ModelKey,
        kept_since: dict[ModelKey, datetime],
        most: int,
        blob: Callable[[str], str],
    ) -> None:
        """Delete the blobs of all but the newest reports."""
        documents, since = self._documents, kept_since.get(key)
        excess = await documents.count(Query.of(Collection.REPORTS, key, since=since)) - most
        if excess > 0:
            query = Query.of(Collection.REPORTS, key, since=since, limit=excess)
            async for found in documents.find(query):
                await documents.delete_blob(blob(found["_id"]))
                kept_since[key] = found["ts"] + _MILLISECOND

    async def _delete(
        self, collection: Collection, until: datetime, key: ModelKey | None = None
    ) -> int:
        query = Query.of(collection, key, until=until) if key else Query(collection, until=until)
        if collection is Collection.REPORTS:
            for report in [found["_id"] async for found in self._documents.find(query)]:
                await self._documents.delete_blob(report)
                await self._documents.delete_blob(evidently_blob(report))
        if deleted := await self._documents.delete(query):
            _log.info("deleted %s old documents: %s", deleted, collection)
        return deleted
