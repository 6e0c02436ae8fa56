"""Takes a snapshot of the controller, and writes it as the page of ``GET /metrics``.

The event loop only gathers numbers; threads read ``/proc`` and write the page, since predictions go on.
"""

import asyncio
import platform
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from importlib.metadata import version

from prometheus_client import CollectorRegistry, ProcessCollector

from model_deployment import __version__
from model_deployment.control.missing_workers import serving
from model_deployment.core.domain import Deployment, Handle, Memory, PortUsage, ProxyCounters, State
from model_deployment.core.names import ModelKey
from model_deployment.endpoints.views import EndpointView
from model_deployment.recording.reported_counts import ReportedTotals
from model_deployment.recording.upkeep import CaptureStatus
from model_deployment.runtime.memory import MemoryGauge
from model_deployment.runtime.worker_counts import worker_counts
from model_deployment.state.database import DatabaseError
from model_deployment.state.deployments import Deployments
from model_deployment.state.ports import Ports
from model_deployment.telemetry.page import MetricsPage
from model_deployment.telemetry.prometheus import DeploymentSnapshot, Snapshot

#: Seconds that a scrape waits for the memory of models; then it shows the previous figures.
_PATIENCE = 0.05


class Telemetry:
    def __init__(
        self,
        *,
        deployments: Deployments,
        ports: Ports,
        endpoints: Callable[[], Awaitable[Sequence[EndpointView]]],
        counters: Callable[[ModelKey], ProxyCounters],
        totals: ReportedTotals,
        captures: Callable[[], CaptureStatus],
        idle: Callable[[], float],
        memory: MemoryGauge,
        refresh: Callable[[], Awaitable[None]],
        proxies: Callable[[], tuple[int, int]],
    ) -> None:
        """Remember the sources.

        Args:
            counters: the proxies' counts of a deployment.
            captures: the status of captures; may read a file.
            idle: seconds since the reconciler's last successful tick.
            refresh: has the newest counts of the proxies come in.
            proxies: how many proxies serve, and how many have ended unasked.
        """
        self._deployments = deployments
        self._ports = ports
        self._endpoints = endpoints
        self._counters = counters
        self._totals = totals
        self._captures = captures
        self._idle = idle
        self._memory = memory
        self._refresh = refresh
        self._proxies = proxies
        self._rows: Sequence[Deployment] = ()
        self._views: Sequence[EndpointView] = ()
        self._restarts = Restarts()
        #: The highest counts so far: the file with the counts may be unreadable for a while.
        self._last = CaptureStatus(0, 0, 0, 0, "")
        self._build = {
            "version": __version__,
            "mlflow_version": version("mlflow"),
            "python_version": platform.python_version(),
        }
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        self._page = MetricsPage()

    async def page(self, accept: str) -> tuple[bytes, str]:
        """The page in the format that ``accept`` asks for, and its media type."""
        snapshot = await self.snapshot()
        return await asyncio.to_thread(
            lambda: self._page.write(snapshot, self._process.collect(), accept)
        )

    async def memory(self, handle: Handle) -> Memory | None:
        return await self._memory.one(handle)

    async def workers(self, row: Deployment) -> int | None:
        """Workers that serve; None if unknown."""
        return await asyncio.to_thread(serving, row, worker_counts)

    async def snapshot(self) -> Snapshot:
        usage, readable = await self._state()
        handles = [row.handle for row in self._rows if row.handle is not None]
        memory = await self._memory.all(handles, _PATIENCE)
        captures = await self._capture_status()
        await self._refresh()
        # No await from here on, so that the figures are of one moment.
        proxies, restarts = self._proxies()
        return Snapshot(
            deployments=[self._deployment(row, memory) for row in self._rows],
            ports=usage,
            captures=captures,
            idle=self._idle(),
            database=readable,
            build=self._build,
            proxies=proxies,
            proxy_restarts=restarts,
            endpoints=self._views,
        )

    async def _state(self) -> tuple[PortUsage | None, bool]:
        """How ports are used, and whether the database could be read; if not, the last rows stay."""
        try:
            rows = await self._deployments.all()
            usage = await self._ports.usage(time.monotonic())
            views = await self._endpoints()
        except DatabaseError:
            return None, False
        self._views = views
        self._rows = [row for row in rows if row.state is not State.STOPPED]
        self._restarts.keep({row.key for row in self._rows})
        return usage, True

    async def _capture_status(self) -> CaptureStatus:
        now, last = await asyncio.to_thread(self._captures), self._last
        self._last = replace(
            now,
            dropped=max(now.dropped, last.dropped),
            dead=max(now.dead, last.dead),
            written=max(now.written, last.written),
        )
        return self._last

    def _deployment(self, row: Deployment, memory: dict[str, Memory]) -> DeploymentSnapshot:
        return DeploymentSnapshot(
            row=row,
            total=self._totals.of(row.key),
            counters=self._counters(row.key),
            restarts=self._restarts.of(row.key, row.restarts),
            memory=memory.get(row.launch_id or ""),
            workers=serving(row, worker_counts),
        )


class Restarts:
    """Restarts as a counter that only rises: a row counts from 0 when a failed model is deployed again."""

    def __init__(self) -> None:
        #: By deployment: restarts before the row's last reset, and since.
        self._known: dict[ModelKey, tuple[int, int]] = {}

    def of(self, key: ModelKey, now: int) -> int:
        """All restarts of a deployment, with ``now`` in its row."""
        before, last = self._known.get(key, (0, 0))
        if now < last:
            before += last
        self._known[key] = before, now
        return before + now

    def keep(self, keys: set[ModelKey]) -> None:
        """Forget all other deployments."""
        self._known = {key: known for key, known in self._known.items() if key in keys}
