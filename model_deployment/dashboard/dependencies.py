"""What the dashboard needs from the rest of the controller."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_deployment.control.controller import Controller
from model_deployment.core.domain import Deployment, ProxyCounters, User
from model_deployment.core.names import ModelKey
from model_deployment.documents.base import Documents
from model_deployment.endpoints.reader import EndpointReader
from model_deployment.metrics.service import Monitoring
from model_deployment.recording.counters import RequestCounts
from model_deployment.registry.values import RegisteredModel, RegisteredVersion
from model_deployment.reports.inputs import FindInputs, FindTraining
from model_deployment.reports.service import Reporter
from model_deployment.telemetry.prometheus import Snapshot


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
    versions: Callable[[str], Awaitable[Sequence[RegisteredVersion]]]
    #: These two raise while the registry or the document store does not answer.
    ping_registry: Callable[[], Awaitable[object]]
    ping_documents: Callable[[], Awaitable[object]]
    #: The controller's figures now.
    collect: Callable[[], Awaitable[Snapshot]]
    totals: Callable[[], Mapping[ModelKey, RequestCounts]]
    #: Signature, scoring example and a sample request of a deployed model; reads files.
    describe: Callable[[Deployment], tuple[dict[str, Any] | None, Any, Any]]
    counters: Callable[[ModelKey], ProxyCounters]
    #: The user of a request, from its ASGI scope.
    identify: Callable[[Mapping[str, Any]], User | None]
