"""Receives the requests that proxies forward: takes over their id, and checks again who sends them."""

from collections.abc import Awaitable, Callable, Mapping

from model_deployment.api import problems
from model_deployment.api.guard import with_security_headers
from model_deployment.api.request_scope import REQUEST_ID
from model_deployment.core.errors import ModelDeploymentError
from model_deployment.http.asgi import App, Receive, Scope, Send

#: Puts the user into the scope; raises a ModelDeploymentError if the request must not be answered.
Admit = Callable[[Scope, Mapping[bytes, bytes]], Awaitable[None]]


class Forwarded:
    """ASGI middleware, the outermost one of the API."""

    def __init__(self, app: App, admit: Admit) -> None:
        self.app = app
        self._admit = admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        named = dict(scope["headers"])
        scope[REQUEST_ID] = named.get(b"x-request-id", b"").decode("latin-1")
        try:
            await self._admit(scope, named)
        except ModelDeploymentError as error:
            answer = problems.respond(error, {"Connection": "close"})
            await answer(scope, receive, with_security_headers(scope, send))
            return
        await self.app(scope, receive, send)
