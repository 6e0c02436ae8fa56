"""One call of a model over HTTP, and what its failures mean."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from model_deployment.core.errors import ModelBroke, NotReached, UpstreamTimeout
from model_deployment.proxy.answers import UpstreamAnswer
from model_deployment.proxy.model_connection import AnswerTooLarge, BrokenAnswer, ModelConnection
from model_deployment.proxy.model_pool import NotAccepted, NotConnected
from model_deployment.proxy.problems import not_reached
from model_deployment.proxy.upstream import Upstream, UpstreamCall


class ConnectTimeout(UpstreamTimeout):
    """The model did not accept a connection in time, so nothing of the request has reached it."""


#: Nothing of the request was sent: another target may have it.
Unsent = (NotReached, ConnectTimeout)

#: Passes an answer on piece by piece.
Relay = Callable[[ModelConnection], Awaitable[None]]


@dataclass(slots=True)
class UpstreamRequest:
    content: bytes
    #: Its header lines. Made when the request is sent: most requests of a merged call never need theirs.
    headers: Callable[[], bytes]
    query: bytes = b""


async def send(
    upstream: Upstream, call: UpstreamCall, request: UpstreamRequest, relay: Relay | None = None
) -> UpstreamAnswer | None:
    """Send a request, once there is a free slot.

    Args:
        relay: for answers that are not to be read whole: large ones, and those that are not JSON.

    Returns:
        The whole answer, or None if it was relayed.

    Raises:
        UpstreamTimeout, ModelBroke: there was no answer.
        NotReached, ConnectTimeout: nothing was sent.
    """
    async with upstream.slots:
        call.start_clock()
        try:
            return await _send(upstream, call, request, relay)
        except NotAccepted:
            upstream.count_answer(504)
            upstream.count_break()
            raise ConnectTimeout(
                f"cannot get a prediction from {upstream.key}: it did not accept a connection in time"
            ) from None
        except TimeoutError:
            upstream.count_answer(504)
            upstream.count_break()
            raise UpstreamTimeout(
                f"cannot get a prediction from {upstream.key}: it did not answer in time"
            ) from None
        except NotConnected:
            upstream.count_break()
            raise not_reached(upstream.key) from None
        except BrokenAnswer:
            upstream.count_break()
            raise ModelBroke(
                f"cannot get a prediction from {upstream.key}: its process broke off the connection"
            ) from None
        except AnswerTooLarge:
            limit = upstream.limits.answer_bytes
            raise ModelBroke(
                f"cannot pass on the prediction of {upstream.key}: it is larger than {limit} bytes"
            ) from None


async def _send(
    upstream: Upstream, call: UpstreamCall, request: UpstreamRequest, relay: Relay | None
) -> UpstreamAnswer | None:
    connection = await upstream.pool.take()
    call.mark_sent()
    try:
        head = upstream.head(request.query, request.headers(), len(request.content))
        connection.holding = call.answer
        await connection.ask(head, request.content, may_relay=relay is not None)
        if relay is not None and connection.relayed:
            await relay(connection)
            upstream.count_answer(connection.status)
            return None
        upstream.count_answer(connection.status)
        call.stop_clock()
        return UpstreamAnswer(connection.status, connection.headers, connection.content())
    finally:
        upstream.pool.put_back(connection)
