"""Regular work of the controller: stores counts, and knows how captures fare on their way to the store."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from model_deployment.documents.base import Collection, Query, StoreUnavailable
from model_deployment.documents.opening import OpenedStore
from model_deployment.recording.drain_state import DrainState, read_state
from model_deployment.recording.reported_counts import ReportedCounts
from model_deployment.recording.spool import extents, segments

_log = logging.getLogger(__name__)

#: Seconds between two looks for minutes that are over.
_FLUSH = 5.0
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
        spool: Path,
        counts: ReportedCounts,
        store: OpenedStore,
        stored: Callable[[str, Mapping[str, int]], object],
    ) -> None:
        """Remember the sources.

        Args:
            spool: the folder.
            stored: tells a process which windows are in the store, see :meth:`CountReport.stored`.
        """
        self._spool = spool
        self._counts = counts
        self._store = store
        self._stored = stored

    def state(self) -> CaptureStatus:
        """Reads a file, and the sizes of some."""
        drain: DrainState = read_state(self._spool)
        sizes = extents(self._spool).items()
        return CaptureStatus(
            spool_bytes=sum(max(0, size - drain.offsets.get(name, 0)) for name, size in sizes),
            dropped=self._counts.dropped + drain.lost,
            dead=drain.dead,
            written=drain.written,
            error=drain.error,
        )

    async def caught_up(self, patience: float) -> bool:
        """Wait until everything captured so far is in the store; False after ``patience`` seconds."""
        root = self._spool
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
        while True:
            try:
                await self.flush()
            except StoreUnavailable as error:
                _log.debug("the document store does not answer: %s", error)
            except Exception:
                _log.exception("cannot store the counts of requests")
            await asyncio.sleep(_FLUSH)

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
