"""One call of a model over HTTP, and what its failures mean."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from io import BytesIO

import aiohttp
from yarl import URL

from model_deployment.core.errors import ModelBroke, UpstreamTimeout
from model_deployment.proxy import headers
from model_deployment.proxy.answers import UpstreamAnswer, is_json
from model_deployment.proxy.headers import RawHeader
from model_deployment.proxy.problems import not_reached
from model_deployment.proxy.upstream import Upstream, UpstreamCall

#: Passes an answer on piece by piece; gets the answer and its headers.
Relay = Callable[[aiohttp.ClientResponse, list[RawHeader]], Awaitable[None]]

#: Answers up to this many bytes are read whole before the first byte is passed on, so that an answer
#: that breaks off half way is still a clean 502. Larger requests are written piece by piece.
_WHOLE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    content: bytes
    #: Made when the request is sent: most requests of a merged call never need theirs.
    headers: Callable[[], Sequence[tuple[str, str]]]
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
        NotReached: nothing was sent.
    """
    async with upstream.slots:
        call.start_clock()
        try:
            return await _send(upstream, call, request, relay)
        except TimeoutError:
            upstream.count_answer(504)
            upstream.on_failure()
            raise UpstreamTimeout(
                f"cannot get a prediction from {upstream.key}: it did not answer in time"
            ) from None
        except aiohttp.ClientConnectorError:
            upstream.on_failure()
            raise not_reached(upstream.key) from None
        except (aiohttp.ClientError, OSError):
            upstream.on_failure()
            raise ModelBroke(
                f"cannot get a prediction from {upstream.key}: its process broke off the connection"
            ) from None


async def _send(
    upstream: Upstream, call: UpstreamCall, request: UpstreamRequest, relay: Relay | None
) -> UpstreamAnswer | None:
    content = request.content
    async with upstream.session.post(
        _url(upstream, request.query),
        data=content if len(content) <= _WHOLE_BYTES else BytesIO(content),
        headers=request.headers(),
        allow_redirects=False,
    ) as answer:
        if not 200 <= answer.status <= 599:
            raise aiohttp.ClientError(f"{answer.status} is not the status of an answer")
        raw = headers.to_caller(answer.raw_headers)
        if relay is None or _is_read_whole(answer, raw):
            content = await _read(upstream, answer)
            upstream.count_answer(answer.status)
            call.stop_clock()
            return UpstreamAnswer(answer.status, raw, content)
        await relay(answer, raw)
        upstream.count_answer(answer.status)
        return None


def _is_read_whole(answer: aiohttp.ClientResponse, raw: list[RawHeader]) -> bool:
    small = answer.content_length is not None and answer.content_length <= _WHOLE_BYTES
    return small or answer.status >= 300 or is_json(raw)


async def _read(upstream: Upstream, answer: aiohttp.ClientResponse) -> bytes:
    limit = upstream.limits.answer_bytes
    if answer.content_length is not None and answer.content_length <= limit:
        return await answer.read()
    pieces, size = [], 0
    async for piece in answer.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            raise ModelBroke(
                f"cannot pass on the prediction of {upstream.key}: it is larger than {limit} bytes"
            )
    return b"".join(pieces)


def _url(upstream: Upstream, query: bytes) -> URL:
    if not query:
        return upstream.url
    return URL(f"{upstream.url}?{query.decode('ascii')}", encoded=True)
