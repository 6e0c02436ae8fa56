"""What a proxy reports of its routes: what changed of launches, deployments and rollouts."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from model_deployment.core.measures import LaunchTraffic, ProxyCounters
from model_deployment.core.names import ModelKey
from model_deployment.proxy import protocol
from model_deployment.proxy.routes import Routes


class RouteReports:
    """Remembers what was reported last."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._traffic: dict[str, LaunchTraffic] = {}
        self._counters: dict[ModelKey, ProxyCounters] = {}
        #: Revisions of the counts of rollouts.
        self._rollouts: dict[int, int] = {}

    def changes(self, *, everything: bool = False) -> dict[str, Any]:
        """What has changed; empty if nothing has.

        Returns:
            ``launches`` by id, ``deployments`` by name, and ``rollouts`` by id: for each stage the counts
            since the proxy started.
        """
        if everything:
            self._traffic, self._counters, self._rollouts = {}, {}, {}
        now = time.monotonic()
        traffic = {launch: self._routes.traffic(launch) for launch in self._routes.launches()}
        counters = {key: self._routes.counters(key) for key in self._routes.deployments()}
        launches = {
            launch: protocol.traffic_message(one, now)
            for launch, one in traffic.items()
            if not _alike(self._traffic.get(launch), one)
        }
        deployments = {
            str(key): protocol.counters_message(one)
            for key, one in counters.items()
            if self._counters.get(key) != one
        }
        rollouts = {
            str(rollout): {stage: counts.as_dict() for stage, counts in one.stages.items()}
            for rollout, one in self._routes.rollouts().items()
            if self._rollouts.get(rollout, 0) != one.revision
        }
        self._rollouts = {rollout: one.revision for rollout, one in self._routes.rollouts().items()}
        self._traffic, self._counters = traffic, counters
        changed: Mapping[str, Any] = {
            "launches": launches,
            "deployments": deployments,
            "rollouts": rollouts,
        }
        return {name: value for name, value in changed.items() if value}


def _alike(before: LaunchTraffic | None, now: LaunchTraffic) -> bool:
    """Whether only time has passed."""
    return before is not None and replace(before, oldest=0.0, idle=0.0) == replace(
        now, oldest=0.0, idle=0.0
    )
