"""The reconciler's world: all that it sees and moves beside its rows."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_deployment.control.memory import Measure
from model_deployment.control.probes import Prober
from model_deployment.core.admission import Admission
from model_deployment.core.domain import Crew, Deployment, Handle, LaunchTraffic, Memory, Route
from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.names import ModelKey
from model_deployment.runtime.base import Runtime


async def _weighs_nothing(handles: Sequence[Handle]) -> Mapping[str, Memory]:
    return {}


@dataclass(frozen=True, slots=True)
class Collaborators:
    """What the reconciler sees and moves. Everything that touches the machine is passed in."""

    runtime: Runtime
    prober: Prober
    #: Makes sure of the local artifacts of a deployment.
    prepare: Callable[[Deployment], Awaitable[Path]]
    #: How a launch's predictions of rows together and apart differ; empty if they do not.
    compare: Callable[[Deployment], Awaitable[str]]
    #: Replaces the proxy's route table; False if one of them cannot serve yet, and has to come again.
    publish: Callable[[Sequence[Route]], bool]
    #: What the proxy has seen of a launch.
    traffic: Callable[[str], LaunchTraffic]
    #: Who holds a port of this machine, if anybody.
    holder: Callable[[str, int], str | None]
    #: The end of a launch's log, for the reason of a failure.
    ending: Callable[[str], str] = lambda launch_id: ""
    #: Tells those who wait for a parked deployment that it is not started.
    refuse: Callable[[ModelKey, ModelDeploymentError], None] = lambda key, error: None
    #: What processes take; nothing where it cannot be told.
    measure: Measure = _weighs_nothing
    #: The workers of a launch that has several; None where they cannot be told.
    crew_of: Callable[[Handle], Crew | None] = lambda handle: None
    admission: Admission = Admission(lambda: 0, 0, 0, 0)
    #: Removes the logs of all launches but these.
    tidy: Callable[[Iterable[str]], None] = lambda keep: None
    clock: Callable[[], float] = time.monotonic
