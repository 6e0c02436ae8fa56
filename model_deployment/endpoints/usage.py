"""Which deployments endpoints use, pure."""

from collections.abc import Iterable, Iterator

from model_deployment.core.endpoints import Endpoint, Pair, Rollout
from model_deployment.core.names import ModelKey


def users(pairs: Iterable[Pair]) -> dict[ModelKey, list[Endpoint]]:
    """The endpoints that use each deployment: as champion, candidate or previous champion."""
    found: dict[ModelKey, list[Endpoint]] = {}
    for endpoint, rollout in pairs:
        if endpoint.deleting:
            continue
        versions = {endpoint.champion, *_needed(endpoint, rollout)}
        for version in versions - {None}:
            assert version is not None  # noqa: S101 - it was taken out
            found.setdefault(endpoint.key(version), []).append(endpoint)
    return found


def needed_ready(pairs: Iterable[Pair]) -> set[ModelKey]:
    """Deployments that a rollout, or the way back, needs: they are never parked."""
    return {
        endpoint.key(version)
        for endpoint, rollout in pairs
        if not endpoint.deleting
        for version in _needed(endpoint, rollout)
        if version is not None
    }


def _needed(endpoint: Endpoint, rollout: Rollout | None) -> Iterator[int | None]:
    if endpoint.previous_until is not None:
        yield endpoint.previous
    if rollout is not None and rollout.active:
        yield rollout.candidate
        yield rollout.champion
