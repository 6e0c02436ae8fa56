"""The route table: replaced as a whole, read without a lock.

It is looked up by the raw path of a request, so only the one canonical spelling of a path finds a model.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from model_deployment.core.domain import Address, LaunchTraffic, ProxyCounters, Route, State
from model_deployment.core.endpoints import EndpointRoute
from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.names import ModelKey
from model_deployment.gate import Gate
from model_deployment.proxy import upstream_call
from model_deployment.proxy.answers import UpstreamAnswer
from model_deployment.proxy.batch import Batcher
from model_deployment.proxy.endpoint_table import EndpointEntry, EndpointTable
from model_deployment.proxy.rollout_counter import RolloutCounter
from model_deployment.proxy.route_entry import RouteCounts, RouteEntry, Service
from model_deployment.proxy.shared_limits import DeploymentUsage, unshared_usage
from model_deployment.proxy.upstream import Shares, Upstream, UpstreamCall, UpstreamLimits
from model_deployment.proxy.upstream_call import UpstreamRequest
from model_deployment.proxy.wake_queue import WakeQueue

_log = logging.getLogger(__name__)

#: Makes the gate of a deployment; None passes every request unchecked.
Gates = Callable[[Route], Gate | None]


class Routes:
    """The table in force, and what serves its routes."""

    def __init__(
        self,
        limits: UpstreamLimits,
        *,
        gates: Gates = lambda route: None,
        on_failure: Callable[[], None] = lambda: None,
        add_event: Callable[[ModelKey, str], None] = lambda key, text: None,
        wake: Callable[[ModelKey], None] = lambda key: None,
        usage: Callable[[Route], DeploymentUsage] = lambda route: unshared_usage(),
    ) -> None:
        """
        Args:
            on_failure: called when a model did not answer as a living server does, so that its process
                is worth a look.
            add_event: writes an event of a deployment.
            wake: has a parked deployment started, since a request waits for it.
            usage: where a deployment's requests are counted; called once for each deployment.
        """
        self._limits = limits
        self._gates = gates
        self._on_failure = on_failure
        self._add_event = add_event
        self._wake = wake
        self._usage = usage
        self._shares: dict[ModelKey, Shares] = {}
        self._table: dict[bytes, RouteEntry | EndpointEntry] = {}
        self._entries: dict[ModelKey, RouteEntry] = {}
        self._endpoints = EndpointTable()
        #: Deployments whose first start is waited for.
        self._awaited: set[ModelKey] = set()
        #: By session.
        self._services: dict[str, Service] = {}
        self._launches: dict[str, Service] = {}
        self._counts: dict[ModelKey, RouteCounts] = {}
        self._wake_queues: dict[ModelKey, WakeQueue[RouteEntry]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def publish(self, routes: Sequence[Route], endpoints: Sequence[EndpointRoute] = ()) -> bool:
        """Replace the table. Launches without a route lose their connections.

        Where the next launch continues at the same port, the requests under way wait for it.

        Returns:
            False if one of the routes cannot serve, for a reason that may pass. The others do.
        """
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
            queue = self._wake_queue(route)
            self._entries[route.key] = entry = RouteEntry.of(
                route, self._service(route), self._counts[route.key], queue
            )
            path = route.key.path.encode("ascii")
            table[path] = entry
            table[path + b"/invocations"] = entry
        table.update(self._endpoints.entries(endpoints, self._entries))
        self._table = table
        self._update_wake_queues()
        named = {_session(route): route.launch_id for route in routes}
        for session in self._services.keys() - named.keys():
            self._close(self._services.pop(str(session)).upstream)
        self._launches = {
            launch_id: self._services[session]
            for session, launch_id in named.items()
            if session in self._services and launch_id is not None
        }
        return all(
            entry.service is not None or entry.route.address is None
            for entry in self._entries.values()
        )

    def _waiting(self, route: Route) -> Route:
        """The route, on which requests wait if its first start is waited for.

        They wait also where it has failed: another champion takes its place in a moment.
        """
        starts = route.state in (State.PENDING, State.STARTING, State.FAILED)
        return replace(route, waits=True) if starts and route.key in self._awaited else route

    def _wake_queue(self, route: Route) -> WakeQueue[RouteEntry]:
        queue = self._wake_queues.get(route.key)
        if queue is None:
            usage = self._shares[route.key].usage
            queue = WakeQueue(route, self._limits, partial(self._wake, route.key), usage)
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

    def launches(self) -> Collection[str]:
        """Ids of the launches that are routed to, or answer what they have."""
        return self._launches.keys()

    def deployments(self) -> Collection[ModelKey]:
        """The deployments of the table."""
        return self._counts.keys()

    def rollouts(self) -> Mapping[int, RolloutCounter]:
        """What was counted of the rollouts of the table, by id."""
        return self._endpoints.counters()

    def traffic(self, launch_id: str) -> LaunchTraffic:
        service = self._launches.get(launch_id)
        return service.upstream.traffic() if service else LaunchTraffic()

    def counters(self, key: ModelKey) -> ProxyCounters:
        entry = self._entries.get(key)
        if entry is None:
            return ProxyCounters()
        counts, service, queue = entry.counts, entry.service, entry.wake_queue
        # A service that is being replaced gets no new requests, and may still be answering.
        behind = self._services.get(_session(entry.route) or "")
        upstream = behind.upstream if behind else None
        return ProxyCounters(
            checked=(service.gate is not None and service.gate.checked) if service else None,
            refused=counts.refused,
            violations=dict(counts.violations),
            batches=counts.batches,
            batched_rows=counts.batched_rows,
            batch_sizes=tuple(counts.batch_sizes),
            unmergeable=counts.unmergeable,
            in_flight=(upstream.callers if upstream else 0) + queue.waiting,
            waiting=(upstream.waiting if upstream else 0) + queue.waiting,
            held=(upstream.held if upstream else 0) + queue.held,
        )

    async def close(self) -> None:
        """Drop all connections."""
        self.publish([])
        await asyncio.gather(*self._closing)

    def _service(self, route: Route) -> Service | None:
        session = _session(route)
        if route.address is None or session is None:
            return None
        service = self._services.get(session)
        if service is None:
            try:
                gate = self._gates(route)
            except Exception as error:
                # Unchecked it must not serve: what the gate refuses would reach the model.
                _log.error(
                    "cannot read the signature of %s, so it does not serve: %r", route.key, error
                )
                return None
            service = self._new_service(route, route.address, gate)
            self._services[session] = service
        service.upstream.update_launch(route.launch_id, ready=route.state is State.READY)
        return service

    def _new_service(self, route: Route, address: Address, gate: Gate | None) -> Service:
        shares = self._shares[route.key]
        upstream = Upstream(route.key, address, self._limits, self._on_failure, shares)
        counts = self._counts[route.key]
        if gate is None or not route.max_batch_rows or counts.unmergeable:
            return Service(upstream, gate, None)

        async def send(request: UpstreamRequest) -> UpstreamAnswer:
            with UpstreamCall(upstream, callers=0) as call:
                answer = await upstream_call.send(upstream, call, request)
                assert answer is not None  # noqa: S101 - only a relay makes it None
                return answer

        def on_turned_off(why: str) -> None:
            counts.unmergeable = why
            self._add_event(route.key, why)

        batcher = Batcher(
            send,
            gate.join,
            max_rows=route.max_batch_rows,
            max_calls=route.options.workers,
            queue_timeout=self._limits.read_timeout,
            on_turned_off=on_turned_off,
            on_merged=counts.count_batch,
        )
        return Service(upstream, gate, batcher)

    def _close(self, upstream: Upstream) -> None:
        task = asyncio.get_running_loop().create_task(upstream.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _session(route: Route) -> str | None:
    return route.session or route.launch_id
