"""The audit trail: one log event for each call that changes something, with its user and its status.

The events contain nothing of bodies. Predictions change nothing and are not in the trail; nor is what
devices send.
"""

import logging
from typing import Any

from model_deployment.api.guard import App, Message
from model_deployment.api.request_scope import (
    DEVICE,
    ITEMS,
    PROJECT,
    REQUEST_ID,
    TARGET,
    user_name,
)
from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.names import ModelKey
from model_deployment.core.users import Role
from model_deployment.credentials.access import USER

_log = logging.getLogger(__name__)

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Audit:
    """ASGI middleware."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http" or scope["method"] in _READING:
            await self._app(scope, receive, send)
            return
        logged = False

        async def send_and_log(message: Message) -> None:
            nonlocal logged
            if message["type"] == "http.response.start":
                # Before the caller learns of it.
                logged = True
                _log_call(scope, message["status"])
            await send(message)

        try:
            await self._app(scope, receive, send_and_log)
        finally:
            if not logged:
                _log_call(scope, 500)


def _log_call(scope: Message, status: int) -> None:
    route = scope.get("route")
    # A call without a route has changed nothing.
    if route is None or "predictions" in getattr(route, "tags", ()):
        return
    # What devices tell of themselves is in their own log, and comes all the time.
    if (user := scope.get(USER)) is not None and user.role is Role.DEVICE:
        return
    given = scope.get("path_params", {})
    model, version = _target(given)
    model = scope.get(TARGET, model)
    fields = {
        "action": route.name,
        "status": status,
        "model": model,
        "version": version,
        "project": scope.get(PROJECT, given.get("project")),
        "device": scope.get(DEVICE, given.get("device")),
        "release": given.get("number") if "project" in given else None,
        "user": user_name(scope),
        "request_id": scope.get(REQUEST_ID, ""),
        "items": scope.get(ITEMS),
        "client": (scope.get("client") or ("",))[0],
    }
    _log.info("%s was answered %s", route.name, status, extra=fields)


def _target(given: dict[str, str]) -> tuple[str, int | str]:
    """The model and version in the path; as they came if they are not valid names."""
    if "project" in given:
        return "", ""
    try:
        key = (
            ModelKey.of(given["model"], given["version"])
            if "version" in given
            else ModelKey.parse(given.get("name", ""))
        )
    except ModelDeploymentError:
        return given.get("model") or given.get("name", ""), given.get("version", "")
    return key.model, key.version
