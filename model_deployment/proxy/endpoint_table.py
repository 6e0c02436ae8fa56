"""The endpoints of the route table: what their paths lead to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from model_deployment.core.endpoints import EndpointRoute
from model_deployment.core.names import ModelKey
from model_deployment.proxy.rollout_counter import RolloutCounter
from model_deployment.proxy.route_entry import RouteEntry


@dataclass(frozen=True, slots=True)
class EndpointEntry:
    """The endpoint that a path leads to, with the deployments of the same table."""

    route: EndpointRoute
    champion: RouteEntry | None
    candidate: RouteEntry | None
    #: None: nothing is counted.
    counter: RolloutCounter | None
    #: Its name.
    label: str


class EndpointTable:
    """Makes the entries of endpoints, and keeps what was counted of their rollouts."""

    def __init__(self) -> None:
        self._counters: dict[int, RolloutCounter] = {}

    def entries(
        self, endpoints: Sequence[EndpointRoute], deployments: Mapping[ModelKey, RouteEntry]
    ) -> dict[bytes, EndpointEntry]:
        """The entries by path. Counts of rollouts that are not routed any more are forgotten."""
        self._counters = {
            route.rollout: self._counters.get(route.rollout) or RolloutCounter()
            for route in endpoints
            if route.rollout
        }
        found = {}
        for route in endpoints:
            entry = self._entry(route, deployments)
            for path in _paths(route):
                found[path] = entry
                found[path + b"/invocations"] = entry
        return found

    def counters(self) -> Mapping[int, RolloutCounter]:
        """By the rollout's id."""
        return self._counters

    def _entry(
        self, route: EndpointRoute, deployments: Mapping[ModelKey, RouteEntry]
    ) -> EndpointEntry:
        champion = None if route.champion is None else deployments.get(route.champion)
        candidate = None if route.candidate is None else deployments.get(route.candidate)
        counter = self._counters.get(route.rollout)
        if counter is not None and candidate is not None and candidate.service is not None:
            counter.candidate_served = True
        return EndpointEntry(route, champion, candidate, counter, str(route.name))


def _paths(route: EndpointRoute) -> list[bytes]:
    paths = [route.name.path.encode("ascii")]
    if route.default and (short := route.name.short_path):
        paths.append(short.encode("ascii"))
    return [*paths, paths[0].replace(b"@", b"%40")]
