"""Reads the whole body of a request, while it keeps to its limits."""

import asyncio
from collections.abc import Callable

from model_deployment.core.errors import BodyTimeout, PayloadTooLarge
from model_deployment.http.framing import content_length, ensure_whole
from model_deployment.proxy.body_pieces import append_piece
from model_deployment.proxy.caller_request import CallerGone, CallerRequest
from model_deployment.proxy.context import ExchangeContext
from model_deployment.proxy.held_bytes import UNCOUNTED, HeldKind, Holding, Pace


async def receive_body(
    request: CallerRequest,
    context: ExchangeContext,
    holding: Holding,
    hold: Callable[[int], None] = lambda size: None,
) -> bytes:
    """The whole body of a prediction.

    Args:
        holding: counts its bytes, unless they are few.
        hold: counts the bytes of a body that comes in several pieces for its model.

    Raises:
        PayloadTooLarge: it is declared, or turns out to be, over the limit.
        IncompleteBody: it is not as long as it was declared.
        BodyTimeout: the rest of it does not come.
        TooBusy, TooManyBodies: other bodies hold too many bytes.
        CallerGone: the caller hung up.
    """
    declared = content_length(request.named)

    def hold_both(size: int) -> None:
        holding.add(size)
        hold(size)

    content = await _read(request, declared, context, holding, hold_both)
    if len(content) > UNCOUNTED:
        holding.ensure(len(content))
    if declared is not None:
        ensure_whole(declared, len(content))
    return content


async def _read(
    request: CallerRequest,
    declared: int | None,
    context: ExchangeContext,
    holding: Holding,
    hold: Callable[[int], None],
) -> bytes:
    limit = context.max_body_bytes
    if declared is not None and declared > limit:
        raise PayloadTooLarge.of(limit, declared)
    if request.gone:
        raise CallerGone
    context.held.ensure_room(HeldKind.PREDICTION, declared)
    if request.body_complete:
        body = request.take_body()
        _count(request, len(body), limit, declared)
        return body
    pieces: list[bytes] = []
    piece = b""
    pace = context.pace(holding)
    try:
        while not request.body_complete:
            piece = await _next(request, pace)
            _count(request, len(piece), limit, declared)
            hold(len(piece))
            append_piece(pieces, piece)
        return b"".join(pieces)
    finally:
        # The traceback of a refusal keeps this frame for as long as the refusal takes.
        pieces.clear()
        piece = b""


async def _next(request: CallerRequest, pace: Pace) -> bytes:
    """What comes of the body next; nothing if it is only its end.

    Raises:
        BodyTimeout: it is too slow.
    """
    while True:
        try:
            # A caller whose machine is gone never hangs up.
            async with asyncio.timeout_at(pace.next()):
                await request.more()
        except TimeoutError:
            if pace.too_slow():
                raise BodyTimeout.of(request.received) from None
            continue
        pace.moved(request.buffered)
        if not request.body_complete and pace.too_slow():
            raise BodyTimeout.of(request.received)
        return request.take_body()


def _count(request: CallerRequest, size: int, limit: int, declared: int | None) -> None:
    request.received += size
    if request.received > limit:
        raise PayloadTooLarge.of(limit, declared)
