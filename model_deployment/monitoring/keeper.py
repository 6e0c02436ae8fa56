"""What has to be done for captures and counts from time to time, whoever calls or not."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from model_deployment.documents.base import (
    RETENTION_DAYS,
    Collection,
    Documents,
    Query,
    StoreUnavailable,
)
from model_deployment.domain import ModelKey
from model_deployment.monitoring.drain import DrainState, read_state
from model_deployment.monitoring.spool import Spool
from model_deployment.monitoring.traffic import Traffic

_log = logging.getLogger(__name__)

#: Seconds between forcing captures to the disk.
_SYNC = 1.0
#: A segment is ended after so many seconds, so that it can be deleted.
_SEGMENT_SECONDS = 60.0
#: Seconds between looks for minutes that are over, and for documents that are too old.
_FLUSH = 5.0
_PURGE = 3600.0

#: Days that captures of a deployment are kept, for those that chose.
Retention = Callable[[], Awaitable[Mapping[ModelKey, float]]]


@dataclass(frozen=True, slots=True)
class MonitoringState:
    """For ``/ready``."""

    spool_bytes: int
    #: Captures that are lost: the spool was full, they were too old, or damaged.
    dropped: int
    #: Captures that no store takes.
    dead: int
    written: int
    #: Why the document store takes nothing; empty while it does.
    error: str


class Keeper:
    """Looks after spool, counts and old documents."""

    def __init__(
        self, spool: Spool, traffic: Traffic, documents: Documents, retention: Retention
    ) -> None:
        self._spool = spool
        self._traffic = traffic
        self._documents = documents
        self._retention = retention
        self._reported = 0
        self._opened = False

    def state(self) -> MonitoringState:
        """How it goes."""
        drain: DrainState = read_state(self._spool.root)
        return MonitoringState(
            spool_bytes=max(0, self._spool.size - sum(drain.offsets.values())),
            dropped=self._spool.dropped + drain.lost,
            dead=drain.dead,
            written=drain.written,
            error=drain.error,
        )

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
        self._spool.look(_SEGMENT_SECONDS)
        if self._spool.dropped > self._reported:
            lost = self._spool.dropped - self._reported
            _log.error("%s captures were dropped: the spool is full, or the disk is", lost)
            self._reported = self._spool.dropped

    async def flush(self, *, all: bool = False) -> None:
        """Keep the counts of the minutes that are over."""
        await self.opened()
        finished = self._traffic.all() if all else self._traffic.finished(time.time())
        if finished:
            await self._documents.insert(Collection.TRAFFIC, finished)
            self._traffic.forget(finished)

    async def purge(self) -> None:
        """Delete what is older than it has to be kept."""
        await self.opened()
        now = datetime.now(UTC)
        chosen = await self._retention()
        for collection, days in RETENTION_DAYS.items():
            if collection is Collection.CAPTURES:
                for key, own in chosen.items():
                    await self._delete(collection, now - timedelta(days=own), key)
                days = max([days or 0.0, *chosen.values()])  # noqa: PLW2901
            if days is not None:
                await self._delete(collection, now - timedelta(days=days))

    async def opened(self) -> Documents:
        """The store, with its collections made."""
        if not self._opened:
            await self._documents.open()
            self._opened = True
        return self._documents

    async def _delete(
        self, collection: Collection, until: datetime, key: ModelKey | None = None
    ) -> None:
        query = Query(
            collection,
            model=key.model if key else None,
            version=key.version if key else None,
            until=until,
        )
        reports: Iterable[str] = ()
        if collection is Collection.REPORTS:
            reports = [found["_id"] async for found in self._documents.find(query)]
        for report in reports:
            await self._documents.delete_blob(report)
        if deleted := await self._documents.delete(query):
            _log.info("deleted %s old documents: %s", deleted, collection)


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except StoreUnavailable as error:
            _log.debug("the document store does not answer: %s", error)
        except Exception:
            _log.exception("cannot look after what was captured")
        await asyncio.sleep(seconds)
