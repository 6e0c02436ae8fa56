"""The last report of each deployment: for metrics, the overview, and the schedule."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import takewhile
from typing import Any

from model_deployment.core.names import ModelKey
from model_deployment.documents.base import StoreUnavailable

_log = logging.getLogger(__name__)

#: Seconds between two looks for deployments whose last report is not known.
_LOOK = 15.0
#: The newest reports of a deployment, at most that many.
ListReports = Callable[[ModelKey, int], Awaitable[Sequence[Mapping[str, Any]]]]


#: Reports of a deployment that are looked at, to tell since when its verdict holds.
_REPORTS = 10


@dataclass(frozen=True, slots=True)
class LastReport:
    id: str
    verdict: str
    headline: str
    at: datetime
    #: When the oldest report with this verdict in a row was made.
    since: datetime

    @classmethod
    def of(cls, reports: Sequence[Mapping[str, Any]]) -> "LastReport":
        """From documents of reports: at least one, newest first."""
        newest = reports[0]
        same = takewhile(lambda report: report["verdict"] == newest["verdict"], reports)
        *_, oldest = (report["ts"] for report in same)
        return cls(newest["_id"], str(newest["verdict"]), newest["headline"], newest["ts"], oldest)


class LastReports:
    """Reads each deployment's last report once; newer ones are told."""

    def __init__(self, list_reports: ListReports) -> None:
        """``list_reports`` raises StoreUnavailable."""
        self._list = list_reports
        #: None: there is no report yet.
        self._known: dict[ModelKey, LastReport | None] = {}

    def of(self, key: ModelKey) -> LastReport | None:
        """None also while the store has not been read."""
        return self._known.get(key)

    def made(self, key: ModelKey, report: Mapping[str, Any]) -> None:
        """A report was made."""
        made, before = LastReport.of([report]), self._known.get(key)
        if before is not None and before.verdict == made.verdict:
            made = replace(made, since=before.since)
        self._known[key] = made

    def forget(self, key: ModelKey) -> None:
        """The name stands for another model."""
        self._known.pop(key, None)

    async def run(self, deployed: Callable[[], Awaitable[Iterable[ModelKey]]]) -> None:
        """Keep reading what is not known of the deployments, until cancelled."""
        while True:
            try:
                await self.read(await deployed())
            except Exception:
                _log.exception("cannot read the last reports")
            await asyncio.sleep(_LOOK)

    async def read(self, keys: Iterable[ModelKey]) -> bool:
        """Read what is not known of these deployments, and forget all others.

        Returns:
            Whether all is known; False while the store is away.
        """
        wanted = set(keys)
        self._known = {key: one for key, one in self._known.items() if key in wanted}
        for key in sorted(wanted - self._known.keys()):
            try:
                found = await self._list(key, _REPORTS)
            except StoreUnavailable:
                return False
            # Unless one was made meanwhile.
            self._known.setdefault(key, LastReport.of(found) if found else None)
        return True
