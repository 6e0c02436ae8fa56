"""What the control loop reads and changes beside its rows."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_deployment.control.memory import Measure
from model_deployment.control.probes import Prober
from model_deployment.core.admission import Admission
from model_deployment.core.domain import (
    Deployment,
    Handle,
    LaunchTraffic,
    Memory,
    Route,
    WorkerCounts,
)
from model_deployment.core.errors import NotEnoughMemory
from model_deployment.core.merging import Finding
from model_deployment.core.names import ModelKey
from model_deployment.runtime.base import Runtime


async def _unmeasured(handles: Sequence[Handle]) -> Mapping[str, Memory]:
    return {}


@dataclass(frozen=True, slots=True)
class Collaborators:
    """Everything that touches the machine; the control loop gets it passed in."""

    runtime: Runtime
    prober: Prober
    #: Fetches and verifies the artifacts of a deployment.
    prepare: Callable[[Deployment], Awaitable[Path]]
    #: Whether a launch predicts rows alike in a batch and alone.
    compare: Callable[[Deployment], Awaitable[Finding]]
    #: Replaces the proxies' route table; False until all serve all routes: it is to be published again.
    publish: Callable[[Sequence[Route]], bool]
    #: What the proxies have counted of a launch, by launch id.
    traffic: Callable[[str], LaunchTraffic]
    #: The process that holds a port of this machine, if there is one.
    holder: Callable[[str, int], str | None]
    #: The end of a launch's log, for the reason of a failure.
    ending: Callable[[str], str] = lambda launch_id: ""
    #: Answers the requests that wait for a parked deployment with an error.
    refuse: Callable[[ModelKey, NotEnoughMemory], None] = lambda key, error: None
    #: Memory of launches; empty where it cannot be read.
    measure: Measure = _unmeasured
    #: The workers of a launch that has several; None where they cannot be told.
    worker_counts: Callable[[Handle], WorkerCounts | None] = lambda handle: None
    admission: Admission = Admission(lambda: 0, 0, 0, 0)
    #: Removes the logs of all launches but these.
    tidy: Callable[[Iterable[str]], None] = lambda keep: None
    clock: Callable[[], float] = time.monotonic
