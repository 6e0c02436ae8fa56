"""Takes a snapshot of the controller, and writes it as the page of ``GET /metrics``.

The event loop only gathers numbers; threads read ``/proc`` and write the page, since predictions go on.
"""

import asyncio
import platform
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version

from prometheus_client import CollectorRegistry, ProcessCollector

from model_deployment import __version__
from model_deployment.control.deployment_environments import (
    NO_ENVIRONMENTS,
    DeploymentEnvironments,
)
from model_deployment.control.missing_workers import serving
from model_deployment.core.device_figures import DeviceFigures
from model_deployment.core.domain import Deployment, Handle, State
from model_deployment.core.measures import (
    HeldFigures,
    LaunchTraffic,
    MachineMemory,
    Memory,
    ProxyCounters,
    WorkerCounts,
)
from model_deployment.core.names import ModelKey
from model_deployment.core.port_usage import PortUsage
from model_deployment.endpoints.views import EndpointView
from model_deployment.flows.figures import FlowFigures
from model_deployment.recording.reported_counts import ReportedTotals
from model_deployment.recording.upkeep import CaptureStatus
from model_deployment.reports.last_reports import LastReport
from model_deployment.runtime.memory import MemoryGauge, machine_memory
from model_deployment.state.database import DatabaseError
from model_deployment.state.deployments import Deployments
from model_deployment.state.ports import Ports
from model_deployment.telemetry.page import MetricsPage
from model_deployment.telemetry.prometheus import DeploymentSnapshot, LaunchSnapshot, Snapshot

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
        traffic: Callable[[str], LaunchTraffic],
        totals: ReportedTotals,
        captures: Callable[[], CaptureStatus],
        idle: Callable[[], float],
        memory: MemoryGauge,
        workers: Callable[[Handle], WorkerCounts | None],
        last_report: Callable[[ModelKey], LastReport | None],
        refresh: Callable[[], Awaitable[None]],
        proxies: Callable[[], tuple[int, int]],
        flows: Callable[[], FlowFigures] = FlowFigures,
        held: Callable[[], HeldFigures] = HeldFigures,
        devices: Callable[[], Awaitable[DeviceFigures]] | None = None,
        environments: DeploymentEnvironments = NO_ENVIRONMENTS,
    ) -> None:
        """Remember the sources.

        Args:
            counters: the proxies' counts of a deployment.
            traffic: what proxies have seen of a launch.
            captures: the status of captures; may read a file.
            idle: seconds since the reconciler's last successful tick.
            workers: how many workers of a launch serve; may read a file.
            refresh: has the newest counts of the proxies come in.
            proxies: how many proxies serve, and how many have ended unasked.
            held: what proxies hold for callers; reads a file.
            devices: the figures of devices; reads the database.
        """
        self._deployments = deployments
        self._ports = ports
        self._endpoints = endpoints
        self._counters = counters
        self._traffic = traffic
        self._totals = totals
        self._captures = captures
        self._idle = idle
        self._memory = memory
        self._workers = workers
        self._last_report = last_report
        self._refresh = refresh
        self._proxies = proxies
        self._flows = flows
        self._held = held
        self._devices = devices
        self._environments = environments
        self._rows: Sequence[Deployment] = ()
        self._views: Sequence[EndpointView] = ()
        self._figures = DeviceFigures()
        self._restarts = Restarts()
        #: The highest counts so far: the file with the counts may be unreadable for a while.
        self._last = CaptureStatus(0, 0, 0, 0, "")
        self._build = _build_info()
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        self._page = MetricsPage()

    async def page(self, accept: str) -> tuple[bytes, str]:
        """The page in the format that ``accept`` asks for, and its media type."""
        snapshot = await self.snapshot()
        return await asyncio.to_thread(
            lambda: self._page.write(snapshot, self._process.collect(), accept)
        )

    async def memory(self, handles: Sequence[Handle]) -> Mapping[str, Memory]:
        """Memory of launches by their ids, without those that have ended."""
        return await self._memory.fresh(handles)

    async def launches(self, row: Deployment) -> Sequence[LaunchSnapshot]:
        """The launches of a deployment, with their memory and requests now."""
        memory = await self.memory([one.handle for one in row.launches if one.handle])
        await self._refresh()
        return self._launches(row, memory)

    async def machine_memory(self) -> MachineMemory | None:
        """Memory of the machine; None where it cannot be read."""
        try:
            return await asyncio.to_thread(machine_memory)
        except OSError:
            return None

    async def workers(self, row: Deployment) -> int | None:
        """Workers that serve; None if unknown."""
        return await asyncio.to_thread(serving, row, self._workers)

    async def snapshot(self) -> Snapshot:
        usage, readable = await self._state()
        handles = [one.handle for row in self._rows for one in row.launches if one.handle]
        memory = await self._memory.all(handles, _PATIENCE)
        captures = await self._capture_status()
        machine = await self.machine_memory()
        parents, built = await self._environments.parents(), await self._environments.built()
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
            machine=machine,
            flows=self._flows(),
            devices=self._figures,
            held=self._held(),
            parents=parents,
            environments=built,
        )

    async def _state(self) -> tuple[PortUsage | None, bool]:
        """How ports are used, and whether the database could be read; if not, the last rows stay."""
        try:
            rows = await self._deployments.all()
            usage = await self._ports.usage(time.monotonic())
            views = await self._endpoints()
            if self._devices is not None:
                self._figures = await self._devices()
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
            launches=self._launches(row, memory),
            workers=serving(row, self._workers),
            last_report=self._last_report(row.key),
        )

    def _launches(self, row: Deployment, memory: Mapping[str, Memory]) -> list[LaunchSnapshot]:
        return [
            LaunchSnapshot(
                one,
                memory.get(one.launch_id or ""),
                self._traffic(one.launch_id).in_flight if one.launch_id else 0,
            )
            for one in row.launches
        ]


def _build_info() -> dict[str, str]:
    return {
        "version": __version__,
        "mlflow_version": version("mlflow"),
        "python_version": platform.python_version(),
    }


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
