"""The outermost ASGI application: hands requests for models to an exchange, and all others to the API.

Every prediction passes here, so there is no framework around it.
"""

from collections.abc import Awaitable, Callable, Mapping

from model_deployment.core.errors import ModelDeploymentError
from model_deployment.http.asgi import App, Message, Receive, Scope, Send
from model_deployment.http.framing import announces_body
from model_deployment.proxy import headers, problems
from model_deployment.proxy.context import ExchangeContext
from model_deployment.proxy.exchange import Exchange
from model_deployment.proxy.routes import Routes

#: Raises a ModelDeploymentError if the request must not be answered.
Admit = Callable[[Scope, Mapping[bytes, bytes]], Awaitable[None]]


async def _admit_all(scope: Scope, named: Mapping[bytes, bytes]) -> None:
    pass


class Proxy:
    """Puts the models of a route table in front of an application."""

    def __init__(
        self, app: App, routes: Routes, context: ExchangeContext, admit: Admit = _admit_all
    ) -> None:
        """
        Args:
            app: gets all requests that are not for a model.
            admit: called with each request and its headers, before anything else is done.
        """
        self._app = app
        self._routes = routes
        self._context = context
        self._admit = admit
        self._closing = False

    def close_connections(self) -> None:
        """From now on, have callers close their connections after each answer."""
        self._closing = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See https://asgi.readthedocs.io/en/latest/specs/main.html#applications."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            else:  # a WebSocket, whose Host and password were not checked
                await send({"type": "websocket.close", "code": 1008})
            return
        named = dict(scope["headers"])
        request_id = headers.request_id(named)

        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                raw = message.get("headers", ())
                more = (headers.CLOSE,) if self._closing else ()
                tag = (headers.REQUEST_ID, request_id)
                message["headers"] = [*raw, tag, headers.NO_SNIFFING, *more]
            await send(message)

        try:
            await self._admit(scope, named)
        except ModelDeploymentError as error:
            if announces_body(named):
                await problems.refuse(receive, tagged, error)
            else:
                await problems.respond(tagged, error)
            return
        entry = self._routes.lookup(scope["raw_path"])
        if entry is None:
            scope["model_deployment.request_id"] = request_id.decode("ascii")
            await self._app(scope, receive, tagged)
            return
        exchange = Exchange(self._context, entry, scope, named, request_id, receive, tagged)
        await exchange.run()
