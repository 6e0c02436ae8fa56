"""What the proxies are told of an endpoint, pure."""

from collections.abc import Container, Iterable
from dataclasses import replace

from model_deployment.core.endpoints import (
    Endpoint,
    EndpointRoute,
    Pair,
    Rollout,
    RolloutState,
)
from model_deployment.core.names import ModelKey
from model_deployment.core.rollouts import canary_share, recreates


def routes(pairs: Iterable[Pair], failed: Container[ModelKey] = ()) -> list[EndpointRoute]:
    """The routes of all endpoints that are not being deleted.

    Args:
        failed: deployments that have failed: callers do not wait for the way back to one of them.
    """
    known = [pair for pair in pairs if not pair[0].deleting]
    models = {endpoint.name.model for endpoint, _ in known}
    defaults = {found.id for model in models if (found := default_of(model, known))}
    return [
        _route(endpoint, rollout, endpoint.id in defaults, failed) for endpoint, rollout in known
    ]


def default_of(model: str, pairs: Iterable[Pair]) -> Endpoint | None:
    """The default endpoint of a model: the one that was made it last, else the oldest one."""
    found = [endpoint for endpoint, _ in pairs if endpoint.name.model == model]
    chosen = [endpoint for endpoint in found if endpoint.default_at is not None]
    if chosen:
        return max(chosen, key=lambda one: one.default_at or one.created_at)
    return min(found, key=lambda one: one.id, default=None)


def _route(
    endpoint: Endpoint, rollout: Rollout | None, default: bool, failed: Container[ModelKey]
) -> EndpointRoute:
    champion = endpoint.champion
    route = EndpointRoute(
        name=endpoint.name,
        champion=None if champion is None else endpoint.key(champion),
        default=default,
        reason="" if champion is not None else _missing(endpoint, rollout),
    )
    if rollout is None:
        return route
    if not rollout.active:
        # A champion that made room in vain is on its way back.
        back = rollout.state is RolloutState.ROLLED_BACK and recreates(rollout)
        return replace(route, waits=True) if back and route.champion not in failed else route
    candidate = endpoint.key(rollout.candidate)
    if recreates(rollout):
        return EndpointRoute(name=endpoint.name, champion=candidate, waits=True, default=default)
    share, shadow = canary_share(endpoint.policy, rollout), 0.0
    if rollout.state is RolloutState.SHADOWING and endpoint.policy.checks.shadow is not None:
        shadow = endpoint.policy.checks.shadow.share / 100
    if not share and not shadow:
        return route
    return EndpointRoute(
        name=endpoint.name,
        champion=route.champion,
        candidate=candidate,
        rollout=rollout.id,
        stage=rollout.stage,
        share=share,
        shadow=shadow,
        default=default,
    )


def _missing(endpoint: Endpoint, rollout: Rollout | None) -> str:
    if rollout is None:
        return endpoint.notice or "its alias was not looked at yet"
    return f"version {rollout.candidate} is {rollout.state}: {rollout.reason}"
