"""What the control loop reads and changes beside its rows."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_deployment.control.probes import Prober
from model_deployment.core.admission import Admission
from model_deployment.core.domain import Deployment, Launch
from model_deployment.core.errors import NotEnoughMemory
from model_deployment.core.measures import LaunchTraffic, ProxyCounters
from model_deployment.core.merging import Finding
from model_deployment.core.names import ModelKey
from model_deployment.core.routes import Route
from model_deployment.runtime.base import Runtime


async def _keep_all(rows: Sequence[Deployment]) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Collaborators:
    """Everything that touches the machine; the control loop gets it passed in."""

    runtime: Runtime
    prober: Prober
    #: Fetches and verifies the artifacts of a launch.
    prepare: Callable[[Deployment, Launch], Awaitable[Path]]
    #: Whether a launch predicts rows alike in a batch and alone.
    compare: Callable[[Deployment, Launch], Awaitable[Finding]]
    #: Replaces the proxies' route table; False until all serve all routes: it is to be published again.
    publish: Callable[[Sequence[Route]], bool]
    #: What the proxies have counted of a launch, by launch id.
    traffic: Callable[[str], LaunchTraffic]
    #: What they have counted of a deployment.
    counters: Callable[[ModelKey], ProxyCounters] = lambda key: ProxyCounters()
    #: Requests of a deployment that were answered; falls when counting begins anew.
    answered: Callable[[ModelKey], int] = lambda key: 0
    #: Answers the requests that wait for a parked deployment with an error.
    refuse: Callable[[ModelKey, NotEnoughMemory], None] = lambda key, error: None
    admission: Admission = Admission(lambda: 0, 0, 0, 0)
    #: Told of each change of a row by the control loop: the row before, and after.
    changed: Callable[[Deployment, Deployment], None] = lambda before, after: None
    #: Processors that this machine lets its processes use.
    cores: Callable[[], int] = lambda: 1
    #: Removes environments that none of these deployments needs.
    tidy_environments: Callable[[Sequence[Deployment]], Awaitable[None]] = _keep_all
    clock: Callable[[], float] = time.monotonic
