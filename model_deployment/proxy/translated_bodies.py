"""Reads bodies that are translated for a model: until then, no model's limits count their bytes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from model_deployment.core.errors import TooBusy
from model_deployment.http.framing import content_length, ensure_whole
from model_deployment.proxy.caller_request import CallerRequest
from model_deployment.proxy.context import ExchangeContext

#: Bytes of such bodies that a proxy holds.
_MOST_BYTES = 256 * 1024 * 1024


class TranslatedBodies:
    """Counts the bytes of all bodies that are being received or translated."""

    def __init__(self, context: ExchangeContext) -> None:
        self._context = context
        self._size = 0

    @asynccontextmanager
    async def received(self, request: CallerRequest) -> AsyncIterator[bytes]:
        """The whole body, whose bytes count until the context is left.

        Raises:
            ModelDeploymentError: it is too large, incomplete, or others hold too many bytes.
        """
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            held += size
            self._size += size
            if self._size > _MOST_BYTES and held < self._size:
                raise TooBusy("cannot read the body now: others hold too many bytes", retry_after=1)

        declared = content_length(request.named)
        try:
            content = await request.read(
                declared=declared,
                limit=self._context.max_body_bytes,
                timeout=self._context.caller_timeout,
                hold=hold,
            )
            if declared is not None:
                ensure_whole(declared, len(content))
            yield content
        finally:
            self._size -= held
