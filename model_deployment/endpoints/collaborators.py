"""What the loop of endpoints works with."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_deployment.control.controller import Controller
from model_deployment.core.domain import Deployment
from model_deployment.core.endpoints import Endpoint, EndpointRoute, Rollout
from model_deployment.core.rollout_counts import RolloutCounts
from model_deployment.endpoints.decide import Work
from model_deployment.endpoints.findings import CandidateFinding, Judgement
from model_deployment.state.deployments import Deployments
from model_deployment.state.endpoints import EndpointStore
from model_deployment.state.rollouts import RolloutStore


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rollout with the deployments that it compares."""

    endpoint: Endpoint
    rollout: Rollout
    candidate: Deployment
    champion: Deployment | None


#: Looks at a candidate for as long as it takes.
Examine = Callable[[Candidate], Awaitable[CandidateFinding]]
#: Judges what was counted: the new state of the guards, and what they say.
Judge = Callable[
    [Endpoint, Rollout, Mapping[str, Any], RolloutCounts],
    tuple[Mapping[str, Any], Judgement | None],
]


@dataclass(frozen=True, slots=True)
class RolloutCollaborators:
    """Everything outside the rules."""

    store: EndpointStore
    rollouts: RolloutStore
    deployments: Deployments
    controller: Controller
    #: Gives the proxies the routes of all endpoints.
    publish: Callable[[Sequence[EndpointRoute]], None]
    #: Waits until all proxies route so.
    routed: Callable[[], Awaitable[None]]
    #: What each proxy has counted of a rollout, by proxy.
    counts: Callable[[int], Mapping[str, RolloutCounts]]
    #: :attr:`Work.CHECK` and :attr:`Work.REPLAY`.
    examine: Mapping[Work, Examine]
    judge: Judge
    #: Whether less memory is free than must stay free.
    memory_short: Callable[[], bool]
    #: Tells the world of a rollout that has ended.
    ended: Callable[[Endpoint, Rollout], None]
