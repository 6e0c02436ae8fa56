"""What the proxies have reported: traffic of launches, counts of deployments, requests served."""

import time
from collections.abc import Collection, Mapping

from model_deployment.core.measures import LaunchTraffic, ProxyCounters
from model_deployment.core.names import ModelKey
from model_deployment.core.rollout_counts import RolloutCounts, StageCounts
from model_deployment.data_plane.sums import (
    LaunchReports,
    ended,
    sum_counters,
    sum_traffic,
)
from model_deployment.proxy import protocol
from model_deployment.proxy.protocol import Message
from model_deployment.recording.reported_counts import ReportedCounts


class PlaneCounts:
    """The last reports of all proxies, and what remains of those that have ended."""

    def __init__(self, served: ReportedCounts) -> None:
        self.served = served
        self._launches: dict[str, LaunchReports] = {}
        #: By proxy and deployment.
        self._counters: dict[str, dict[ModelKey, ProxyCounters]] = {}
        #: Of proxies that have ended.
        self._ended: dict[ModelKey, ProxyCounters] = {}
        #: By rollout and proxy, also of proxies that have ended.
        self._rollouts: dict[int, dict[str, RolloutCounts]] = {}

    def apply(self, proxy: str, report: Message) -> None:
        for launch_id, traffic in report.get("launches", {}).items():
            self._launches.setdefault(launch_id, LaunchReports()).apply(proxy, traffic)
        counters = self._counters.setdefault(proxy, {})
        for name, counts in report.get("deployments", {}).items():
            counters[ModelKey.parse(name)] = protocol.counters_of(counts)
        for rollout, stages in report.get("rollouts", {}).items():
            self._rollouts.setdefault(int(rollout), {})[proxy] = {
                stage: StageCounts.from_dict(saved) for stage, saved in stages.items()
            }
        self.served.apply(proxy, report)

    def end(self, proxy: str) -> None:
        """A proxy has ended: what it reported last stays in the sums."""
        for key, counts in self._counters.pop(proxy, {}).items():
            before = [self._ended[key]] if key in self._ended else []
            self._ended[key] = sum_counters([*before, ended(counts)])
        for reports in self._launches.values():
            reports.forget(proxy)
        self.served.ended(proxy)

    def keep(self, keys: Collection[ModelKey], launches: Collection[str]) -> None:
        """Forget all other deployments and launches."""
        self._launches = {
            launch_id: one for launch_id, one in self._launches.items() if launch_id in launches
        }
        self._counters = {
            proxy: {key: one for key, one in counters.items() if key in keys}
            for proxy, counters in self._counters.items()
        }
        self._ended = {key: one for key, one in self._ended.items() if key in keys}
        self.served.totals.keep(keys)

    def keep_rollouts(self, rollouts: Collection[int]) -> None:
        """Forget all other rollouts."""
        self._rollouts = {id: one for id, one in self._rollouts.items() if id in rollouts}

    def rollout(self, id: int) -> Mapping[str, RolloutCounts]:
        """What each proxy counted of a rollout since it started."""
        return self._rollouts.get(id, {})

    def traffic(self, launch_id: str, *, certain: bool) -> LaunchTraffic:
        reports = self._launches.get(launch_id)
        parts = reports.parts(time.monotonic()) if reports else []
        return sum_traffic(parts, certain=certain)

    def counters(self, key: ModelKey) -> ProxyCounters:
        parts = [one[key] for one in self._counters.values() if key in one]
        if key in self._ended:
            parts.append(self._ended[key])
        return sum_counters(parts) if parts else ProxyCounters()
