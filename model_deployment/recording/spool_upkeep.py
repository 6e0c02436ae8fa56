"""Regular work of a process that captures, with requests or without: its part of the spool."""

import asyncio
import logging

from model_deployment.recording.recorder import Recorder
from model_deployment.recording.spool import Spool, extents

_log = logging.getLogger(__name__)

#: Seconds between two syncs.
_SYNC = 1.0
#: Seconds after which a segment is ended, so that it can be deleted, if the ones before it are gone.
_SEGMENT_SECONDS = 60.0


class SpoolUpkeep:
    def __init__(self, spool: Spool, recorder: Recorder | None = None) -> None:
        self._spool = spool
        self._recorder = recorder
        self._reported = 0

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                await self.sync()
            except Exception:
                _log.exception("cannot maintain the captures")
            await asyncio.sleep(_SYNC)

    async def sync(self) -> None:
        """Force captures to the disk, look how full the spool is, and log how many were dropped."""
        spool = self._spool
        if self._recorder is not None:
            self._recorder.write_errors()
        try:
            await asyncio.to_thread(spool.sync)
        except OSError as error:
            _log.error("cannot flush captures to the disk: %s", error.strerror)
        spool.end_old(_SEGMENT_SECONDS)
        ended = spool.ended_segments()
        spool.remember(ended, await asyncio.to_thread(extents, spool.root))
        if spool.dropped > self._reported:
            lost = spool.dropped - self._reported
            _log.error("%s captures were dropped: the spool or the disk is full", lost)
            self._reported = spool.dropped
