"""Receives the requests that proxies forward: takes over their id, and checks again who sends them."""

from collections.abc import Awaitable, Callable, Mapping

from model_deployment.api.guard import refuse
from model_deployment.api.request_scope import REQUEST_ID
from model_deployment.core.errors import ModelDeploymentError
from model_deployment.http.asgi import App, Message, Receive, Scope, Send

#: Puts the user into the scope; raises a ModelDeploymentError if the request must not be answered.
Admit = Callable[[Scope, Mapping[bytes, bytes]], Awaitable[None]]


class Forwarded:
    """ASGI middleware, the outermost one of the API."""

    def __init__(self, app: App, admit: Admit) -> None:
        self.app = app
        self._admit = admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        named = dict(scope["headers"])
        request_id = named.get(b"x-request-id", b"")
        scope[REQUEST_ID] = request_id.decode("latin-1")
        if scope["type"] == "websocket":
            send = _tagged(request_id, send)
        try:
            await self._admit(scope, named)
        except ModelDeploymentError as error:
            await refuse(scope, receive, send, error)
            return
        await self.app(scope, receive, send)


def _tagged(request_id: bytes, send: Send) -> Send:
    """A ``send`` that adds to answers to handshakes what proxies add to all other answers."""

    async def tagged(message: Message) -> None:
        if message["type"] in ("websocket.accept", "websocket.http.response.start"):
            tags = (b"x-request-id", request_id), (b"x-content-type-options", b"nosniff")
            message["headers"] = [*message.get("headers", ()), *tags]
        await send(message)

    return tagged
