"""Long work runs in a thread, so that other requests need not wait for it."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

#: Bytes of bodies and answers beyond which they are processed in a thread.
LARGE = 256 * 1024

P = ParamSpec("P")
R = TypeVar("R")


async def run(in_thread: bool, work: Callable[P, R], *given: P.args, **named: P.kwargs) -> R:
    if in_thread:
        return await asyncio.to_thread(work, *given, **named)
    return work(*given, **named)
