"""Passes an answer that is not read whole on to its caller, as it comes."""

from model_deployment.proxy.caller_request import CallerRequest
from model_deployment.proxy.headers import RawHeader
from model_deployment.proxy.held_bytes import RELAYED, Holding
from model_deployment.proxy.model_connection import ModelConnection


async def relay_answer(
    request: CallerRequest,
    answer: ModelConnection,
    raw: list[RawHeader],
    holding: Holding,
    timeout: float,
) -> None:
    """Pass it on, byte for byte.

    Args:
        raw: the headers of the answer.
        holding: counts what waits for a caller who does not read.
        timeout: seconds that the caller may accept nothing.

    Raises:
        BrokenAnswer, TimeoutError: the answer has no end.
        TooManyBodies: other callers do not read either.
        CallerGone: the caller has left.
    """
    await request.accepted(timeout)
    request.begin(answer.status, raw)
    async for piece in answer.pieces():
        request.send(piece)
        if request.backed_up:
            holding.ensure(RELAYED)
        await request.accepted(timeout)
    request.held_answer = holding
    request.end()
