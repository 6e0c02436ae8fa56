"""What the dashboard is given of the rest."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_deployment.control.controller import Controller
from model_deployment.core.domain import Deployment, ProxyCounters, User
from model_deployment.core.names import ModelKey
from model_deployment.documents.base import Documents
from model_deployment.metrics.service import Monitoring
from model_deployment.recording.counters import RequestCounts
from model_deployment.registry.values import RegisteredModel, RegisteredVersion
from model_deployment.reports.inputs import FindInputs, FindTraining
from model_deployment.reports.service import Reporter
from model_deployment.telemetry.prometheus import Snapshot


@dataclass(frozen=True)
class Parts:
    """Use cases, and callables that tell of the parts below them."""

    controller: Controller
    monitoring: Monitoring
    reporter: Reporter
    documents: Documents
    #: What a deployed model takes.
    find_inputs: FindInputs
    #: Every registered model, and the versions of one.
    models: Callable[[], Awaitable[Sequence[RegisteredModel]]]
    versions: Callable[[str], Awaitable[Sequence[RegisteredVersion]]]
    #: These two raise when registry or document store do not answer.
    reach_registry: Callable[[], Awaitable[object]]
    reach_documents: Callable[[], Awaitable[object]]
    #: The controller's figures now, and what was counted of requests.
    look: Callable[[], Awaitable[Snapshot]]
    totals: Callable[[], Mapping[ModelKey, RequestCounts]]
    #: Signature, scoring example and a sample request of a deployed model; reads files.
    describe: Callable[[Deployment], tuple[dict[str, Any] | None, Any, Any]]
    counters: Callable[[ModelKey], ProxyCounters]
    find_training: FindTraining
    #: Who sends a request, by its scope.
    who: Callable[[Mapping[str, Any]], User | None]
