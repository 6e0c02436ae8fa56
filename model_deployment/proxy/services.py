"""Keeps what serves the deployments of the route table: gates, connections, batchers."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from model_deployment.core.measures import LaunchTraffic
from model_deployment.core.names import ModelKey
from model_deployment.core.routes import Route, Target
from model_deployment.gate import Gate
from model_deployment.proxy import upstream_call
from model_deployment.proxy.answers import UpstreamAnswer
from model_deployment.proxy.batch import Batcher
from model_deployment.proxy.route_entry import RouteCounts
from model_deployment.proxy.service import Service, ServiceOptions, ServiceTarget
from model_deployment.proxy.upstream import Shares, Upstream, UpstreamCall, UpstreamLimits
from model_deployment.proxy.upstream_call import UpstreamRequest

_log = logging.getLogger(__name__)

#: Makes the gate of a deployment; None passes every request unchecked.
Gates = Callable[[Route], Gate | None]


class Services:
    """One service for each deployment, with one target for each session."""

    def __init__(
        self,
        limits: UpstreamLimits,
        gates: Gates,
        on_failure: Callable[[], None],
        add_event: Callable[[ModelKey, str], None],
    ) -> None:
        """
        Args:
            on_failure: called when a model did not answer as a living server does.
            add_event: writes an event of a deployment.
        """
        self._limits = limits
        self._gates = gates
        self._on_failure = on_failure
        self._add_event = add_event
        self._services: dict[ModelKey, Service] = {}
        #: By session.
        self._targets: dict[str, ServiceTarget] = {}
        self._launches: dict[str, Upstream] = {}
        #: Launches that finish what they have, while others answer what comes.
        self._relieved: set[str] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def update(self, route: Route, counts: RouteCounts, shares: Shares) -> Service | None:
        """What serves a route; None if no target has an address, or the signature cannot be read."""
        shares.resize(max(1, len(route.targets)))
        addressed = [one for one in route.targets if one.address is not None]
        service = self._services.get(route.key)
        made_for = ServiceOptions.of(route)
        if not addressed:
            return None
        if service is not None and service.options == made_for:
            gate = service.gate
        else:
            try:
                gate = self._gates(route)
            except Exception as error:
                if service is None:
                    # Unchecked it must not serve: what the gate refuses would reach the model.
                    _log.error(
                        "cannot read the signature of %s, so it does not serve: %r",
                        route.key,
                        error,
                    )
                    return None
                _log.error("cannot change how %s is checked: %r", route.key, error)
                gate, made_for = service.gate, service.options
        targets = tuple(
            self._target(route, one, gate, made_for, counts, shares) for one in addressed
        )
        if service is None or service.options != made_for or service.targets != targets:
            service = Service(gate, made_for, targets)
            self._services[route.key] = service
        return service

    def keep(self, routes: Sequence[Route]) -> None:
        """Adopt which launches are behind the sessions, and close all other sessions."""
        named: dict[str, Target] = {}
        self._relieved = set()
        for route in routes:
            named |= {one.session: one for one in (*route.targets, *route.retiring)}
            if route.serves:
                self._relieved |= {one.launch_id for one in route.retiring if one.launch_id}
        for session in self._targets.keys() - named.keys():
            self._close(self._targets.pop(session).upstream)
        self._launches = {}
        for session, target in self._targets.items():
            one = named[session]
            target.upstream.update_launch(one.launch_id, ready=one.address is not None)
            if one.launch_id is not None:
                self._launches[one.launch_id] = target.upstream
        kept = {route.key for route in routes if route.targets or route.retiring}
        self._services = {key: one for key, one in self._services.items() if key in kept}

    def launches(self) -> Collection[str]:
        """Ids of the launches that are routed to, or answer what they have."""
        return self._launches.keys()

    def traffic(self, launch_id: str) -> LaunchTraffic:
        upstream = self._launches.get(launch_id)
        if upstream is None:
            return LaunchTraffic()
        found = upstream.traffic()
        # What is still being received goes to another target.
        return replace(found, reading=0) if launch_id in self._relieved else found

    def upstreams(self, targets: Iterable[Target]) -> list[Upstream]:
        """Those of a route's targets."""
        found = (self._targets.get(one.session) for one in targets)
        return [one.upstream for one in found if one is not None]

    async def close(self) -> None:
        """Wait for the end of what was closed."""
        await asyncio.gather(*self._closing)

    def _target(
        self,
        route: Route,
        one: Target,
        gate: Gate | None,
        made_for: ServiceOptions,
        counts: RouteCounts,
        shares: Shares,
    ) -> ServiceTarget:
        target = self._targets.get(one.session)
        if target is not None and target.options == made_for:
            return target
        if target is not None:
            upstream = target.upstream  # requests under way go on with what they began with
        else:
            assert one.address is not None  # noqa: S101 - else it is not made
            upstream = Upstream(route.key, one.address, shares, self._on_failure)
        batcher = None
        if gate is not None and made_for.max_batch_rows and not counts.unmergeable:
            batcher = self._batcher(route, upstream, gate, made_for.max_batch_rows, counts)
        target = ServiceTarget(upstream, batcher, made_for)
        self._targets[one.session] = target
        return target

    def _batcher(
        self, route: Route, upstream: Upstream, gate: Gate, max_rows: int, counts: RouteCounts
    ) -> Batcher:
        async def send(request: UpstreamRequest) -> UpstreamAnswer:
            with UpstreamCall(upstream, callers=0) as call:
                answer = await upstream_call.send(upstream, call, request)
                assert answer is not None  # noqa: S101 - only a relay makes it None
                return answer

        def on_turned_off(why: str) -> None:
            if not counts.unmergeable:  # else another target has shown it
                counts.unmergeable = why
                self._add_event(route.key, why)

        return Batcher(
            send,
            gate.join,
            max_rows=max_rows,
            max_calls=route.options.workers,
            queue_timeout=self._limits.read_timeout,
            on_turned_off=on_turned_off,
            on_merged=counts.count_batch,
        )

    def _close(self, upstream: Upstream) -> None:
        task = asyncio.get_running_loop().create_task(upstream.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
