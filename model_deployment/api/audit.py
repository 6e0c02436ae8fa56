"""The trail of calls that change something: who asked for what, and what became of it, one event each.

What callers send in bodies is not told. Predictions change nothing, and are not in it.
"""

import logging
from typing import Any

from model_deployment.api.guard import App, Message
from model_deployment.api.request_scope import ITEMS, REQUEST_ID, user_name
from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.names import ModelKey

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
        told = False

        async def noted(message: Message) -> None:
            nonlocal told
            if message["type"] == "http.response.start":
                # Before anybody can know of it.
                told = True
                _tell(scope, message["status"])
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            if not told:
                _tell(scope, 500)


def _tell(scope: Message, status: int) -> None:
    route = scope.get("route")
    # What no route was found for has changed nothing.
    if route is None or "predictions" in getattr(route, "tags", ()):
        return
    model, version = _named(scope.get("path_params", {}))
    fields = {
        "action": route.name,
        "status": status,
        "model": model,
        "version": version,
        "user": user_name(scope),
        "request_id": scope.get(REQUEST_ID, ""),
        "items": scope.get(ITEMS),
        "client": (scope.get("client") or ("",))[0],
    }
    _log.info("%s was answered %s", route.name, status, extra=fields)


def _named(given: dict[str, str]) -> tuple[str, int | str]:
    """The model and version that a call was about, as they came where they are no names at all."""
    try:
        key = (
            ModelKey.of(given["model"], given["version"])
            if "version" in given
            else ModelKey.parse(given.get("name", ""))
        )
    except ModelDeploymentError:
        return given.get("model") or given.get("name", ""), given.get("version", "")
    return key.model, key.version
