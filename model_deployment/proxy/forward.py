"""The outermost ASGI application: finds out which model a request is for, if it is for one.

Every request passes here, so there is no framework around it: plain ASGI. What is not for a model goes
straight on to the application inside.
"""

from collections.abc import Awaitable, Callable, Mapping

from model_deployment.core.errors import ModelDeploymentError
from model_deployment.http.asgi import App, Message, Receive, Scope, Send
from model_deployment.http.framing import announces_body
from model_deployment.proxy import headers, problems
from model_deployment.proxy.context import ExchangeContext
from model_deployment.proxy.exchange import Exchange
from model_deployment.proxy.routes import Routes

#: Raises what keeps a request from being answered.
Admit = Callable[[Scope, Mapping[bytes, bytes]], Awaitable[None]]


async def _everybody(scope: Scope, named: Mapping[bytes, bytes]) -> None:
    pass


class Proxy:
    """Puts the models of a route table in front of an application."""

    def __init__(
        self, app: App, routes: Routes, terms: ExchangeContext, admit: Admit = _everybody
    ) -> None:
        """In front of an application.

        Args:
            admit: asked about each request, before anything else is done.
        """
        self._app = app
        self._routes = routes
        self._terms = terms
        self._admit = admit
        self._leaving = False

    def leave(self) -> None:
        """From now on, have callers ask no more on the connections that they have."""
        self._leaving = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See https://asgi.readthedocs.io/en/latest/specs/main.html#applications."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            else:  # a WebSocket, whose Host and password nobody has checked
                await send({"type": "websocket.close", "code": 1008})
            return
        named = dict(scope["headers"])
        request_id = headers.request_id(named)

        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                raw = message.get("headers", ())
                more = headers.LAST if self._leaving else ()
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
        exchange = Exchange(self._terms, entry, scope, named, request_id, receive, tagged)
        await exchange.run()
