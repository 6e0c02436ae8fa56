"""The problem documents that the proxy answers instead of a model."""

from model_deployment.core.domain import State
from model_deployment.core.endpoints import EndpointRoute
from model_deployment.core.errors import (
    MethodNotAllowed,
    ModelBroke,
    ModelDeploymentError,
    NotReached,
    NotReady,
)
from model_deployment.core.hints import with_advice
from model_deployment.core.names import ModelKey
from model_deployment.core.routes import Route
from model_deployment.http.navigation import is_navigation
from model_deployment.proxy.caller_request import CallerRequest
from model_deployment.proxy.error_page import page
from model_deployment.proxy.headers import RawHeader

_RETRY_AFTER = {State.PENDING: 2, State.STARTING: 2, State.STOPPING: 5, State.PARKED: 2}


NOT_POST = MethodNotAllowed(
    "cannot use this method with a model: send prediction requests with POST", ["POST"]
)
INTERNAL_ERROR = ModelDeploymentError(
    "cannot answer: an internal error of the controller. The controller's log has the details, under "
    "the X-Request-Id of this answer"
)


def not_reached(key: ModelKey) -> NotReached:
    """The process of a deployment is gone, and nothing was sent to it."""
    return NotReached(
        f"cannot predict with {key}: its process does not accept connections", retry_after=1
    )


def removed(key: ModelKey, *, sent: bool) -> ModelDeploymentError:
    """The launch of a deployment was stopped; ``sent``: after it had got something of the request."""
    if sent:
        return ModelBroke(f"cannot get a prediction from {key}: its process was stopped")
    return NotReached(f"cannot predict with {key}: its process was stopped", retry_after=1)


def not_ready(route: Route) -> NotReady:
    """The deployment does not serve; the error names its state."""
    if route.serves:
        return NotReady(
            f"cannot predict with {route.key}: its signature cannot be read now", retry_after=2
        )
    reason = f" ({route.reason})" if route.reason else ""
    text = f"cannot predict with {route.key}: it is {route.state}{reason}"
    return NotReady(
        with_advice(text, route.reason) if route.state is State.FAILED else text,
        retry_after=_RETRY_AFTER.get(route.state),
        extra={"state": str(route.state)},
    )


def no_champion(endpoint: EndpointRoute) -> NotReady:
    """No version serves the endpoint."""
    reason = f" ({endpoint.reason})" if endpoint.reason else ""
    return NotReady(
        f"cannot predict with {endpoint.name}: no version serves it now{reason}", retry_after=2
    )


def respond(request: CallerRequest, error: ModelDeploymentError, *more: RawHeader) -> None:
    """Answer with an error, and these headers."""
    navigates = is_navigation(request.method, request.named)
    status, raw, content = page(error) if navigates else request.dialect.problem(error)
    request.answer(status, [*raw, *more], content)


async def refuse(request: CallerRequest, error: ModelDeploymentError, *more: RawHeader) -> None:
    """Answer a caller who is still sending the body, and close the connection."""
    status, raw, content = request.dialect.problem(error)
    request.keep_alive = False
    request.begin(status, [*raw, *more])
    request.send(content)
    # If a connection is closed with bytes unread, TCP resets it, and the caller may lose the answer
    # (RFC 9112, section 9.6). So the answer is complete now, and only its end is held back a little.
    await request.discard_body()
    request.end()
