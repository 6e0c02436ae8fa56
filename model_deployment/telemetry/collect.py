"""Looks at the controller for ``GET /metrics``: gathers the figures, and has them written down.

Gathering takes place on the event loop and is short; reading ``/proc`` and writing the page are left to
threads, since predictions go on meanwhile.
"""

import asyncio
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from model_deployment import __version__
from model_deployment.control.missing_workers import serving
from model_deployment.core.domain import Deployment, Handle, Memory, PortUsage, ProxyCounters, State
from model_deployment.core.names import ModelKey
from model_deployment.recording.counters import RequestCounters
from model_deployment.recording.upkeep import CaptureStatus
from model_deployment.runtime.memory import MemoryGauge
from model_deployment.runtime.worker_counts import crew_of
from model_deployment.state.database import DatabaseError
from model_deployment.state.deployments import Deployments
from model_deployment.state.ports import Ports
from model_deployment.telemetry.prometheus import DeploymentSnapshot, Snapshot, families

#: Seconds that a scrape waits for the memory of models; then it has the figures of the one before.
_PATIENCE = 0.05


class Telemetry:
    """What is told of a controller from outside."""

    def __init__(
        self,
        *,
        deployments: Deployments,
        ports: Ports,
        counters: Callable[[ModelKey], ProxyCounters],
        totals: RequestCounters,
        captures: Callable[[], CaptureStatus],
        idle: Callable[[], float],
        memory: MemoryGauge,
    ) -> None:
        """Tell of these parts.

        Args:
            counters: what the proxy has counted.
            captures: how captures fare; it may read a file.
            idle: seconds since the reconciler's last good tick.
        """
        self._deployments = deployments
        self._ports = ports
        self._counters = counters
        self._totals = totals
        self._captures = captures
        self._idle = idle
        self._memory = memory
        self._rows: Sequence[Deployment] = ()
        self._restarts = Restarts()
        #: As much as was counted before, should the file they are kept in not be readable.
        self._last = CaptureStatus(0, 0, 0, 0, "")
        self._build = {
            "version": __version__,
            "mlflow_version": version("mlflow"),
            "python_version": platform.python_version(),
        }
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)

    async def page(self, accept: str) -> tuple[bytes, str]:
        """All figures in the form that was asked for, and its media type."""
        seen = await self.look()
        try:
            encode, media_type = choose_encoder(accept)
        except (ValueError, TypeError):  # a version in it is none
            encode, media_type = choose_encoder("")

        def write() -> bytes:
            registry = CollectorRegistry()
            registry.register(PrecomputedCollector([*families(seen), *self._process.collect()]))
            return encode(registry)

        return await asyncio.to_thread(write), media_type

    async def memory(self, handle: Handle) -> Memory | None:
        """What the processes of a launch take."""
        return await self._memory.one(handle)

    async def workers(self, row: Deployment) -> int | None:
        """How many of its workers serve; None where that cannot be told."""
        return await asyncio.to_thread(serving, row, crew_of)

    async def look(self) -> Snapshot:
        """The figures as values."""
        usage, readable = await self._state()
        handles = [row.handle for row in self._rows if row.handle is not None]
        memory = await self._memory.all(handles, _PATIENCE)
        captures = await self._how_captures_fare()
        # From here on nothing is waited for, so that the figures fit each other.
        return Snapshot(
            served=[self._served(row, memory) for row in self._rows],
            ports=usage,
            captures=captures,
            idle=self._idle(),
            database=readable,
            build=self._build,
        )

    async def _state(self) -> tuple[PortUsage | None, bool]:
        """How ports are used, and whether that could be read; if not, what is known is told."""
        try:
            rows = await self._deployments.all()
            usage = await self._ports.usage(time.monotonic())
        except DatabaseError:
            return None, False
        self._rows = [row for row in rows if row.state is not State.STOPPED]
        self._restarts.keep({row.key for row in self._rows})
        return usage, True

    async def _how_captures_fare(self) -> CaptureStatus:
        now, last = await asyncio.to_thread(self._captures), self._last
        self._last = replace(
            now,
            dropped=max(now.dropped, last.dropped),
            dead=max(now.dead, last.dead),
            written=max(now.written, last.written),
        )
        return self._last

    def _served(self, row: Deployment, memory: dict[str, Memory]) -> DeploymentSnapshot:
        return DeploymentSnapshot(
            row=row,
            total=self._totals.of(row.key),
            counters=self._counters(row.key),
            restarts=self._restarts.of(row.key, row.restarts),
            memory=memory.get(row.launch_id or ""),
            workers=serving(row, crew_of),
        )


class Restarts:
    """Counts on where a row begins anew: it does when what has failed is deployed again."""

    def __init__(self) -> None:
        #: Those of earlier lives, and of this one.
        self._known: dict[ModelKey, tuple[int, int]] = {}

    def of(self, key: ModelKey, now: int) -> int:
        """In all, with so many in the row now."""
        before, last = self._known.get(key, (0, 0))
        if now < last:
            before += last
        self._known[key] = before, now
        return before + now

    def keep(self, keys: set[ModelKey]) -> None:
        """Forget all other deployments."""
        self._known = {key: known for key, known in self._known.items() if key in keys}


class PrecomputedCollector(Collector):
    """Families that are there already."""

    def __init__(self, told: Sequence[Metric]) -> None:
        self._told = told

    def describe(self) -> list[Metric]:
        """Nothing, so that they are not asked for when they are registered."""
        return []

    def collect(self) -> Sequence[Metric]:
        """See :class:`prometheus_client.registry.Collector`."""
        return self._told
