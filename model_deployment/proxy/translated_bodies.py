"""Reads bodies that are translated for a model: until then, no model's limits count their bytes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from model_deployment.proxy.body_reading import receive_body
from model_deployment.proxy.caller_request import CallerRequest
from model_deployment.proxy.context import ExchangeContext
from model_deployment.proxy.held_bytes import HeldKind


class TranslatedBodies:
    """Counts the bytes of all bodies that are being received or translated."""

    def __init__(self, context: ExchangeContext) -> None:
        self._context = context

    @asynccontextmanager
    async def received(self, request: CallerRequest) -> AsyncIterator[bytes]:
        """The whole body, whose bytes count until the context is left.

        Raises:
            ModelDeploymentError: it is too large, incomplete, or others hold too many bytes.
        """
        with self._context.hold(HeldKind.PREDICTION) as holding:
            yield await receive_body(request, self._context, holding)
