"""What has to be done for captures and counts from time to time, whoever calls or not."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from model_deployment.core.names import ModelKey
from model_deployment.documents.base import (
    RETENTION_DAYS,
    Collection,
    Documents,
    Query,
    StoreUnavailable,
)
from model_deployment.recording.drain import DrainState, read_state
from model_deployment.recording.spool import Spool, extents, segments
from model_deployment.recording.windows import TrafficWindows

_log = logging.getLogger(__name__)

#: Seconds between forcing captures to the disk.
_SYNC = 1.0
#: A segment is ended after so many seconds, so that it can be deleted, if the ones before it are.
_SEGMENT_SECONDS = 60.0
#: Seconds between looks for minutes that are over, and for documents that are too old.
_FLUSH = 5.0
_PURGE = 3600.0
#: Documents of counts in one write.
_BATCH = 500
#: Reports of a deployment that are kept, and how many of them with their pages.
_REPORTS, _PAGES = 200, 50
#: What stores tell apart.
_MILLISECOND = timedelta(milliseconds=1)

#: Seconds between looks at how far captures have come.
_LOOK = 0.05

#: Days that captures of a deployment are kept, for those that chose.
Retention = Callable[[], Awaitable[Mapping[ModelKey, float]]]


@dataclass(frozen=True, slots=True)
class CaptureStatus:
    """For ``/ready``."""

    spool_bytes: int
    #: Captures that are lost: the spool was full, they were too old, or damaged.
    dropped: int
    #: Captures that no store takes.
    dead: int
    written: int
    #: Why the document store takes nothing; empty while it does.
    error: str


class Upkeep:
    """Looks after spool, counts and old documents."""

    def __init__(
        self, spool: Spool, traffic: TrafficWindows, documents: Documents, retention: Retention
    ) -> None:
        self._spool = spool
        self._traffic = traffic
        self._documents = documents
        self._retention = retention
        self._reported = 0
        self._opened = False
        #: From when on the reports of a deployment have pages.
        self._pages: dict[ModelKey, datetime] = {}

    def state(self) -> CaptureStatus:
        """How it goes."""
        drain: DrainState = read_state(self._spool.root)
        return CaptureStatus(
            spool_bytes=max(0, self._spool.size - sum(drain.offsets.values())),
            dropped=self._spool.dropped + drain.lost,
            dead=drain.dead,
            written=drain.written,
            error=drain.error,
        )

    async def caught_up(self, patience: float) -> bool:
        """Wait until all that is captured by now is in the store; False if it is not after some seconds."""
        root = self._spool.root
        waited_for = await asyncio.to_thread(extents, root)
        end = time.monotonic() + patience
        while True:
            state = read_state(root)
            there = {path.name for path in segments(root)}
            if all(
                name not in there or state.offsets.get(name, 0) >= size
                for name, size in waited_for.items()
            ):
                return True
            if time.monotonic() >= end:
                return False
            await asyncio.sleep(_LOOK)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(_every(_SYNC, self.look_after_spool))
            group.create_task(_every(_FLUSH, self.flush))
            group.create_task(_every(_PURGE, self.purge))

    async def look_after_spool(self) -> None:
        """Force captures to the disk, and say what was dropped."""
        try:
            await asyncio.to_thread(self._spool.sync)
        except OSError as error:
            _log.error("cannot force captures to the disk: %s", error.strerror)
        self._spool.end_old(_SEGMENT_SECONDS)
        mark = self._spool.mark()
        self._spool.seen(mark, await asyncio.to_thread(self._spool.measure, mark))
        if self._spool.dropped > self._reported:
            lost = self._spool.dropped - self._reported
            _log.error("%s captures were dropped: the spool is full, or the disk is", lost)
            self._reported = self._spool.dropped

    async def flush(self, *, all: bool = False) -> None:
        """Keep the counts of the minutes that are over."""
        # Before the store is asked: while it is away, the oldest ones are merged.
        finished = self._traffic.all() if all else self._traffic.finished(time.time())
        await self.opened()
        for start in range(0, len(finished), _BATCH):
            batch = finished[start : start + _BATCH]
            if replaced := self._traffic.replaced(batch):
                await self._documents.delete(Query(Collection.TRAFFIC, ids=replaced))
            written = await self._documents.insert(Collection.TRAFFIC, batch)
            if written.refused:
                # They would be refused for ever.
                _log.error(
                    "counts of %s minutes are lost, the store never takes them: %s",
                    len(written.refused),
                    next(iter(written.refused.values())),
                )
            self._traffic.forget(batch)

    async def purge(self) -> None:
        """Delete what is older than it has to be kept."""
        await self.opened()
        now = datetime.now(UTC)
        chosen = await self._retention()
        for collection, days in RETENTION_DAYS.items():
            if collection is Collection.CAPTURES:
                await self._purge_captures(now, chosen, days)
            elif days is not None:
                await self._delete(collection, now - timedelta(days=days))
        for key, own in chosen.items():
            until = now - timedelta(days=own)
            if own < (RETENTION_DAYS[Collection.LABELS] or math.inf):
                await self._delete(Collection.LABELS, until, key)
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
        # A store deletes those of one deployment, or all. Whether there are any of those that chose
        # nothing is told by counting, and as a rule there are none.
        left = await self._documents.count(Query(captures, until=until))
        for key in longer:
            left -= await self._documents.count(Query.of(captures, key, until=until))
        if left <= 0:
            return
        seen = set(longer)
        # The newest first: they have become too old since the last time.
        async for found in self._documents.find(Query(captures, until=until, newest_first=True)):
            key = ModelKey(found["model"], found["version"])
            if key not in seen:
                seen.add(key)
                left -= await self._delete(captures, until, key)
            if left <= 0:
                break

    async def _thin_out_reports(self, key: ModelKey) -> None:
        """Keep so many reports of a deployment, and fewer of their pages."""
        documents, reports = self._documents, Collection.REPORTS
        excess = await documents.count(Query.of(reports, key)) - _REPORTS
        if excess > 0:
            query = Query.of(reports, key, limit=excess)
            ids = [found["_id"] async for found in documents.find(query)]
            for id in ids:
                await documents.delete_blob(id)
            await documents.delete(Query(reports, ids=ids))
        since = self._pages.get(key)
        excess = await documents.count(Query.of(reports, key, since=since)) - _PAGES
        if excess > 0:
            async for found in documents.find(Query.of(reports, key, since=since, limit=excess)):
                await documents.delete_blob(found["_id"])
                self._pages[key] = found["ts"] + _MILLISECOND

    async def opened(self) -> Documents:
        """The store, with its collections made."""
        if not self._opened:
            await self._documents.open()
            self._opened = True
        return self._documents

    async def _delete(
        self, collection: Collection, until: datetime | None, key: ModelKey | None = None
    ) -> int:
        query = Query.of(collection, key, until=until) if key else Query(collection, until=until)
        reports: Iterable[str] = ()
        if collection is Collection.REPORTS:
            reports = [found["_id"] async for found in self._documents.find(query)]
        for report in reports:
            await self._documents.delete_blob(report)
        if deleted := await self._documents.delete(query):
            _log.info("deleted %s old documents: %s", deleted, collection)
        return deleted


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except StoreUnavailable as error:
            _log.debug("the document store does not answer: %s", error)
        except Exception:
            _log.exception("cannot look after what was captured")
        await asyncio.sleep(seconds)
