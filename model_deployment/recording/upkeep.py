"""Regular work, with requests or without: forces captures to the disk, and stores counts."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from model_deployment.documents.base import Collection, Query, StoreUnavailable
from model_deployment.documents.opening import OpenedStore
from model_deployment.recording.drain import DrainState, read_state
from model_deployment.recording.reported_counts import ReportedCounts
from model_deployment.recording.spool import Spool, extents, segments

_log = logging.getLogger(__name__)

#: Seconds between two syncs of the spool, and between two looks for minutes that are over.
_SYNC, _FLUSH = 1.0, 5.0
#: Seconds after which a segment is ended, so that it can be deleted, if the ones before it are gone.
_SEGMENT_SECONDS = 60.0
#: Documents of counts in one write.
_BATCH = 500
#: Seconds between two looks at the drain's progress.
_PROGRESS = 0.05


@dataclass(frozen=True, slots=True)
class CaptureStatus:
    """How captures fare, for ``/ready`` and ``/metrics``."""

    spool_bytes: int
    #: Captures that are lost: the spool was full, they were too old, or damaged.
    dropped: int
    #: Captures that the store refuses.
    dead: int
    written: int
    #: Why the document store takes nothing; empty while it does.
    error: str


class Upkeep:
    def __init__(
        self,
        spool: Spool,
        counts: ReportedCounts,
        store: OpenedStore,
        stored: Callable[[str, Mapping[str, int]], object],
    ) -> None:
        """``stored`` tells a process which windows are in the store, see :meth:`CountReport.stored`."""
        self._spool = spool
        self._counts = counts
        self._store = store
        self._stored = stored
        self._reported = 0

    def state(self) -> CaptureStatus:
        """Reads a file."""
        drain: DrainState = read_state(self._spool.root)
        return CaptureStatus(
            spool_bytes=max(0, self._spool.size - sum(drain.offsets.values())),
            dropped=self._counts.dropped + drain.lost,
            dead=drain.dead,
            written=drain.written,
            error=drain.error,
        )

    async def caught_up(self, patience: float) -> bool:
        """Wait until everything captured so far is in the store; False after ``patience`` seconds."""
        root = self._spool.root
        awaited = await asyncio.to_thread(extents, root)
        end = time.monotonic() + patience
        while True:
            state = read_state(root)
            present = {path.name for path in segments(root)}
            if all(
                name not in present or state.offsets.get(name, 0) >= size
                for name, size in awaited.items()
            ):
                return True
            if time.monotonic() >= end:
                return False
            await asyncio.sleep(_PROGRESS)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(_every(_SYNC, self.sync))
            group.create_task(_every(_FLUSH, self.flush))

    async def sync(self) -> None:
        """Force captures to the disk, and log how many were dropped."""
        try:
            await asyncio.to_thread(self._spool.sync)
        except OSError as error:
            _log.error("cannot flush captures to the disk: %s", error.strerror)
        self._spool.end_old(_SEGMENT_SECONDS)
        ended = self._spool.ended_segments()
        self._spool.forget(await asyncio.to_thread(self._spool.deleted, ended))
        if self._spool.dropped > self._reported:
            lost = self._spool.dropped - self._reported
            _log.error("%s captures were dropped: the spool or the disk is full", lost)
            self._reported = self._spool.dropped

    async def flush(self) -> None:
        """Store the counts of the minutes that are over.

        Raises:
            StoreUnavailable: the counts stay here until the next call.
        """
        # Before the store is opened: while it is away, the oldest minutes are merged.
        finished = self._counts.finished()
        documents = await self._store.opened()
        for start in range(0, len(finished), _BATCH):
            batch = finished[start : start + _BATCH]
            if replaced := [id for window in batch for id in window.replaces]:
                await documents.delete(Query(Collection.TRAFFIC, ids=replaced))
            made = [window.document for window in batch]
            written = await documents.insert(Collection.TRAFFIC, made)
            if written.refused:  # for good: they would be refused again
                _log.error(
                    "counts of %s minutes are lost: the document store refuses them: %s",
                    len(written.refused),
                    next(iter(written.refused.values())),
                )
            for process, revisions in self._counts.forget(batch).items():
                self._stored(process, revisions)


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except StoreUnavailable as error:
            _log.debug("the document store does not answer: %s", error)
        except Exception:
            _log.exception("cannot maintain the captures")
        await asyncio.sleep(seconds)
