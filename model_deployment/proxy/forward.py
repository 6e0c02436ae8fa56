"""Has each request of a caller answered: predictions by an exchange, all others by the API."""

from collections.abc import Awaitable, Callable, Mapping

from model_deployment.core.errors import Forbidden, ModelDeploymentError
from model_deployment.core.users import Role, User
from model_deployment.credentials.access import USER
from model_deployment.http.asgi import Scope
from model_deployment.http.framing import announces_body
from model_deployment.proxy import problems
from model_deployment.proxy.caller_request import CallerRequest
from model_deployment.proxy.context import ExchangeContext
from model_deployment.proxy.endpoint_exchange import answer_endpoint
from model_deployment.proxy.exchange import Exchange
from model_deployment.proxy.forwarder import SCOPE_DISCARD, SCOPE_ID
from model_deployment.proxy.openai.paths import PREFIX as OPENAI
from model_deployment.proxy.openai.paths import OpenAiPaths
from model_deployment.proxy.outbox import Outbox
from model_deployment.proxy.route_entry import RouteEntry
from model_deployment.proxy.routes import Routes
from model_deployment.proxy.shadow import Shadows
from model_deployment.proxy.timeseries import TimeseriesPath

#: Raises a ModelDeploymentError if the request must not be answered.
Admit = Callable[[Scope, Mapping[bytes, bytes]], Awaitable[None]]


async def admit_all(scope: Scope, named: Mapping[bytes, bytes]) -> None:
    pass


class Proxy:
    """Puts the models of a route table in front of the API."""

    def __init__(
        self,
        pass_on: Callable[[CallerRequest], Awaitable[None]],
        routes: Routes,
        context: ExchangeContext,
        admit: Admit = admit_all,
        open_tunnel: Callable[[CallerRequest], Awaitable[None]] | None = None,
    ) -> None:
        """
        Args:
            pass_on: answers a request that is not for a model.
            admit: called with each request and its headers, before anything else is done.
            open_tunnel: answers the handshake of a WebSocket; None: there are none.
        """
        self._pass_on = pass_on
        self._routes = routes
        self._context = context
        self._admit = admit
        self._open_tunnel = open_tunnel
        recorder = context.recorder
        self._outbox = Outbox(recorder.flush if recorder else lambda: None)
        self._shadows = Shadows(context)
        self._openai = OpenAiPaths(routes, context)
        self._timeseries = TimeseriesPath(routes, context)

    async def answer(self, request: CallerRequest) -> None:
        """Answer one request.

        Raises:
            CallerGone: the caller does not accept the answers to earlier requests.
        """
        if request.backed_up:  # else refusals, which are short, would pile up
            await request.accepted(self._context.caller_timeout)
        openai = self._openai.claims(request)
        try:
            await self._admit(request.scope, request.named)
            self._refuse_device(request)
        except ModelDeploymentError as error:
            if announces_body(request.named):
                await problems.refuse(request, error)
            else:
                problems.respond(request, error)
            return
        if request.handshake and self._open_tunnel is not None:
            request.scope[SCOPE_ID] = request.request_id.decode("ascii")
            await self._open_tunnel(request)
            return
        if openai and not await self._openai.prepare(request):
            return
        if self._timeseries.claims(request) and not await self._timeseries.prepare(request):
            return
        entry = self._routes.lookup(request.path)
        if entry is None:
            request.scope[SCOPE_ID] = request.request_id.decode("ascii")
            request.scope[SCOPE_DISCARD] = request.discard_body
            try:
                await self._pass_on(request)
            finally:
                del request.scope[SCOPE_DISCARD]  # they refer to each other
        elif isinstance(entry, RouteEntry):
            await Exchange(self._context, self._outbox, entry, request).run()
        else:
            await answer_endpoint(
                self._context, self._outbox, entry, request, self._shadows, self._routes.lookup
            )

    def _refuse_device(self, request: CallerRequest) -> None:
        """Refuse a model to a device. Only the controller can verify its token.

        Raises:
            Forbidden: the request carries the token of a device, and is for a model.
        """
        user: User | None = request.scope.get(USER)
        if user is None or user.role is not Role.DEVICE:
            return
        own = request.path.startswith(OPENAI) or self._timeseries.claims(request)
        if own or self._routes.lookup(request.path) is not None:
            raise Forbidden(
                "cannot predict with the token of a device: a device may call the paths of its own project "
                "only, and predicts with the release that it runs; users have passwords"
            )

    def close(self) -> None:
        """Send no more copies of requests."""
        self._shadows.close()
