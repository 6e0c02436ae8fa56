"""The route table: replaced as a whole, read without a lock.

It is looked up by the raw path of a request, so only the one canonical spelling of a path finds a model.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from urllib.parse import unquote

from model_deployment.core.domain import State
from model_deployment.core.endpoints import EndpointName, EndpointRoute
from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.measures import LaunchTraffic, ProxyCounters
from model_deployment.core.model_kind import PLAIN, ModelKind
from model_deployment.core.names import ModelKey
from model_deployment.core.routes import Route
from model_deployment.proxy.endpoint_table import EndpointEntry, EndpointTable
from model_deployment.proxy.rollout_counter import RolloutCounter
from model_deployment.proxy.route_entry import RouteCounts, RouteEntry
from model_deployment.proxy.services import Gates, Services
from model_deployment.proxy.shared_limits import DeploymentUsage, unshared_usage
from model_deployment.proxy.upstream import Shares, UpstreamLimits
from model_deployment.proxy.wake_queue import WakeQueue

_log = logging.getLogger(__name__)

#: Models whose kind is known.
_MOST_KINDS = 10_000


class Routes:
    """The table in force, and what serves its routes."""

    def __init__(
        self,
        limits: UpstreamLimits,
        *,
        gates: Gates = lambda route: None,
        kinds: Callable[[Route], ModelKind | None] = lambda route: None,
        on_failure: Callable[[], None] = lambda: None,
        add_event: Callable[[ModelKey, str], None] = lambda key, text: None,
        wake: Callable[[ModelKey], None] = lambda key: None,
        usage: Callable[[Route], DeploymentUsage] = lambda route: unshared_usage(),
    ) -> None:
        """
        Args:
            kinds: what the model of a route is; None if that is not known yet.
            on_failure: called when a model did not answer as a living server does, so that its process
                is worth a look.
            add_event: writes an event of a deployment.
            wake: has a parked deployment started, since a request waits for it.
            usage: where a deployment's requests are counted; called once for each deployment.
        """
        self._limits = limits
        self._services = Services(limits, gates, on_failure, add_event)
        self._read_kind = kinds
        #: By artifact.
        self._kinds: dict[str, ModelKind] = {}
        self._wake = wake
        self._usage = usage
        self._shares: dict[ModelKey, Shares] = {}
        self._table: dict[bytes, RouteEntry | EndpointEntry] = {}
        self._entries: dict[ModelKey, RouteEntry] = {}
        self._endpoints = EndpointTable()
        #: Deployments whose first start is waited for.
        self._awaited: set[ModelKey] = set()
        #: The endpoint that answers at the path for time series.
        self.timeseries: EndpointName | None = None
        self._counts: dict[ModelKey, RouteCounts] = {}
        self._wake_queues: dict[ModelKey, WakeQueue[RouteEntry]] = {}

    def publish(
        self,
        routes: Sequence[Route],
        endpoints: Sequence[EndpointRoute] = (),
        timeseries: EndpointName | None = None,
    ) -> bool:
        """Replace the table. Launches without a route lose their connections.

        Where the next launch continues at the same port, the requests under way wait for it.

        Args:
            timeseries: the endpoint that is asked at the path for time series.

        Returns:
            False if one of the routes cannot serve, for a reason that may pass. The others do.
        """
        self.timeseries = timeseries
        self._awaited = {one.champion for one in endpoints if one.waits and one.champion}
        routes = [self._waiting(route) for route in routes]
        table: dict[bytes, RouteEntry | EndpointEntry] = {}
        self._counts = {route.key: self._counts.get(route.key) or RouteCounts() for route in routes}
        self._shares = {
            route.key: self._shares.get(route.key) or Shares(self._usage(route), self._limits)
            for route in routes
        }
        self._entries = {}
        for route in routes:
            counts, queue = self._counts[route.key], self._wake_queue(route)
            service = self._services.update(route, counts, self._shares[route.key])
            self._entries[route.key] = entry = RouteEntry.of(
                route, service, counts, queue, self._kind(route)
            )
            path = route.key.path.encode("ascii")
            table[path] = entry
            table[path + b"/invocations"] = entry
        table.update(self._endpoints.entries(endpoints, self._entries))
        self._table = table
        self._services.keep(routes)
        self._update_wake_queues()
        return all(
            entry.service is not None or not entry.route.serves for entry in self._entries.values()
        )

    def _kind(self, route: Route) -> ModelKind:
        if not route.artifact:
            return PLAIN
        if route.artifact not in self._kinds:
            try:
                kind = self._read_kind(route)
            except Exception as error:  # predictions do not need it
                _log.warning("cannot read what kind of model %s is: %r", route.key, error)
                return PLAIN
            if kind is None:
                return PLAIN
            if len(self._kinds) >= _MOST_KINDS:
                self._kinds.clear()
            self._kinds[route.artifact] = kind
        return self._kinds[route.artifact]

    def _waiting(self, route: Route) -> Route:
        """The route, on which requests wait if its first start is waited for.

        They wait also where it has failed: another champion takes its place in a moment.
        """
        starts = route.state in (State.PENDING, State.STARTING, State.FAILED)
        return replace(route, waits=True) if starts and route.key in self._awaited else route

    def _wake_queue(self, route: Route) -> WakeQueue[RouteEntry]:
        queue = self._wake_queues.get(route.key)
        if queue is None:
            queue = WakeQueue(route, self._shares[route.key], partial(self._wake, route.key))
            self._wake_queues[route.key] = queue
        return queue

    def _update_wake_queues(self) -> None:
        for key, queue in [*self._wake_queues.items()]:
            entry = self._entries.get(key)
            if entry is not None:
                serving = entry if entry.service is not None else None
                queue.update(entry.route, serving, first_start=key in self._awaited)
            else:
                del self._wake_queues[key]
                queue.update(
                    Route(key, State.STOPPED, reason="undeployed, or the controller is stopping"),
                    None,
                )

    def fail_waiting(self, key: ModelKey, error: ModelDeploymentError) -> None:
        """Fail the requests that wait for a parked deployment, since it is not started."""
        if queue := self._wake_queues.get(key):
            queue.fail_all(error)

    def stop_waiting(self) -> None:
        """The controller stops: fail the waiting requests that are not served in a moment."""
        for queue in self._wake_queues.values():
            queue.stop_waiting()

    def lookup(self, raw_path: bytes) -> RouteEntry | EndpointEntry | None:
        """The entry of a path as it came over the wire."""
        return self._table.get(raw_path)

    def names(self) -> Iterator[tuple[str, RouteEntry | EndpointEntry]]:
        """Deployments and endpoints, by the names that callers have for them."""
        for path, entry in self._table.items():
            if b"/" not in path[1:] and b"%40" not in path:
                yield unquote(path[1:].decode("ascii")), entry

    def launches(self) -> Collection[str]:
        """Ids of the launches that are routed to, or answer what they have."""
        return self._services.launches()

    def deployments(self) -> Collection[ModelKey]:
        """The deployments of the table."""
        return self._counts.keys()

    def rollouts(self) -> Mapping[int, RolloutCounter]:
        """What was counted of the rollouts of the table, by id."""
        return self._endpoints.counters()

    def traffic(self, launch_id: str) -> LaunchTraffic:
        return self._services.traffic(launch_id)

    def counters(self, key: ModelKey) -> ProxyCounters:
        entry = self._entries.get(key)
        if entry is None:
            return ProxyCounters()
        counts, service, queue = entry.counts, entry.service, entry.wake_queue
        # Targets that get no new requests may still be answering.
        upstreams = self._services.upstreams((*entry.route.targets, *entry.route.retiring))
        return ProxyCounters(
            checked=(service.gate is not None and service.gate.checked) if service else None,
            refused=counts.refused,
            violations=dict(counts.violations),
            batches=counts.batches,
            batched_rows=counts.batched_rows,
            batch_sizes=tuple(counts.batch_sizes),
            unmergeable=counts.unmergeable,
            in_flight=sum(one.callers for one in upstreams) + queue.waiting,
            waiting=sum(one.waiting for one in upstreams) + queue.waiting,
            held=sum(one.held for one in upstreams) + queue.held,
        )

    async def close(self) -> None:
        """Drop all connections."""
        self.publish([])
        await self._services.close()
