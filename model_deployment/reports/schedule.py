"""Makes reports on a schedule: of deployments that have a reference, and were asked since the last one."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta

from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.names import ModelKey
from model_deployment.documents.base import StoreUnavailable
from model_deployment.reports.last_reports import LastReports
from model_deployment.reports.service import Reporter

_log = logging.getLogger(__name__)

#: Seconds between two looks at which reports are due, at most.
_LOOK = 600.0


class Schedule:
    def __init__(
        self,
        reporter: Reporter,
        last: LastReports,
        served: Callable[[], Awaitable[Iterable[tuple[ModelKey, datetime]]]],
        *,
        every: timedelta,
        window: timedelta,
    ) -> None:
        """
        Args:
            served: the deployments that answer, and since when they have been deployed.
            every: from one report of a deployment to the next.
            window: how far back a report looks.
        """
        self._reporter = reporter
        self._last = last
        self._served = served
        self._every = every
        self._window = window

    async def run(self) -> None:
        """Make what is due, until cancelled."""
        pause = min(_LOOK, self._every.total_seconds())
        while True:
            await asyncio.sleep(pause)
            try:
                served = dict(await self._served())
                # Else a report would be made anew after each start.
                known = await self._last.read(served)
            except Exception:
                _log.exception("cannot list the deployments")
                continue
            for key in self.due(served.items(), datetime.now(UTC)) if known else ():
                await self._make(key)

    def due(self, served: Iterable[tuple[ModelKey, datetime]], now: datetime) -> list[ModelKey]:
        """The deployments whose last report, or else whose deployment, is long enough ago."""
        return [key for key, since in served if now - self._begun(key, since) >= self._every]

    def _begun(self, key: ModelKey, since: datetime) -> datetime:
        last = self._last.of(key)
        return since if last is None else max(since, last.at)

    async def _make(self, key: ModelKey) -> None:
        last, now = self._last.of(key), datetime.now(UTC)
        try:
            if await self._reporter.is_worthwhile(key, last.at if last else None):
                id = self._reporter.begin(key, now - self._window, now)
                await self._reporter.wait(key, id, 3600)
        except (StoreUnavailable, ModelDeploymentError, OSError) as error:
            _log.error("cannot make the report of %s: %s", key, error)
        except Exception:
            _log.exception("cannot make the report of %s", key)
