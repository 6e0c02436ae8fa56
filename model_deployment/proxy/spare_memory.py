"""Gives memory back that a burst of large bodies has left behind, once it is over.

Freed pieces lie between others in the heap, and what libraries leave in cycles only the garbage collector
finds: it runs after many requests, and after the burst there may be none. So somebody has to look once,
when nobody waits. It looks at young objects only, which takes some ten milliseconds: all of a controller
with MLflow take two hundred to five hundred, in which nobody is answered.
"""

import asyncio
import contextlib
import ctypes
import gc
import logging

from model_deployment.proxy.held_bytes import HeldBytes

_log = logging.getLogger(__name__)

#: Seconds between two looks.
_PERIOD = 2.0
#: Bytes that must have been held in this process for it to be worth while.
_WORTH = 16 * 1024 * 1024
#: What may still be held of them.
_OVER = 1 / 4


async def give_memory_back(held: HeldBytes, period: float = _PERIOD) -> None:
    """Run until cancelled.

    Args:
        held: what this process holds for callers.
    """
    while True:
        await asyncio.sleep(period)
        if held.most < _WORTH or held.held > held.most * _OVER or held.pressed_within(period):
            continue
        held.most = held.held
        gc.collect(1)
        with contextlib.suppress(
            OSError, AttributeError
        ):  # a C library without it has no such heap
            ctypes.CDLL(None).malloc_trim(0)
        _log.debug("gave memory back after a burst of large bodies")
