"""The logs of runs, with or without the lines that the engine writes of itself."""

import asyncio
import re
from collections.abc import Sequence

from model_deployment.flows.base import LogLine
from model_deployment.flows.mirror import Mirror
from model_deployment.flows.records import Record, Records

#: Lines that the engine is asked for at once, and that are looked at of a run that goes on.
_PAGE, _MOST = 200, 50_000
#: What Prefect writes into the log of each run and task, beside what the flows write.
_OF_THE_ENGINE = re.compile(
    r"Finished in state |Beginning (sub)?flow run |Created task run |Executing '|View at "
    r"|Downloading flow code |Opening process|Process '?\w+'? exited cleanly"
    r"|Completed submission of |Task run .* (already|has been) "
)
_CALM = ("DEBUG", "INFO")


def of_the_engine(line: LogLine) -> bool:
    """Whether the engine wrote a line of itself; warnings and errors are never left out."""
    return (
        line.level in _CALM
        and line.logger.startswith("prefect")
        and _OF_THE_ENGINE.match(line.message) is not None
    )


class RunLogs:
    """Reads logs: those of runs that have ended from files, the others from the engine."""

    def __init__(self, mirror: Mirror, records: Records) -> None:
        self._mirror = mirror
        self._records = records
        #: By run, lines of the engine that were read before; of runs that had not ended.
        self._read: dict[str, list[LogLine]] = {}

    async def lines(self, record: Record, offset: int, limit: int, *, all: bool) -> list[LogLine]:
        """Oldest first, from the ``offset``-th on.

        Args:
            all: with those that the engine writes of itself.

        Raises:
            FlowsUnavailable: the run has not ended, and the engine does not answer.
        """
        kept = await asyncio.to_thread(self._records.log, record)
        if kept is not None and record.state.final:
            self._read.pop(record.id, None)
            return _chosen(kept, all)[offset : offset + limit]
        if record.run is None:
            return []
        if all:
            return await self._mirror.log(record, offset, limit)
        return _chosen(await self._so_far(record), all)[offset : offset + limit]

    async def _so_far(self, record: Record) -> list[LogLine]:
        ended = {id for id in self._read if (one := self._records.find(id)) and one.state.final}
        for id in ended:
            del self._read[id]
        read = list(self._read.get(record.id, ()))
        while len(read) < _MOST:
            page = await self._mirror.log(record, len(read), _PAGE)
            read += page
            if len(page) < _PAGE:
                break
        self._read[record.id] = read
        return read


def _chosen(lines: Sequence[LogLine], all: bool) -> list[LogLine]:
    return [one for one in lines if all or not of_the_engine(one)]
