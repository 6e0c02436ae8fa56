"""What the dashboard is given of the rest."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_deployment.controller import Controller
from model_deployment.documents.base import Documents
from model_deployment.domain import Counters, Deployment, User
from model_deployment.monitoring.exposition import Seen
from model_deployment.monitoring.gather import FindInputs, FindTraining
from model_deployment.monitoring.reporter import Reporter
from model_deployment.monitoring.service import Monitoring
from model_deployment.monitoring.totals import Total
from model_deployment.names import ModelKey
from model_deployment.registered import RegisteredModel, RegisteredVersion


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
    look: Callable[[], Awaitable[Seen]]
    totals: Callable[[], Mapping[ModelKey, Total]]
    #: Signature, scoring example and a sample request of a deployed model; reads files.
    describe: Callable[[Deployment], tuple[dict[str, Any] | None, Any, Any]]
    counters: Callable[[ModelKey], Counters]
    find_training: FindTraining
    #: Who sends a request, by its scope.
    who: Callable[[Mapping[str, Any]], User | None]
