"""What the dashboard needs from the rest of the controller."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from model_deployment.control.controller import Controller
from model_deployment.control.deployment_environments import DeploymentEnvironments
from model_deployment.core.domain import Deployment
from model_deployment.core.events import Event
from model_deployment.core.measures import ProxyCounters
from model_deployment.core.names import ModelKey
from model_deployment.core.users import User
from model_deployment.dashboard.device_charts import ReadTraffic
from model_deployment.devices.service import Devices
from model_deployment.documents.base import Documents
from model_deployment.endpoints.reader import EndpointReader
from model_deployment.flow_project import Project
from model_deployment.flows.runs import FlowRuns
from model_deployment.metrics.service import Monitoring
from model_deployment.recording.counters import RequestCounts
from model_deployment.registry.values import RegisteredModel, RegisteredVersion
from model_deployment.registry.version_details import DetailsReader
from model_deployment.reports.inputs import FindInputs, FindTraining
from model_deployment.reports.service import Reporter
from model_deployment.runtime.base import Identify
from model_deployment.telemetry.prometheus import LaunchSnapshot, Snapshot
from model_deployment.training_data.uploads import Uploads


class ListVersions(Protocol):
    """The versions of a model, newest first, as :meth:`Registry.versions`."""

    async def __call__(
        self,
        name: str,
        *,
        limit: int | None = None,
        before: int | None = None,
        patience: float | None = None,
    ) -> Sequence[RegisteredVersion]: ...


@dataclass(frozen=True)
class Dependencies:
    controller: Controller
    endpoints: EndpointReader
    monitoring: Monitoring
    reporter: Reporter
    documents: Documents
    #: The input columns of a deployed model.
    find_inputs: FindInputs
    find_training: FindTraining
    #: Every registered model, and the versions of one.
    models: Callable[[], Awaitable[Sequence[RegisteredModel]]]
    versions: ListVersions
    #: What the registry says of one version; kept while the registry is away.
    details: DetailsReader
    #: These two raise while the registry or the document store does not answer.
    ping_registry: Callable[[], Awaitable[object]]
    ping_documents: Callable[[], Awaitable[object]]
    #: What happened to a deployment, newest first, so many events.
    events: Callable[[ModelKey, int], Awaitable[Sequence[Event]]]
    #: The controller's figures now.
    collect: Callable[[], Awaitable[Snapshot]]
    #: The launches of a deployment now, with what is measured of them.
    launches: Callable[[Deployment], Awaitable[Sequence[LaunchSnapshot]]]
    #: What names a launch to people where it runs.
    runs_as: Identify
    totals: Callable[[], Mapping[ModelKey, RequestCounts]]
    #: Signature, scoring example and a sample request of a deployed model; reads files.
    describe: Callable[[Deployment], tuple[dict[str, Any] | None, Any, Any]]
    counters: Callable[[ModelKey], ProxyCounters]
    #: The user of a request, from its ASGI scope.
    identify: Callable[[Mapping[str, Any]], User | None]
    project: Project
    flow_runs: FlowRuns
    uploads: Uploads
    #: The registered versions that were trained on a version of the training data.
    trained_on: Callable[[str], Awaitable[Sequence[ModelKey]]]
    devices: Devices
    #: What a device served, by the minute.
    device_traffic: ReadTraffic
    environments: DeploymentEnvironments
