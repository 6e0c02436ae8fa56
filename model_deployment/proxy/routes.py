"""The route table: replaced whole, read without a lock.

Looked up by the raw path as it came, so only the one canonical spelling of a path finds a model.
"""

import asyncio
import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from model_deployment.core.domain import (
    BATCH_ROWS,
    Endpoint,
    LaunchTraffic,
    ProxyCounters,
    Route,
    State,
)
from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.names import ModelKey
from model_deployment.gate import CheckResult, Gate
from model_deployment.proxy.answers import UpstreamAnswer
from model_deployment.proxy.batch import Batcher
from model_deployment.proxy.upstream import Upstream, UpstreamCall, UpstreamLimits
from model_deployment.proxy.upstream_call import UpstreamRequest, ask
from model_deployment.proxy.wake_queue import WakeQueue

_log = logging.getLogger(__name__)

#: The check of requests for a deployment; None passes everything as it comes.
Gates = Callable[[Route], Gate | None]


@dataclass(slots=True)
class RequestCounts:
    """Counts for one deployment, across its launches."""

    refused: int = 0
    violations: Counter[tuple[str, str]] = field(default_factory=Counter)
    batches: int = 0
    batched_rows: int = 0
    #: Merged calls by their rows.
    batch_sizes: list[int] = field(default_factory=lambda: [0] * (len(BATCH_ROWS) + 1))
    unmergeable: str = ""

    def note(self, verdict: CheckResult) -> None:
        """Count what a request was found to be."""
        self.refused += verdict.refused
        self.violations.update(verdict.tally)

    def note_batch(self, rows: int) -> None:
        """Count a merged call."""
        self.batches += 1
        self.batched_rows += rows
        self.batch_sizes[bisect_left(BATCH_ROWS, rows)] += 1


@dataclass(frozen=True, slots=True)
class Service:
    """What serves the requests for one launch."""

    upstream: Upstream
    gate: Gate | None
    batcher: Batcher | None


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """What a path leads to. ``service`` is None while the deployment does not serve."""

    route: Route
    service: Service | None
    tally: RequestCounts
    #: Where requests wait meanwhile, if they do.
    lobby: "WakeQueue[RouteEntry]"

    @property
    def ready(self) -> "RouteEntry | None":
        """Itself, if it serves."""
        return self if self.service is not None else None


class Routes:
    """The table in force, and what is behind it."""

    def __init__(
        self,
        limits: UpstreamLimits,
        *,
        gates: Gates = lambda route: None,
        broke: Callable[[], None] = lambda: None,
        tell: Callable[[ModelKey, str], None] = lambda key, text: None,
        wake: Callable[[ModelKey], None] = lambda key: None,
    ) -> None:
        """An empty table.

        Args:
            broke: told when a model did not answer as a living server does: worth a look at its
                process.
            tell: told of an event of a deployment.
            wake: has a parked deployment started, since a request waits for it.
        """
        self._limits = limits
        self._gates = gates
        self._broke = broke
        self._say = tell
        self._wake = wake
        self._table: dict[bytes, RouteEntry] = {}
        #: By session.
        self._services: dict[str, Service] = {}
        self._launches: dict[str, Service] = {}
        self._tallies: dict[ModelKey, RequestCounts] = {}
        self._lobbies: dict[ModelKey, WakeQueue[RouteEntry]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def publish(self, routes: Sequence[Route]) -> bool:
        """Replace the table. A launch that is in no route any more loses its connections.

        Where the next launch goes on at the same port, those who are there wait for it.

        Returns:
            False if one of them cannot serve, for a reason that may pass. The others do.
        """
        table: dict[bytes, RouteEntry] = {}
        self._tallies = {
            route.key: self._tallies.get(route.key) or RequestCounts() for route in routes
        }
        for route in routes:
            lobby = self._lobby(route)
            entry = RouteEntry(route, self._service(route), self._tallies[route.key], lobby)
            path = route.key.path.encode("ascii")
            table[path] = entry
            table[path + b"/invocations"] = entry
        self._table = table
        self._turn_lobbies()
        named = {_session(route): route.launch_id for route in routes}
        for session in self._services.keys() - named.keys():
            self._close(self._services.pop(str(session)).upstream)
        self._launches = {
            launch_id: self._services[session]
            for session, launch_id in named.items()
            if session in self._services and launch_id is not None
        }
        return all(
            entry.service is not None or entry.route.endpoint is None for entry in table.values()
        )

    def _lobby(self, route: Route) -> WakeQueue[RouteEntry]:
        lobby = self._lobbies.get(route.key)
        if lobby is None:
            lobby = WakeQueue(route, self._limits, partial(self._wake, route.key))
            self._lobbies[route.key] = lobby
        return lobby

    def _turn_lobbies(self) -> None:
        """Tell those who wait what has become of their deployments."""
        for key, lobby in [*self._lobbies.items()]:
            entry = self._table.get(key.path.encode("ascii"))
            if entry is not None:
                lobby.turn(entry.route, entry.ready)
            else:
                del self._lobbies[key]
                lobby.turn(
                    Route(key, State.STOPPED, reason="undeployed, or the controller stops"), None
                )

    def refuse(self, key: ModelKey, error: ModelDeploymentError) -> None:
        """Tell those who wait for a parked deployment that it is not started."""
        if lobby := self._lobbies.get(key):
            lobby.refuse(error)

    def dismiss(self) -> None:
        """Keep nobody waiting for a model any more, but for a moment: the controller stops."""
        for lobby in self._lobbies.values():
            lobby.dismiss()

    def lookup(self, raw_path: bytes) -> RouteEntry | None:
        """The entry of a path as it came over the wire."""
        return self._table.get(raw_path)

    def traffic(self, launch_id: str) -> LaunchTraffic:
        """What was seen of a launch."""
        service = self._launches.get(launch_id)
        return service.upstream.traffic() if service else LaunchTraffic()

    def counters(self, key: ModelKey) -> ProxyCounters:
        """What was counted of a deployment."""
        entry = self._table.get(key.path.encode("ascii"))
        if entry is None:
            return ProxyCounters()
        tally, service = entry.tally, entry.service
        # One that is on its way out serves nobody new, and may still be answering.
        behind = self._services.get(_session(entry.route) or "")
        upstream = behind.upstream if behind else None
        lobby = self._lobbies.get(key)
        waiting = lobby.waiting if lobby else 0
        return ProxyCounters(
            checked=(service.gate is not None and service.gate.checked) if service else None,
            refused=tally.refused,
            violations=dict(tally.violations),
            batches=tally.batches,
            batched_rows=tally.batched_rows,
            batch_sizes=tuple(tally.batch_sizes),
            unmergeable=tally.unmergeable,
            in_flight=(upstream.callers if upstream else 0) + waiting,
            waiting=(upstream.waiting if upstream else 0) + waiting,
            held=(upstream.held if upstream else 0) + (lobby.held if lobby else 0),
        )

    async def close(self) -> None:
        """Drop all connections."""
        self.publish([])
        await asyncio.gather(*self._closing)

    def _service(self, route: Route) -> Service | None:
        session = _session(route)
        if route.endpoint is None or session is None:
            return None
        service = self._services.get(session)
        if service is None:
            try:
                gate = self._gates(route)
            except Exception as error:
                # Not unchecked: what the gate keeps out would reach the model.
                _log.error(
                    "cannot read the signature of %s, so it does not serve: %r", route.key, error
                )
                return None
            service = self._new(route, route.endpoint, gate)
            self._services[session] = service
        service.upstream.turn(route.launch_id, ready=route.state is State.READY)
        return service

    def _new(self, route: Route, endpoint: Endpoint, gate: Gate | None) -> Service:
        upstream = Upstream(route.key, endpoint, self._limits, self._broke)
        tally = self._tallies[route.key]
        if gate is None or not route.options.batch_max_rows or tally.unmergeable:
            return Service(upstream, gate, None)

        async def ask_whole(question: UpstreamRequest) -> UpstreamAnswer:
            with UpstreamCall(upstream, callers=0) as call:
                answer = await ask(upstream, call, question)
                assert answer is not None  # noqa: S101 - only a relay takes it away
                return answer

        def turned_off(why: str) -> None:
            tally.unmergeable = why
            self._say(route.key, why)

        batcher = Batcher(
            ask_whole,
            gate.join,
            max_rows=route.options.batch_max_rows,
            calls=route.options.workers,
            patience=self._limits.read_timeout,
            turned_off=turned_off,
            counted=tally.note_batch,
        )
        return Service(upstream, gate, batcher)

    def _close(self, upstream: Upstream) -> None:
        task = asyncio.get_running_loop().create_task(upstream.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _session(route: Route) -> str | None:
    return route.session or route.launch_id
