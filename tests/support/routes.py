"""Routes to servers of a test."""

from typing import Any

from model_deployment.core.domain import Address, State
from model_deployment.core.names import ModelKey
from model_deployment.core.routes import Route, Target
from tests.support.raw_http import HOST


def target(launch: str, port: int | None) -> Target:
    """A launch at this port; without one it does not serve."""
    return Target(launch, launch, None if port is None else Address(HOST, port))


def ready_route(key: ModelKey, launch: str, port: int, **more: Any) -> Route:
    """The route of a deployment with one launch, which is ready."""
    return Route(key, State.READY, (target(launch, port),), **more)
