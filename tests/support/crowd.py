"""A controller with many deployments, as the dashboard sees it: ready and busy, parked, and in trouble."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from model_deployment.core.domain import Deployment, LaunchState, State
from model_deployment.core.events import Event
from model_deployment.core.measures import MachineMemory, Memory, ProxyCounters
from model_deployment.core.names import ModelKey
from model_deployment.core.port_usage import PortUsage
from model_deployment.endpoints.views import EndpointView
from model_deployment.recording.counters import LATENCIES, RequestCounts
from model_deployment.recording.histogram import Histogram
from model_deployment.recording.upkeep import CaptureStatus
from model_deployment.telemetry.prometheus import DeploymentSnapshot, LaunchSnapshot, Snapshot
from tests.support.launched import deployed

GIGABYTE = 1024**3
#: What a model that cannot be loaded ends with.
TROUBLE = (
    "ModuleNotFoundError: No module named 'sentence_transformers' (the process exited with status 1, gave "
    "up after 3 tries)"
)


@dataclass
class Crowd:
    """What can be seen of deployments; time passes when it is told so."""

    deployments: list[Deployment]
    #: Requests, errors of callers and errors of the model in five seconds, by deployment.
    traffic: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    endpoints: list[EndpointView] = field(default_factory=list)
    counts: dict[ModelKey, RequestCounts] = field(default_factory=dict)

    def passes(self) -> None:
        """Five seconds."""
        for name, (answered, refused, failed) in self.traffic.items():
            counts = self.counts.setdefault(ModelKey.parse(name), RequestCounts())
            counts.buckets = [*counts.buckets]
            counts.buckets[len(LATENCIES) // 2] += answered
            counts.latencies.update(Histogram({12: answered}))
            counts.errors.update(Counter(refused=refused, model_failed=failed))

    def totals(self) -> Mapping[ModelKey, RequestCounts]:
        return {
            one.key: self.counts.get(one.key, RequestCounts()).copy() for one in self.deployments
        }

    async def events(self, key: ModelKey, limit: int) -> list[Event]:
        at = datetime.now(UTC) - timedelta(minutes=17)
        return [Event(at, State.FAILED, TROUBLE, State.STARTING)]

    async def collect(self) -> Snapshot:
        memory = Memory(rss=120 * 1024**2, pss=31 * 1024**2)
        return Snapshot(
            [
                DeploymentSnapshot(
                    one,
                    self.counts.get(one.key, RequestCounts()),
                    ProxyCounters(),
                    one.restarts,
                    [
                        LaunchSnapshot(part, memory if part.state is LaunchState.READY else None, 1)
                        for part in one.launches
                    ],
                    1 if one.state is State.READY else None,
                )
                for one in self.deployments
            ],
            PortUsage(18500, 19499, len(self.deployments), 0, ()),
            CaptureStatus(0, 0, 0, 0, ""),
            0.2,
            True,
            {},
            endpoints=self.endpoints,
            machine=MachineMemory(16 * GIGABYTE, 5 * GIGABYTE),
        )

    def change(self, name: str, state: State, **changes: Any) -> None:
        """Put a deployment in another state."""
        self.deployments = [
            deployed(name, state, **changes) if str(one.key) == name else one
            for one in self.deployments
        ]


def crowd(ready: int = 100, parked: int = 300) -> Crowd:
    """Some models in trouble, many ready ones, every second of which is called, and many parked ones."""
    some = [deployed(f"model-{number}-1") for number in range(ready - 4)]
    nightly = [
        deployed(f"nightly-{version}", State.PARKED, reason="idle for 20 s")
        for version in range(1, parked + 1)
    ]
    trouble = [
        deployed("broken-1", State.FAILED, reason=TROUBLE, tries=3),
        deployed("loops-3", State.PENDING, reason="KeyError: 'age' (exit status 1)", tries=2),
        deployed("roots-1"),
        deployed("roots-2"),
        deployed("wine-7"),
        deployed("wine-8"),
        deployed("late-1", State.STARTING),
    ]
    traffic = {str(one.key): (5 + place, 0, 0) for place, one in enumerate(some) if place % 2}
    return Crowd(
        [*trouble, *some, *nightly],
        {**traffic, "roots-1": (90, 0, 7), "wine-7": (5, 5, 0)},
    )
